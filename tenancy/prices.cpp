#include "tenancy/prices.hpp"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kDecimals = 6;
constexpr std::size_t kMaxWholeDigits = 6;  // no token costs a dollar

Error bad(std::string message, const std::string& place) {
  return {Code::kInvalidValue, "The price table: " + place + " " + message + ".", place};
}

bool is_digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

Result<Money> read_amount(const Json& json, const std::string& place) {
  if (json.is_string()) {
    const auto money = parse_price(json.get_ref<const std::string&>());
    return money ? money : bad("must be dollars for a million tokens, as \"0.15\"", place);
  }
  if (json.is_number_unsigned()) {
    const auto money = parse_price(std::to_string(json.get<std::uint64_t>()));
    if (money) return money;
  }
  return bad("must be dollars for a million tokens, as \"0.15\"", place);
}

Result<Price> read_price(const Json& json, const std::string& place) {
  if (!json.is_object()) return bad("must be an object with input and output", place);
  Price price;
  const std::pair<const char*, Money Price::*> kMembers[] = {
      {"input", &Price::input}, {"cached_input", &Price::cached_input}, {"output", &Price::output}};
  for (const auto& [key, value] : json.items()) {
    const auto member =
        std::ranges::find(kMembers, key, [](const auto& m) { return std::string_view(m.first); });
    if (member == std::end(kMembers)) return bad("is no price", place + "." + key);
    const auto amount = read_amount(value, place + "." + key);
    if (!amount) return amount.error();
    price.*member->second = *amount;
  }
  if (!json.contains("input") || !json.contains("output")) {
    return bad("must have input and output", place);
  }
  if (!json.contains("cached_input")) price.cached_input = price.input;
  return price;
}

}  // namespace

Result<Money> parse_price(std::string_view text) {
  const Error wrong{Code::kInvalidValue, "A price is a decimal number of dollars."};
  const auto dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  const std::string_view part = dot == text.npos ? std::string_view() : text.substr(dot + 1);
  if (whole.empty() || whole.size() > kMaxWholeDigits || part.size() > kDecimals) return wrong;
  if (!is_digits(whole) || !is_digits(part) || (dot != text.npos && part.empty())) return wrong;
  std::string digits(whole);
  digits.append(part).append(kDecimals - part.size(), '0');
  return Money{std::stoll(digits)};
}

Result<PriceTable> PriceTable::parse(std::string_view text) {
  const auto json = parse_json(text);
  if (!json) return json.error();
  if (!json->is_object()) return bad("must be an object", "the file");
  for (const auto& [key, value] : json->items()) {
    if (key != "currency" && key != "models") return bad("is not known", key);
  }
  if (json->value("currency", Json("USD")) != "USD") return bad("must be \"USD\"", "currency");
  const auto models = json->find("models");
  if (models == json->end() || !models->is_object()) return bad("must be an object", "models");
  PriceTable table;
  for (const auto& [model, tiers] : models->items()) {
    const std::string place = "models." + model;
    if (!tiers.is_object()) return bad("must be an object of tiers", place);
    for (const auto& [tier, price] : tiers.items()) {
      const auto read = read_price(price, place + "." + tier);
      if (!read) return read.error();
      table.models_[model][tier] = *read;
    }
    if (!tiers.contains(kDefaultServiceTier)) return bad("must have a tier \"default\"", place);
  }
  return table;
}

// Its own prices, or those of all others; null if there are none.
const PriceTable::Tiers* PriceTable::tiers_of(std::string_view model) const {
  auto found = models_.find(model);
  if (found == models_.end()) found = models_.find("*");
  return found == models_.end() ? nullptr : &found->second;
}

Price PriceTable::of(std::string_view model, std::string_view tier) const {
  const Tiers* tiers = tiers_of(model);
  if (tiers == nullptr) return {};
  const auto price = tiers->find(tier);
  return price != tiers->end() ? price->second : tiers->find(kDefaultServiceTier)->second;
}

bool PriceTable::sells(std::string_view model, std::string_view tier) const {
  const Tiers* tiers = tiers_of(model);
  return tiers == nullptr || tiers->contains(tier);
}

}  // namespace tessera

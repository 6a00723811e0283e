#include "gateway/admin/meter_json.hpp"

#include <algorithm>

#include "storage/json.hpp"
#include "tenancy/money.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

struct NamedLimit {
  std::string_view name;
  std::optional<std::int64_t> MeterLimits::*member;
};
constexpr NamedLimit kLimits[] = {
    {"max_requests_per_1_minute", &MeterLimits::requests_per_minute},
    {"max_tokens_per_1_minute", &MeterLimits::tokens_per_minute},
    {"burst_requests", &MeterLimits::burst_requests},
    {"burst_tokens", &MeterLimits::burst_tokens},
    {"max_concurrent_requests", &MeterLimits::max_concurrent_requests},
    {"max_requests_per_1_day", &MeterLimits::requests_per_day},
    {"max_tokens_per_1_day", &MeterLimits::tokens_per_day},
    {"max_tokens_per_1_month", &MeterLimits::tokens_per_month},
    {"max_spend_cents_per_1_month", &MeterLimits::spend_cents_per_month},
};

}  // namespace

void add_meter_limits(ordered_json& json, const MeterLimits& limits) {
  for (const auto& [name, member] : kLimits) {
    const auto& limit = limits.*member;
    json[std::string(name)] = limit ? ordered_json(*limit) : ordered_json(nullptr);
  }
}

void read_limit(const ordered_json& body, Fields& fields, std::string_view name,
                std::optional<std::int64_t>& limit) {
  fields.integer(name, {0, INT64_MAX}, limit);
  if (!body.is_object()) return;  // which `fields` tells
  const auto found = body.find(name);
  if (found != body.end() && found->is_null()) limit.reset();
}

void read_meter_limits(const ordered_json& body, Fields& fields, MeterLimits& limits) {
  for (const auto& [name, member] : kLimits) read_limit(body, fields, name, limits.*member);
}

Result<std::optional<std::int64_t>> read_spend_limit(std::string_view text) {
  const auto body = parse_json(text);
  if (!body) return body.error();
  std::optional<std::int64_t> cents;
  Fields fields(*body);
  fields.required_any("threshold_amount");
  fields.integer("threshold_amount", {0, Money::kMaxCents}, cents);
  fields.unsupported("currency", {"USD"});
  fields.unsupported("interval", {"month"});
  if (auto read = fields.finish(); !read) return read.error();
  return cents;
}

void read_texts(const ordered_json& body, Fields& fields, std::string_view name,
                std::size_t max_count, std::size_t max_chars, std::vector<std::string>& texts) {
  const bool is_empty_array = body.is_object() && body.contains(name) &&
                              body.find(name)->is_array() && body.find(name)->empty();
  if (is_empty_array) {
    fields.any(name);
    texts.clear();
    return;
  }
  std::vector<std::string> read;
  fields.one_or_more(name, max_count, max_chars, read);
  if (!read.empty()) texts = std::move(read);
}

}  // namespace tessera

// prices.hpp — what a token costs, by model and service tier.
//
// The table is a file of the operator's:
//
//   {"currency": "USD",
//    "models": {"*":          {"default": {"input": "0.15", "cached_input": "0.075",
//                                          "output": "0.60"},
//                              "flex":    {"input": "0.075", "output": "0.30"}},
//               "llama-3-8b": {"default": {"input": "0.20", "output": "0.80"}}}}
//
// Prices are dollars for a million tokens, as text or integers, to the millionth of a dollar: more
// digits are refused, not rounded. cached_input is input unless told; a tier that a model lacks
// costs what its "default" does, which every model has; a model that is not named costs what "*"
// does, and nothing if there is no "*".
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "storage/result.hpp"
#include "tenancy/money.hpp"

namespace tessera {

// Of one token each.
struct Price {
  Money input = {};
  Money cached_input = {};
  Money output = {};

  // Of a request; `cached` of the prompt's tokens came from the prefix cache.
  Money of(std::int64_t prompt, std::int64_t cached, std::int64_t completion) const {
    return times(input, prompt - cached) + times(cached_input, cached) + times(output, completion);
  }
  // The most that a request may cost.
  Money at_most(std::int64_t prompt, std::int64_t completion) const {
    return times(input < cached_input ? cached_input : input, prompt) + times(output, completion);
  }
  bool operator==(const Price&) const = default;
};

// Immutable; free of charge when default-constructed.
class PriceTable {
 public:
  // Errors: kInvalidJson, kDuplicateKey, kInvalidValue; param is the place: "models.*.default".
  static Result<PriceTable> parse(std::string_view json);

  Price of(std::string_view model, std::string_view tier) const;
  // Whether the model is offered in this tier: it has a price for it, or all is free of charge.
  bool sells(std::string_view model, std::string_view tier) const;
  // Whether the model has a price of its own.
  bool names(std::string_view model) const { return models_.contains(model); }

 private:
  using Tiers = std::map<std::string, Price, std::less<>>;

  const Tiers* tiers_of(std::string_view model) const;

  std::map<std::string, Tiers, std::less<>> models_;
};

inline constexpr std::string_view kDefaultServiceTier = "default";
inline constexpr std::size_t kMaxPriceTableBytes = std::size_t{1} << 20;

// Millionths of a dollar for a million tokens, which is pico-dollars for one, from decimal text.
// Errors: kInvalidValue.
Result<Money> parse_price(std::string_view dollars_per_million);

}  // namespace tessera

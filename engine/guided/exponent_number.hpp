// exponent_number.hpp — numbers written with an exponent: any at all, and between bounds.
#pragma once

#include <memory>
#include <span>

#include "engine/guided/number_language.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?, JSON's whole grammar. Has no tables: any pool.
std::shared_ptr<const Automaton> any_number_text();

// The integral ones among them, 12.50e1 for one. At most kMaxShift places are made up for by an
// exponent.
std::shared_ptr<const Automaton> integral_number_text();

// Which exponents those between bounds may have: the two ranges in which programs write one.
struct ExponentRule {
  std::span<const NumberBound> minimum;
  std::span<const NumberBound> maximum;
  bool small = true;  // 1e-5 and below: never integral
  bool large = true;  // 1e16 and above
};

// One digit other than 0, a fraction or none, an exponent of at most one leading zero: as Python,
// JavaScript and C write it. nullptr if there is no such number between the bounds. Its steps fill
// a table, so it belongs to one pool.
std::shared_ptr<const Automaton> exponent_numbers(const ExponentRule& rule);

// The least exponents in size of the two ranges, and the largest that is offered where no bound
// asks for more: what a double can hold.
inline constexpr std::int64_t kSmallExponent = 5;  // of e-5
inline constexpr std::int64_t kLargeExponent = 16;
inline constexpr std::int64_t kMaxFreeExponent = 300;

}  // namespace tessera::guided

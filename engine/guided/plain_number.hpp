// plain_number.hpp — numbers written without an exponent that lie between bounds and are multiples
// of something: one automaton for the whole conjunction.
//
// Written as an intersection, "a multiple of 1,000,003 below 10^18" is alive or dead only after a
// search through a million states. Here a prefix is judged by arithmetic. Its digits are compared
// with those of the two bounds, and its remainder is known, so the numbers that can still come of
// it are intervals [p 10^j, (p + 1) 10^j). The bounds are first moved to the nearest multiples: a
// prefix that agrees with a bound can then always be completed to the bound itself, and any other
// lies within the bounds as a whole, where the remainder alone decides.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/guided/magnitude_range.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// modulus 10^-fraction_digits: what all multiples are a multiple of. Of its multiples, those whose
// quotient is a multiple of an entry of `unwanted` are left out.
struct Divisor {
  std::uint64_t modulus = 1;  // in [1, 2^63)
  std::int64_t fraction_digits = 0;
  std::vector<std::uint64_t> unwanted = {};  // each at least 2, none a multiple of another
  std::uint64_t cycle = 1;                   // a multiple of all modulus * unwanted, < 2^63
};

// The least common multiple; nullopt if its modulus needs 2^63 or more. `divisors` has one at
// least.
std::optional<Divisor> common_divisor(std::span<const Decimal> divisors);

// Leaves out the multiples of these as well. False, and nothing has changed, if that needs too
// large numbers or would leave nothing.
bool leave_out(Divisor& divisor, std::span<const Decimal> unwanted);

struct PlainNumberRule {
  std::span<const NumberBound> minimum;
  std::span<const NumberBound> maximum;
  std::optional<Divisor> divisor;
  bool point = true;  // whether a fraction may be written at all; false needs an integral divisor
};

// nullptr if nothing is in the language. Its steps fill a table, so it belongs to one pool.
// nullopt if a bound has too many digits to be rounded to a multiple.
std::optional<std::shared_ptr<const Automaton>> plain_numbers(const PlainNumberRule& rule);

}  // namespace tessera::guided

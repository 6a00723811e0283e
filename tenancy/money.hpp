// money.hpp — an amount of money, exactly.
//
// A price is so many millionths of a dollar for a million tokens, so the price of one token is a
// whole number of millionths of a millionth of a dollar, and every sum is exact. 64 bits hold nine
// million dollars; sums beyond that stay there.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace tessera {

struct Money {
  std::int64_t pico_dollars = 0;

  static constexpr std::int64_t kPicoPerCent = 10'000'000'000;
  // More cents than any limit may have.
  static constexpr std::int64_t kMaxCents = 900'000'000;
  static constexpr Money of_cents(std::int64_t cents) { return {cents * kPicoPerCent}; }

  constexpr std::int64_t whole_cents() const { return pico_dollars / kPicoPerCent; }
  double dollars() const { return static_cast<double>(pico_dollars) * 1e-12; }

  constexpr auto operator<=>(const Money&) const = default;
};

constexpr Money operator+(Money left, Money right) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(left.pico_dollars, right.pico_dollars, &sum)) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
    sum = right.pico_dollars > 0 ? kMost : kLeast;
  }
  return {sum};
}
constexpr Money operator-(Money left, Money right) {
  return left + Money{-right.pico_dollars};
}
constexpr Money& operator+=(Money& left, Money right) {
  return left = left + right;
}

// `tokens` at `price` each; both at least 0.
constexpr Money times(Money price, std::int64_t tokens) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(price.pico_dollars, tokens, &product)) {
    product = std::numeric_limits<std::int64_t>::max();
  }
  return {product};
}

}  // namespace tessera

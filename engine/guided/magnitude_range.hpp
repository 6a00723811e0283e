// magnitude_range.hpp — the numbers of one sign between two bounds, by magnitude, and how the first
// digits of a number stand to a bound.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/guided/decimal.hpp"
#include "engine/guided/number_language.hpp"

namespace tessera::guided {

// How the digits read so far compare with as many first digits of a bound.
enum class Order : std::int8_t { kLess = -1, kEqual = 0, kGreater = 1 };

// One bound on a magnitude, as digits in places. Place 0 is the first after the decimal point, -1
// the units, and so on.
struct MagnitudeBound {
  Decimal value;  // >= 0
  bool exclusive = false;

  // Digits before the point; 0 below 1.
  std::int64_t whole_digits() const { return value.exponent() > 0 ? value.exponent() : 0; }
  // '0' beyond either end.
  char digit_at(std::int64_t place) const {
    const auto index = place + value.exponent();
    if (index < 0 || index >= static_cast<std::int64_t>(value.digits().size())) return '0';
    return value.digits()[static_cast<std::size_t>(index)];
  }
  // Whether a digit other than 0 is at `place` or after it.
  bool more_from(std::int64_t place) const {
    return place + value.exponent() < static_cast<std::int64_t>(value.digits().size());
  }
};

inline Order compare_digit(Order so_far, char digit, char bound) {
  if (so_far != Order::kEqual || digit == bound) return so_far;
  return digit < bound ? Order::kLess : Order::kGreater;
}

struct MagnitudeRange {
  MagnitudeBound low;
  std::optional<MagnitudeBound> high;  // nullopt: no end

  bool empty() const {
    if (!high) return false;
    const int order = low.value.compare(high->value);
    return order > 0 || (order == 0 && (low.exclusive || high->exclusive));
  }
};

// The magnitudes of the numbers of that sign which all bounds allow; nullopt if there are none. -0
// is 0, so 0 is in both ranges or in neither.
std::optional<MagnitudeRange> magnitudes(std::span<const NumberBound> minimum,
                                         std::span<const NumberBound> maximum, bool negative);

// States that are structs, as the numbers an Automaton deals in. Grows as it is stepped into.
template <typename State, typename Hash>
class StateTable {
 public:
  std::uint64_t intern(const State& state) {
    const auto [at, fresh] = ids_.try_emplace(state, states_.size());
    if (fresh) states_.push_back(state);
    return at->second;
  }
  const State& operator[](std::uint64_t id) const { return states_[id]; }

 private:
  std::vector<State> states_;
  std::unordered_map<State, std::uint64_t, Hash> ids_;
};

inline std::size_t mix_hash(std::size_t seed, std::uint64_t value) {
  return (seed ^ value) * std::uint64_t{0x9E3779B97F4A7C15} + (seed >> 29);
}

}  // namespace tessera::guided

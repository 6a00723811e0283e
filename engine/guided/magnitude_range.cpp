#include "engine/guided/magnitude_range.hpp"

namespace tessera::guided {
namespace {

// The strictest of some bounds; `above` says that larger is stricter.
std::optional<NumberBound> strictest(std::span<const NumberBound> bounds, bool above) {
  std::optional<NumberBound> best;
  for (const auto& bound : bounds) {
    const int order = best ? bound.value.compare(best->value) : 0;
    const bool stricter = above ? order > 0 : order < 0;
    if (!best || stricter || (order == 0 && bound.exclusive)) best = bound;
  }
  return best;
}

}  // namespace

std::optional<MagnitudeRange> magnitudes(std::span<const NumberBound> minimum,
                                         std::span<const NumberBound> maximum, bool negative) {
  auto low = strictest(minimum, true);
  auto high = strictest(maximum, false);
  if (negative) {
    std::swap(low, high);
    if (low) low->value = low->value.negated();
    if (high) high->value = high->value.negated();
  }
  MagnitudeRange range;
  if (low && !low->value.negative()) range.low = {low->value, low->exclusive};
  if (high) {
    if (high->value.negative()) return {};
    range.high = MagnitudeBound{high->value, high->exclusive};
  }
  if (range.empty()) return {};
  return range;
}

}  // namespace tessera::guided

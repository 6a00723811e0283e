// greedy_dual.hpp — what a resident adapter is worth: GreedyDual-Size-Frequency (Cherkasova 1998).
//
//   worth = age + uses * cost / bytes
//
// where `age` is the worth of the last one that was evicted, so that what is no longer used sinks
// as others come and go, and the cost of a load is its bytes and a constant. Whoever is worth least
// goes first. Frequency is what keeps a sweep over adapters that are used once from pushing out
// those that are used all the time.
//
// Not thread-safe: a part of its owner.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tessera {

class GreedyDual {
 public:
  // Of an adapter that is used for the `uses`-th time since it came.
  double worth(std::uint64_t uses, std::size_t bytes) const {
    const auto size = static_cast<double>(std::max<std::size_t>(bytes, 1));
    return age_ + static_cast<double>(uses) * (size + kLoadLatencyBytes) / size;
  }
  void evicted(double worth) { age_ = std::max(age_, worth); }

 private:
  // A load costs as much as reading so many bytes more: finding and opening a file, waking up.
  static constexpr double kLoadLatencyBytes = double{1 << 20};

  double age_ = 0;
};

}  // namespace tessera

// running_adapters.hpp — which adapters the running sequences use, counted against the limits.
//
// The base counts as one: a step over base and adapters has one more group of rows. An adapter that
// is in use costs nothing to use again, so the scheduler fills steps with few distinct adapters
// when many are asked for. A sequence that mixes adapters uses all of them, or none if one does not
// fit. The engine's AdapterSlots keeps the same limits, which is why a sequence that was admitted
// here always finds its slots there.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "storage/digest.hpp"

namespace tessera {

// (Not `AdapterLimits`: those are adapters/validator.hpp's, of an upload.)
struct SlotLimits {
  int max_adapters = 16;                             // distinct ones at a time, the base included
  std::size_t max_bytes = std::size_t{1024} << 20U;  // of their pages, together
  // Adapters that the device holds, in use or not; at least max_adapters. Their bytes are within
  // max_bytes too.
  int max_resident = 64;
};

// One adapter that a sequence uses.
struct AdapterUse {
  std::optional<AdapterDigest> adapter;  // nullopt: the base
  std::size_t bytes = 0;                 // of its pages
};

// Owned by the Scheduler. A sequence's uses are of distinct adapters.
class RunningAdapters {
 public:
  explicit RunningAdapters(const SlotLimits& limits) : limits_(limits) {
    uses_.reserve(static_cast<std::size_t>(limits.max_adapters));
  }

  // What is larger than max_bytes still fits when it is alone with the base.
  bool fits(std::span<const AdapterUse> uses) const {
    int num_new = 0;
    std::size_t new_bytes = 0;
    for (const AdapterUse& use : uses) {
      if (std::ranges::find(uses_, use.adapter, &Count::adapter) != uses_.end()) continue;
      ++num_new;
      new_bytes += use.bytes;
    }
    if (num_new == 0) return true;
    if (count() + num_new > limits_.max_adapters) return false;
    return bytes_ == 0 || bytes_ + new_bytes <= limits_.max_bytes;
  }

  // One more sequence uses these, which must fit.
  void add(std::span<const AdapterUse> uses) {
    assert(fits(uses));
    for (const AdapterUse& use : uses) {
      const auto counted = std::ranges::find(uses_, use.adapter, &Count::adapter);
      if (counted != uses_.end()) {
        ++counted->num_sequences;
        continue;
      }
      uses_.push_back({use.adapter, use.bytes, 1});
      bytes_ += use.bytes;
    }
  }

  // Undoes one add().
  void remove(std::span<const AdapterUse> uses) {
    for (const AdapterUse& use : uses) {
      const auto counted = std::ranges::find(uses_, use.adapter, &Count::adapter);
      assert(counted != uses_.end());
      if (--counted->num_sequences > 0) continue;
      bytes_ -= counted->bytes;
      *counted = uses_.back();
      uses_.pop_back();
    }
  }

  int count() const { return static_cast<int>(uses_.size()); }

 private:
  struct Count {
    std::optional<AdapterDigest> adapter;
    std::size_t bytes;
    int num_sequences;
  };

  SlotLimits limits_;
  std::vector<Count> uses_;  // a handful: found by looking
  std::size_t bytes_ = 0;
};

}  // namespace tessera

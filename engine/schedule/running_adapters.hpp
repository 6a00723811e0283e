// running_adapters.hpp — which adapters the running sequences use, counted against the limits.
//
// The base counts as one: a step over base and adapters has one more group of rows. An adapter that
// is in use costs nothing to use again, so the scheduler fills steps with few distinct adapters
// when many are asked for. The engine's AdapterSlots keeps the same limits, which is why a sequence
// that was admitted here always finds a slot there.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <optional>
#include <vector>

#include "storage/digest.hpp"

namespace tessera {

// (Not `AdapterLimits`: those are adapters/validator.hpp's, of an upload.)
struct SlotLimits {
  int max_adapters = 16;                             // distinct ones at a time, the base included
  std::size_t max_bytes = std::size_t{1024} << 20U;  // of their pages, together
};

// Owned by the Scheduler.
class RunningAdapters {
 public:
  using Key = std::optional<AdapterDigest>;  // nullopt: the base

  explicit RunningAdapters(const SlotLimits& limits) : limits_(limits) {
    uses_.reserve(static_cast<std::size_t>(limits.max_adapters));
  }

  // One adapter larger than max_bytes still fits when it is alone with the base.
  bool fits(const Key& adapter, std::size_t bytes) const {
    if (std::ranges::find(uses_, adapter, &Use::adapter) != uses_.end()) return true;
    if (count() == limits_.max_adapters) return false;
    return bytes_ == 0 || bytes_ + bytes <= limits_.max_bytes;
  }

  // One more sequence uses `adapter`, which must fit.
  void add(const Key& adapter, std::size_t bytes) {
    assert(fits(adapter, bytes));
    const auto use = std::ranges::find(uses_, adapter, &Use::adapter);
    if (use != uses_.end()) {
      ++use->num_sequences;
      return;
    }
    uses_.push_back({adapter, bytes, 1});
    bytes_ += bytes;
  }

  // Undoes one add().
  void remove(const Key& adapter) {
    const auto use = std::ranges::find(uses_, adapter, &Use::adapter);
    assert(use != uses_.end());
    if (--use->num_sequences > 0) return;
    bytes_ -= use->bytes;
    *use = uses_.back();
    uses_.pop_back();
  }

  int count() const { return static_cast<int>(uses_.size()); }

 private:
  struct Use {
    Key adapter;
    std::size_t bytes;
    int num_sequences;
  };

  SlotLimits limits_;
  std::vector<Use> uses_;  // a handful: found by looking
  std::size_t bytes_ = 0;
};

}  // namespace tessera

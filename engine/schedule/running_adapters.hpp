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
#include <limits>
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

// What the pages of those in use may come to.
struct AdapterBytes {
  std::size_t together = 0;
  std::size_t alone = std::numeric_limits<std::size_t>::max();  // of one sequence with the base
};

// One adapter that a sequence uses.
struct AdapterUse {
  std::optional<AdapterDigest> adapter;  // nullopt: the base
  std::size_t bytes = 0;                 // of its pages
};

// Owned by the Scheduler. A sequence's uses are of distinct adapters.
class RunningAdapters {
 public:
  explicit RunningAdapters(const SlotLimits& limits)
      : max_adapters_(limits.max_adapters), max_bytes_{.together = limits.max_bytes} {
    uses_.reserve(static_cast<std::size_t>(limits.max_adapters));
  }

  // From now on, whatever is in use already.
  void set_bytes(const AdapterBytes& bytes) { max_bytes_ = bytes; }

  // What is larger than max_bytes still fits when it is alone with the base.
  bool fits(std::span<const AdapterUse> uses) const {
    const New added = new_of(uses);
    if (added.count == 0) return true;
    return count() + added.count <= max_adapters_ && has_room(added.bytes);
  }
  // What those in use would come to with these, if it is bytes that these lack; else 0.
  std::size_t wanted_bytes(std::span<const AdapterUse> uses) const {
    const New added = new_of(uses);
    const bool lacks = added.count > 0 && count() + added.count <= max_adapters_;
    return lacks && !has_room(added.bytes) ? bytes_ + added.bytes : 0;
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
  struct New {
    int count = 0;
    std::size_t bytes = 0;
  };

  New new_of(std::span<const AdapterUse> uses) const {
    New added;
    for (const AdapterUse& use : uses) {
      if (std::ranges::find(uses_, use.adapter, &Count::adapter) != uses_.end()) continue;
      ++added.count;
      added.bytes += use.bytes;
    }
    return added;
  }
  bool has_room(std::size_t bytes) const {
    return bytes_ + bytes <= max_bytes_.together || (bytes_ == 0 && bytes <= max_bytes_.alone);
  }

  int max_adapters_;
  AdapterBytes max_bytes_;
  std::vector<Count> uses_;  // a handful: found by looking
  std::size_t bytes_ = 0;
};

}  // namespace tessera

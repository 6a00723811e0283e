// hash_index.hpp — from content to number: the index behind every table that keeps things once.
//
// The table owns its entries in a vector; this remembers only where each hash's entries stand and
// asks the table whether an entry is the one wanted. Open addressing, at most half full.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::guided {

// A multiply-and-fold step; good enough for numbers that are small and many.
inline std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  // Not symmetric: mix(0, 1) is not mix(1, 0).
  const std::uint64_t x = (hash * 0xD1B54A32D192ED03U ^ value) * 0x9E3779B97F4A7C15U;
  return x ^ (x >> 32U);
}

class HashIndex {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  // The entry with this hash for which `equal(entry)` holds, or kNone.
  template <class Equal>
  std::uint32_t find(std::uint64_t hash, Equal&& equal) const {
    if (slots_.empty()) return kNone;
    for (std::size_t at = hash & mask();; at = (at + 1) & mask()) {
      const Slot& slot = slots_[at];
      if (slot.entry == kNone) return kNone;
      if (slot.hash == low(hash) && equal(slot.entry)) return slot.entry;
    }
  }

  // `entry` is not there yet.
  void insert(std::uint64_t hash, std::uint32_t entry) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    place({low(hash), entry});
    ++size_;
  }

  std::size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t entry = kNone;
  };
  static constexpr std::size_t kFirstSlots = 64;

  static std::uint32_t low(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }
  std::size_t mask() const { return slots_.size() - 1; }

  void place(Slot slot) {
    std::size_t at = slot.hash & mask();
    while (slots_[at].entry != kNone) at = (at + 1) & mask();
    slots_[at] = slot;
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? kFirstSlots : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.entry != kNone) place(slot);
    }
  }

  std::vector<Slot> slots_;  // a power of two of them
  std::size_t size_ = 0;
};

}  // namespace tessera::guided

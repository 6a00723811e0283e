// adapter_slots.hpp — the adapters that the backend holds, and who is using them.
//
// A running sequence holds a Pin on its adapter. An adapter without pins stays in its slot until
// its place is needed; whoever is worth least goes first (adapters/greedy_dual.hpp). The pages are
// shared with the HostCache and live at least as long as the slot.
//
// Owned and called by the engine thread alone; no locks. Outlives its pins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "adapters/greedy_dual.hpp"
#include "adapters/packed_adapter.hpp"
#include "engine/schedule/running_adapters.hpp"
#include "kernels/backend.hpp"
#include "storage/digest.hpp"

namespace tessera {

class AdapterSlots {
 public:
  class Pin;

  AdapterSlots(Backend& backend, const SlotLimits& limits) : backend_(backend), limits_(limits) {}
  ~AdapterSlots();
  AdapterSlots(const AdapterSlots&) = delete;
  AdapterSlots& operator=(const AdapterSlots&) = delete;

  // Brings the adapter into the backend if it is not there, evicting others that nobody has pinned,
  // and keeps it there for as long as the pin lives. The caller keeps the number of pinned adapters
  // within the limits (RunningAdapters does). Throws std::runtime_error if the backend has no room
  // for it even when all others without pins have gone.
  Pin pin(const AdapterDigest& digest, const std::shared_ptr<const PackedAdapter>& adapter);

  // Gives up every adapter that nobody has pinned, and with it its claim on host memory. Returns
  // how many those were.
  int evict_idle();
  // The one of them that is worth least. False: all are pinned.
  bool evict_least();
  // Gives up this one, if it is here and nobody has pinned it; whether it did.
  bool evict(const AdapterDigest& digest);
  // Those that went since the last call: what is cached for them should go before others'.
  std::vector<AdapterDigest> take_evicted() { return std::exchange(evicted_, {}); }

  bool holds(const AdapterDigest& digest) const { return entries_.contains(digest); }
  std::vector<AdapterDigest> resident() const;
  int count() const { return static_cast<int>(entries_.size()); }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t num_loads() const { return num_loads_; }
  std::uint64_t num_evictions() const { return num_evictions_; }
  // Of those that went so that others had room, since the last call.
  std::size_t take_evicted_bytes() { return std::exchange(evicted_bytes_, 0); }
  bool has_evicted() const { return !evicted_.empty(); }

 private:
  struct Entry {
    std::shared_ptr<const PackedAdapter> adapter;
    AdapterSlot slot = kNoAdapter;
    int num_pins = 0;
    std::uint64_t uses = 0;
    double worth = 0;
    std::uint64_t last_pinned = 0;  // in pins made
  };
  using Entries = std::unordered_map<AdapterDigest, Entry, DigestHash>;

  AdapterSlot load(const PackedAdapter& adapter);
  void make_room(std::size_t bytes);
  bool evict_for_others();
  void remove(Entries::iterator entry);

  Backend& backend_;
  SlotLimits limits_;
  Entries entries_;
  GreedyDual worth_;
  std::vector<AdapterDigest> evicted_;
  std::size_t bytes_ = 0;
  std::size_t evicted_bytes_ = 0;
  std::uint64_t num_pins_made_ = 0;
  std::uint64_t num_loads_ = 0;
  std::uint64_t num_evictions_ = 0;
};

// Move-only. An empty pin stands for the base.
class AdapterSlots::Pin {
 public:
  Pin() = default;
  Pin(Pin&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
  Pin& operator=(Pin&& other) noexcept {
    release();
    entry_ = std::exchange(other.entry_, nullptr);
    return *this;
  }
  ~Pin() { release(); }

  explicit operator bool() const { return entry_ != nullptr; }
  AdapterSlot slot() const { return entry_ == nullptr ? kNoAdapter : entry_->slot; }

 private:
  friend class AdapterSlots;
  explicit Pin(Entry& entry) : entry_(&entry) { ++entry.num_pins; }
  void release() {
    if (entry_ != nullptr) --entry_->num_pins;
    entry_ = nullptr;
  }

  Entry* entry_ = nullptr;  // nodes of an unordered_map stay where they are
};

}  // namespace tessera

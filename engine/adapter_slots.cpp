#include "engine/adapter_slots.hpp"

#include <algorithm>
#include <cassert>
#include <stdexcept>
#include <string>

namespace tessera {

AdapterSlots::~AdapterSlots() {
  for (const auto& [digest, entry] : entries_) {
    assert(entry.num_pins == 0);
    backend_.remove_adapter(entry.slot);
  }
}

AdapterSlots::Pin AdapterSlots::pin(const AdapterDigest& digest,
                                    const std::shared_ptr<const PackedAdapter>& adapter) {
  assert(adapter != nullptr);
  auto found = entries_.find(digest);
  if (found == entries_.end()) {
    make_room(adapter->bytes());
    const AdapterSlot slot = load(*adapter);
    found = entries_.emplace(digest, Entry{.adapter = adapter, .slot = slot}).first;
    bytes_ += adapter->bytes();
    ++num_loads_;
  }
  Entry& entry = found->second;
  entry.worth = worth_.worth(++entry.uses, entry.adapter->bytes());
  entry.last_pinned = ++num_pins_made_;
  return Pin(entry);
}

// A device's memory may be in pieces: then more go than the bytes would ask for.
AdapterSlot AdapterSlots::load(const PackedAdapter& adapter) {
  for (;;) {
    const AdapterSlot slot = backend_.add_adapter(adapter.view());
    if (slot != kNoAdapter) return slot;
    if (evict_for_others()) continue;
    throw std::runtime_error("the device has no room for an adapter of " +
                             std::to_string(adapter.bytes()) + " bytes beside those in use");
  }
}

int AdapterSlots::evict_idle() {
  int evicted = 0;
  while (evict_least()) ++evicted;
  return evicted;
}

bool AdapterSlots::evict(const AdapterDigest& digest) {
  const auto found = entries_.find(digest);
  if (found == entries_.end() || found->second.num_pins > 0) return false;
  remove(found);
  return true;
}

std::vector<AdapterDigest> AdapterSlots::resident() const {
  std::vector<AdapterDigest> digests;
  for (const auto& [digest, entry] : entries_) digests.push_back(digest);
  return digests;
}

void AdapterSlots::make_room(std::size_t bytes) {
  const int most = std::max(limits_.max_resident, limits_.max_adapters);
  const auto is_full = [&] { return count() >= most || bytes_ + bytes > limits_.max_bytes; };
  while (is_full() && evict_for_others()) {
  }
}

bool AdapterSlots::evict_for_others() {
  const std::size_t before = bytes_;
  const bool evicted = evict_least();
  evicted_bytes_ += before - bytes_;
  return evicted;
}

bool AdapterSlots::evict_least() {
  const auto rank = [](const Entry& entry) { return std::pair(entry.worth, entry.last_pinned); };
  auto least = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->second.num_pins > 0) continue;
    if (least == entries_.end() || rank(entry->second) < rank(least->second)) least = entry;
  }
  if (least == entries_.end()) return false;
  worth_.evicted(least->second.worth);
  remove(least);
  return true;
}

void AdapterSlots::remove(Entries::iterator entry) {
  backend_.remove_adapter(entry->second.slot);
  bytes_ -= entry->second.adapter->bytes();
  evicted_.push_back(entry->first);
  entries_.erase(entry);
  ++num_evictions_;
}

}  // namespace tessera

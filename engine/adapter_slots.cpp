#include "engine/adapter_slots.hpp"

#include <algorithm>
#include <cassert>

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
    const AdapterSlot slot = backend_.add_adapter(adapter->view());
    found = entries_.emplace(digest, Entry{.adapter = adapter, .slot = slot}).first;
    bytes_ += adapter->bytes();
    ++num_loads_;
  }
  found->second.last_pinned = ++num_pins_made_;
  return Pin(found->second);
}

int AdapterSlots::evict_idle() {
  int evicted = 0;
  while (evict_one()) ++evicted;
  return evicted;
}

void AdapterSlots::make_room(std::size_t bytes) {
  const auto is_full = [&] {
    return count() >= limits_.max_adapters || bytes_ + bytes > limits_.max_bytes;
  };
  while (is_full() && evict_one()) {
  }
}

bool AdapterSlots::evict_one() {
  auto oldest = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->second.num_pins > 0) continue;
    if (oldest == entries_.end() || entry->second.last_pinned < oldest->second.last_pinned) {
      oldest = entry;
    }
  }
  if (oldest == entries_.end()) return false;
  backend_.remove_adapter(oldest->second.slot);
  bytes_ -= oldest->second.adapter->bytes();
  entries_.erase(oldest);
  return true;
}

}  // namespace tessera

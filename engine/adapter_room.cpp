#include "engine/adapter_room.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/memory_division.hpp"

namespace tessera {
namespace {

// The last `count` of them.
void append_last(std::span<const BlockId> lent, int count, std::vector<BlockId>& given) {
  const auto last = lent.last(static_cast<std::size_t>(count));
  given.insert(given.end(), last.begin(), last.end());
}

}  // namespace

AdapterRoom::Pressure HostRoom::look() {
  const HostCache::Pressure pressure = host_cache_.take_pressure();
  owed_bytes_ = std::max(owed_bytes_, pressure.missing_bytes);
  if (pressure.unfilled_bytes > owed_bytes_) owed_bytes_ = 0;  // others have gone
  return {pressure.evicted_bytes, owed_bytes_, pressure.unfilled_bytes};
}

void HostRoom::add(std::span<const BlockId> lent, std::span<const BlockId> written) {
  if (!written.empty()) backend_.discard_blocks(written);
  const std::size_t bytes = lent.size() * block_bytes_;
  owed_bytes_ -= std::min(owed_bytes_, bytes);
  if (bytes > 0) host_cache_.add_room(bytes);
}

void HostRoom::give_unfilled(std::span<const BlockId> lent, int most, std::size_t keep,
                             std::vector<BlockId>& given) {
  append_last(lent, host_cache_.give_unfilled(block_bytes_, most, keep), given);
}

void HostRoom::give_idle(std::span<const BlockId> lent, int most, std::vector<BlockId>& given) {
  append_last(lent, host_cache_.give_idle(block_bytes_, most), given);
}

void HostRoom::forget_blocks(int num_blocks) {
  std::vector<BlockId> all(static_cast<std::size_t>(num_blocks));
  std::iota(all.begin(), all.end(), 0);
  backend_.discard_blocks(all);
}

AdapterRoom::Pressure DeviceRoom::look() {
  const Backend::AdapterMemory memory = backend_.adapter_memory();
  std::size_t needed = wanted_bytes_;  // so much that as many bytes as are wanted can be promised
  while (promised_adapter_bytes(needed) < wanted_bytes_) needed += block_bytes_;
  const std::size_t owed = needed - std::min(needed, memory.bytes);
  return {slots_.take_evicted_bytes(), owed, memory.free_bytes};
}

void DeviceRoom::add(std::span<const BlockId> lent, std::span<const BlockId> /*written*/) {
  backend_.lend_blocks(lent);
}

void DeviceRoom::give_unfilled(std::span<const BlockId> /*lent*/, int most, std::size_t keep,
                               std::vector<BlockId>& given) {
  const std::size_t free = backend_.adapter_memory().free_bytes;
  if (free <= keep) return;
  const auto spare = static_cast<int>((free - keep) / block_bytes_);
  backend_.take_blocks(std::min(most, spare), given);
}

void DeviceRoom::give_idle(std::span<const BlockId> /*lent*/, int most,
                           std::vector<BlockId>& given) {
  const std::size_t end = given.size() + static_cast<std::size_t>(most);
  do {
    backend_.take_blocks(static_cast<int>(end - given.size()), given);
  } while (given.size() < end && slots_.evict_least());
}

// With its share in hand, an adapter of any size is tried, and what has no room even then fails.
std::optional<AdapterBytes> DeviceRoom::usable() const {
  const std::size_t bytes = backend_.adapter_memory().bytes;
  const std::size_t promised = promised_adapter_bytes(bytes);
  if (bytes >= share_bytes_) return AdapterBytes{promised, std::numeric_limits<std::size_t>::max()};
  return AdapterBytes{promised, promised};
}

}  // namespace tessera

#include "adapters/pinned_arena.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

namespace tessera {

PinnedArena::PinnedArena(std::shared_ptr<std::byte> memory, std::size_t bytes)
    : memory_(std::move(memory)), bytes_(bytes / kPageBytes * kPageBytes) {
  MutexLock lock(mutex_);
  if (bytes_ > 0) free_.emplace(0, bytes_);
}

std::byte* PinnedArena::allocate(std::size_t bytes) {
  const std::size_t length = footprint(bytes);
  MutexLock lock(mutex_);
  const auto run =
      std::ranges::find_if(free_, [&](const auto& entry) { return entry.second >= length; });
  if (length == 0 || run == free_.end()) return nullptr;
  const auto [begin, available] = *run;
  free_.erase(run);
  if (available > length) free_.emplace(begin + length, available - length);
  used_.emplace(begin, length);
  return memory_.get() + begin;
}

void PinnedArena::release(std::byte* memory) {
  MutexLock lock(mutex_);
  const auto used = used_.find(static_cast<std::size_t>(memory - memory_.get()));
  assert(used != used_.end());
  auto [begin, length] = *used;
  used_.erase(used);
  const auto after = free_.find(begin + length);
  if (after != free_.end()) {
    length += after->second;
    free_.erase(after);
  }
  const auto next = free_.lower_bound(begin);
  if (next != free_.begin() && std::prev(next)->first + std::prev(next)->second == begin) {
    std::prev(next)->second += length;
  } else {
    free_.emplace(begin, length);
  }
}

std::size_t PinnedArena::free_bytes() const {
  MutexLock lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& [begin, length] : free_) bytes += length;
  return bytes;
}

}  // namespace tessera

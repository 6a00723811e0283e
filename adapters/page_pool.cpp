#include "adapters/page_pool.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace tessera {

PageMemory PagePool::take(std::size_t bytes) {
  if (arena_ != nullptr) {
    if (std::byte* part = arena_->allocate(bytes)) return {arena_, part, bytes};
  }
  {
    MutexLock lock(mutex_);
    const auto found =
        std::ranges::find(spare_, mapped_bytes(bytes), &AlignedBuffer<std::byte>::footprint);
    if (found != spare_.end()) {
      AlignedBuffer<std::byte> memory = std::move(*found);
      spare_.erase(found);
      bytes_ -= memory.footprint();
      return std::move(memory).resized(bytes);
    }
  }
  return AlignedBuffer<std::byte>(bytes);
}

void PagePool::give(PageMemory given) {
  if (given.is_pinned() || given.footprint() > max_bytes_) return;
  AlignedBuffer<std::byte> memory = std::move(given).take_mapping();
  std::vector<AlignedBuffer<std::byte>> surplus;  // unmapped after the lock is
  MutexLock lock(mutex_);
  bytes_ += memory.footprint();
  spare_.push_back(std::move(memory));
  while (bytes_ > max_bytes_) {
    bytes_ -= spare_.front().footprint();
    surplus.push_back(std::move(spare_.front()));
    spare_.pop_front();
  }
}

std::size_t PagePool::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace tessera

// page_pool.hpp — memory for the pages of adapters: a device's arena, where there is one, and what
// adapters that have gone had, for those that come.
//
// Memory that is new to a process costs more than reading a file into it does: the kernel has to
// find and clear it, and taking it away interrupts all CPUs. So a little of what goes is kept for
// what comes: a server that loads and evicts without end moves within the same memory.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>

#include "adapters/pinned_arena.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "storage/mutex.hpp"

namespace tessera {

// A mapping of its own, or a part of an arena. Move-only; gives back what it has.
class PageMemory {
 public:
  PageMemory() = default;
  PageMemory(AlignedBuffer<std::byte> mapping)  // NOLINT(google-explicit-constructor)
      : mapping_(std::move(mapping)) {}
  // What the arena has given out.
  PageMemory(std::shared_ptr<PinnedArena> arena, std::byte* part, std::size_t size)
      : arena_(std::move(arena)), part_(part), size_(size) {}
  ~PageMemory() {
    if (part_ != nullptr) arena_->release(part_);
  }
  PageMemory(PageMemory&& other) noexcept
      : mapping_(std::move(other.mapping_)),
        arena_(std::move(other.arena_)),
        part_(std::exchange(other.part_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  PageMemory& operator=(PageMemory&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(arena_, other.arena_);
    std::swap(part_, other.part_);
    std::swap(size_, other.size_);
    return *this;
  }

  bool is_pinned() const { return part_ != nullptr; }
  std::byte* data() { return is_pinned() ? part_ : mapping_.data(); }
  const std::byte* data() const { return is_pinned() ? part_ : mapping_.data(); }
  std::size_t size() const { return is_pinned() ? size_ : mapping_.size(); }
  std::size_t footprint() const {
    return is_pinned() ? PinnedArena::footprint(size_) : mapping_.footprint();
  }
  // Of memory that is not pinned.
  AlignedBuffer<std::byte> take_mapping() && { return std::move(mapping_); }

 private:
  AlignedBuffer<std::byte> mapping_;
  std::shared_ptr<PinnedArena> arena_;
  std::byte* part_ = nullptr;
  std::size_t size_ = 0;
};

// Thread-safe.
class PagePool {
 public:
  // Keeps at most `max_bytes` of mappings. `arena` may be null.
  explicit PagePool(std::size_t max_bytes, std::shared_ptr<PinnedArena> arena = nullptr)
      : max_bytes_(max_bytes), arena_(std::move(arena)) {}

  // Memory for `bytes`, of the arena while it has a run as long; what is in it is anything.
  PageMemory take(std::size_t bytes);
  // Keeps a mapping; what was given first goes if that becomes too much.
  void give(PageMemory memory);

  std::size_t bytes() const;  // kept now

 private:
  const std::size_t max_bytes_;
  const std::shared_ptr<PinnedArena> arena_;
  mutable Mutex mutex_;
  std::deque<AlignedBuffer<std::byte>> spare_ TESSERA_GUARDED_BY(mutex_);  // in order of giving
  std::size_t bytes_ TESSERA_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera

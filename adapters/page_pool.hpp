// page_pool.hpp — memory of adapters that have gone, for those that come.
//
// Memory that is new to a process costs more than reading a file into it does: the kernel has to
// find and clear it, and taking it away interrupts all CPUs. So a little of what goes is kept for
// what comes: a server that loads and evicts without end moves within the same memory.
#pragma once

#include <cstddef>
#include <deque>

#include "kernels/cpu/aligned_buffer.hpp"
#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe.
class PagePool {
 public:
  // Keeps at most `max_bytes`.
  explicit PagePool(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // Memory for `bytes`; what is in it is anything.
  AlignedBuffer<std::byte> take(std::size_t bytes);
  // Keeps the memory; what was given first goes if that becomes too much.
  void give(AlignedBuffer<std::byte> memory);

  std::size_t bytes() const;  // kept now

 private:
  const std::size_t max_bytes_;
  mutable Mutex mutex_;
  std::deque<AlignedBuffer<std::byte>> spare_ TESSERA_GUARDED_BY(mutex_);  // in order of giving
  std::size_t bytes_ TESSERA_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera

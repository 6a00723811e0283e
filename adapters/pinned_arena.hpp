// pinned_arena.hpp — host memory that a device's copies read where it lies
// (Backend::pinned_memory), dealt out to the pages of adapters.
//
// Pinning takes the driver a second for a few gigabytes, and its locks with it: so all of it is
// pinned once, at the start. First fit; neighbours that are free become one.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <unordered_map>

#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe.
class PinnedArena {
 public:
  // Of whole pages of kPageBytes.
  PinnedArena(std::shared_ptr<std::byte> memory, std::size_t bytes);
  PinnedArena(const PinnedArena&) = delete;
  PinnedArena& operator=(const PinnedArena&) = delete;

  static constexpr std::size_t kPageBytes = 4096;
  // What `bytes` take of it.
  static constexpr std::size_t footprint(std::size_t bytes) {
    return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  }

  // What is in it is anything. Null: no run of free pages is as long.
  std::byte* allocate(std::size_t bytes);
  void release(std::byte* memory);

  std::size_t bytes() const { return bytes_; }
  std::size_t free_bytes() const;

 private:
  const std::shared_ptr<std::byte> memory_;
  const std::size_t bytes_;
  mutable Mutex mutex_;
  std::map<std::size_t, std::size_t> free_ TESSERA_GUARDED_BY(mutex_);  // begin, length
  std::unordered_map<std::size_t, std::size_t> used_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera

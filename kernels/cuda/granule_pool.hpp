// granule_pool.hpp — the device memory that KV blocks and adapters' pages share.
//
// One allocation, given out in runs of 64 KiB granules: first fit, neighbours merged when a run
// comes back. Nothing is reserved for one use or the other.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "kernels/cuda/device.hpp"

namespace tessera {

class GranulePool {
 public:
  static constexpr std::size_t kGranule = 64 << 10;

  explicit GranulePool(std::size_t bytes);

  // `bytes` of device memory, aligned to a granule; null if no run is long enough.
  std::byte* allocate(std::size_t bytes);
  void release(std::byte* run);  // null: nothing

  std::size_t capacity() const { return memory_.size(); }
  std::size_t free_bytes() const { return free_granules_ * kGranule; }

 private:
  std::size_t index_of(const std::byte* run) const;

  DeviceBuffer<std::byte> memory_;
  std::size_t free_granules_;
  std::map<std::size_t, std::size_t> free_;  // first granule -> length, not adjacent
  std::map<std::size_t, std::size_t> used_;
};

}  // namespace tessera

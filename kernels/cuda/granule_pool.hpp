// granule_pool.hpp — the device memory that KV blocks and adapters' pages share.
//
// One allocation of frames, each as large as a KV block. A frame is its KV block's, or it is given
// to adapters; those it is given to are cut into granules and dealt out in runs, from the end of
// the memory on, neighbours merged when a run comes back. So KV and adapters may take from each
// other whatever whole frames one of them does not fill.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cuda/device.hpp"

namespace tessera {

class GranulePool {
 public:
  static constexpr std::size_t kAlignment = 256;

  // All frames are KV's. `frame_bytes` is a multiple of kAlignment.
  GranulePool(std::size_t frame_bytes, int num_frames);

  // Where frame 0 begins; the others follow.
  std::byte* memory() { return memory_.data(); }
  int num_frames() const { return static_cast<int>(is_given_.size()); }

  // The frames of these blocks are adapters' from now on.
  void give(BlockId frame);
  // Up to `most` frames that are adapters', but hold nothing of theirs, are KV's again: the first
  // ones there are. Appended to `frames`.
  void take(int most, std::vector<BlockId>& frames);

  // A run of adapters' memory, aligned to a granule; null if none is long enough.
  std::byte* allocate(std::size_t bytes);
  void release(std::byte* run);  // null: nothing

  std::size_t granule() const { return granule_; }          // bytes
  std::size_t given_bytes() const { return given_bytes_; }  // of the frames that are adapters'
  std::size_t free_bytes() const { return free_granules_ * granule_; }

 private:
  using Runs = std::map<std::size_t, std::size_t>;  // first granule -> length; not adjacent

  void add_free(std::size_t first, std::size_t length);

  const std::size_t granule_;
  const std::size_t frame_granules_;
  DeviceBuffer<std::byte> memory_;
  std::vector<bool> is_given_;  // (frames,)
  std::size_t given_bytes_ = 0;
  std::size_t free_granules_ = 0;
  Runs free_;
  Runs used_;  // may be adjacent
};

}  // namespace tessera

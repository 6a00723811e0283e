// kv_layout.hpp — where keys and values lie in device memory.
//
//   elements  [block][layer][key | value][kv head][position in the block][head_dim]
//   scales    [block][layer][key | value][kv head][position in the block]        of kInt8 alone
//
// A block's elements are one frame of the pool that adapters share (granule_pool.hpp). fp16, or
// signed 8-bit integers with an fp32 scale for each key and each value of a head (a 127th of its
// largest magnitude). What one head has in one block is contiguous. Elements of positions that
// nobody has written may be anything, NaNs among them: readers mask before they multiply.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.hpp"

#if !defined(TESSERA_HOST_DEVICE)
#if defined(__CUDACC__)
#define TESSERA_HOST_DEVICE __host__ __device__
#else
#define TESSERA_HOST_DEVICE
#endif
#endif

namespace tessera {

struct KvCache {
  std::byte* elements = nullptr;
  float* scales = nullptr;
  KvForm form = KvForm::kF16;
  std::size_t block_rows = 0;  // from a block's first row to the next block's
  int block_size = 0;          // a power of two
  int num_kv_heads = 0;
  int head_dim = 0;

  enum Kind : int { kKey, kValue };

  // Index of a head's row in a block; times head_dim it is that of its first element.
  TESSERA_HOST_DEVICE std::size_t row(int layer, BlockId block, Kind kind, int head,
                                      int offset) const {
    const int at_head = (layer * 2 + static_cast<int>(kind)) * num_kv_heads + head;
    return static_cast<std::size_t>(block) * block_rows +
           static_cast<std::size_t>(at_head * block_size + offset);
  }
  TESSERA_HOST_DEVICE std::size_t element_bytes() const { return form == KvForm::kF16 ? 2 : 1; }
  TESSERA_HOST_DEVICE std::size_t row_bytes() const {
    return static_cast<std::size_t>(head_dim) * element_bytes();
  }
};

// Sets block_rows: those of `num_layers` layers, and so many more that a block's elements are a
// multiple of `alignment` bytes.
inline void set_block_rows(KvCache& cache, int num_layers, std::size_t alignment) {
  cache.block_rows = cache.row(num_layers, 0, KvCache::kKey, 0, 0);
  while (cache.block_rows * cache.row_bytes() % alignment != 0) ++cache.block_rows;
}

}  // namespace tessera

// kv_layout.hpp — where a key or a value lies in the CPU's KV cache.
//
// fp16: as many bytes as bf16 and eight times finer, and keys and values, being outputs of a
// projection of a normalised row, stay far below its largest value, 65504, at which stores
// saturate.
//
//   layer > block > KV head > keys    (ceil(block_size / 16), head_dim, 16 positions)
//                           > values  (block_size, head_dim rounded up to 16)
//
// Keys are transposed so that sixteen scores are computed in sixteen lanes with no sum across them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera {

// A context is cut at multiples of this many positions, the parts are reduced by themselves and
// joined in order: how the work is spread cannot change a bit.
inline constexpr int kAttentionSplit = 256;
inline constexpr int kMaxHeadDim = 256;

// Counts of elements. A plain struct, filled by make_kv_layout.
struct KvLayout {
  int head_dim;
  int block_size;              // a power of two, at most kAttentionSplit
  int value_stride;            // head_dim rounded up to 16
  std::size_t keys_elements;   // of one head and block
  std::size_t head_elements;   // keys and values of one head and block
  std::size_t block_elements;  // of all heads
  std::size_t layer_elements;  // of all blocks
};

KvLayout make_kv_layout(int head_dim, int num_kv_heads, int block_size, int num_blocks);

}  // namespace tessera

// kv_layout.hpp — where a key or a value lies in the CPU's KV cache.
//
// In fp16: as many bytes as bf16 and eight times finer, and keys and values, being outputs of a
// projection of a normalised row, stay far below its largest value, 65504, at which stores
// saturate. In 8 bits: integers up to 127, and for the key and the value of each position and head
// a scale in fp32, a 127th of their largest magnitude.
//
//   layer > block > KV head > keys          (ceil(block_size / 16), head_dim, 16 positions)
//                           > key scales    (block_size rounded up to 16), in 8 bits only
//                           > values        (block_size, head_dim rounded up to 16)
//                           > value scales  (block_size), in 8 bits only
//
// Keys are transposed so that sixteen scores are computed in sixteen lanes with no sum across them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera {

enum class KvForm : std::uint8_t;  // kernels/backend.hpp

// A context is cut at multiples of this many positions, the parts are reduced by themselves and
// joined in order: how the work is spread cannot change a bit.
inline constexpr int kAttentionSplit = 256;
inline constexpr int kMaxHeadDim = 256;

// Query heads that attention takes through the keys and values together, of one row or several.
inline constexpr int kMaxQueries = 32;

// A plain struct, filled by make_kv_layout.
struct KvLayout {
  int head_dim;
  int block_size;             // a power of two, at most kAttentionSplit
  int value_stride;           // head_dim rounded up to 16
  bool has_scales;            // 8 bits, not fp16
  std::size_t record_floats;  // what a part of the context comes to for a query: value_stride + 16
  // Bytes from the beginning of a head's part of a block, where its keys are.
  std::size_t key_scales;
  std::size_t values;
  std::size_t value_scales;
  std::size_t head_bytes;   // of one head and block
  std::size_t block_bytes;  // of all heads
  std::size_t layer_bytes;  // of all blocks
};

KvLayout make_kv_layout(int head_dim, int num_kv_heads, int block_size, int num_blocks,
                        KvForm form);

}  // namespace tessera

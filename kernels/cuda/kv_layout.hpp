// kv_layout.hpp — where keys and values lie in device memory.
//
//   elements  [layer][block][key | value][kv head][position in the block][head_dim]
//   scales    [layer][block][key | value][kv head][position in the block]        of kInt8 alone
//
// fp16, or signed 8-bit integers with an fp32 scale for each key and each value of a head (a 127th
// of its largest magnitude). What one head has in one block is contiguous. Elements of positions
// that nobody has written may be anything, NaNs among them: readers mask before they multiply.
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
  int num_blocks = 0;
  int block_size = 0;  // a power of two
  int num_kv_heads = 0;
  int head_dim = 0;

  enum Kind : int { kKey, kValue };

  // Index of a head's row in a block; times head_dim it is that of its first element.
  TESSERA_HOST_DEVICE std::size_t row(int layer, BlockId block, Kind kind, int head,
                                      int offset) const {
    const auto at_block = static_cast<std::size_t>(layer) * static_cast<std::size_t>(num_blocks) +
                          static_cast<std::size_t>(block);
    const std::size_t at_head =
        (at_block * 2 + static_cast<std::size_t>(kind)) * static_cast<std::size_t>(num_kv_heads) +
        static_cast<std::size_t>(head);
    return at_head * static_cast<std::size_t>(block_size) + static_cast<std::size_t>(offset);
  }
  TESSERA_HOST_DEVICE std::size_t element_bytes() const { return form == KvForm::kF16 ? 2 : 1; }
  // Of all layers' elements, and of their scales.
  std::size_t rows_in_all(int num_layers) const { return row(num_layers, 0, kKey, 0, 0); }
};

}  // namespace tessera

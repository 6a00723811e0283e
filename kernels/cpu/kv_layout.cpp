#include "kernels/cpu/kv_layout.hpp"

#include <bit>
#include <cassert>

#include "kernels/backend.hpp"

namespace tessera {
namespace {

int round_up_to_lanes(int count) {
  return (count + 15) / 16 * 16;
}

std::size_t area(int a, int b) {
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b);
}

std::size_t round_up_to_cache_line(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace

KvLayout make_kv_layout(int head_dim, int num_kv_heads, int block_size, int num_blocks,
                        KvForm form) {
  assert(head_dim <= kMaxHeadDim);
  assert(std::has_single_bit(static_cast<unsigned>(block_size)) && block_size <= kAttentionSplit);
  KvLayout layout{};
  layout.head_dim = head_dim;
  layout.block_size = block_size;
  layout.value_stride = round_up_to_lanes(head_dim);
  layout.has_scales = form == KvForm::kInt8;
  layout.record_floats = static_cast<std::size_t>(layout.value_stride + 16);
  const std::size_t element_bytes = layout.has_scales ? 1 : 2;
  const std::size_t scale_bytes = layout.has_scales ? sizeof(float) : 0;
  const int padded_block = round_up_to_lanes(block_size);
  layout.key_scales = area(padded_block, head_dim) * element_bytes;
  layout.values = layout.key_scales + area(padded_block, 1) * scale_bytes;
  layout.value_scales = layout.values + area(block_size, layout.value_stride) * element_bytes;
  layout.head_bytes =
      round_up_to_cache_line(layout.value_scales + area(block_size, 1) * scale_bytes);
  layout.block_bytes = layout.head_bytes * static_cast<std::size_t>(num_kv_heads);
  layout.layer_bytes = layout.block_bytes * static_cast<std::size_t>(num_blocks);
  return layout;
}

}  // namespace tessera

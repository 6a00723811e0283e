#include "kernels/cpu/kv_layout.hpp"

#include <bit>
#include <cassert>

namespace tessera {
namespace {

int round_up_to_lanes(int count) {
  return (count + 15) / 16 * 16;
}

std::size_t elements(int a, int b) {
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b);
}

}  // namespace

KvLayout make_kv_layout(int head_dim, int num_kv_heads, int block_size, int num_blocks) {
  assert(head_dim <= kMaxHeadDim);
  assert(std::has_single_bit(static_cast<unsigned>(block_size)) && block_size <= kAttentionSplit);
  KvLayout layout{};
  layout.head_dim = head_dim;
  layout.block_size = block_size;
  layout.value_stride = round_up_to_lanes(head_dim);
  layout.keys_elements = elements(round_up_to_lanes(block_size), head_dim);
  layout.head_elements = layout.keys_elements + elements(block_size, layout.value_stride);
  layout.block_elements = layout.head_elements * static_cast<std::size_t>(num_kv_heads);
  layout.layer_elements = layout.block_elements * static_cast<std::size_t>(num_blocks);
  return layout;
}

}  // namespace tessera

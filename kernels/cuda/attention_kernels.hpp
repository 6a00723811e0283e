// attention_kernels.hpp — causal attention of a step's rows over the pages of their sequences.
//
// Prefill chunk, decode and anything between are one case: row r of sequence s at position p
// attends to positions max(0, p + 1 - window) .. p of s. A row's bits depend on its own sequence up
// to p alone: contexts are split at fixed positions and the parts are combined in order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/kv_layout.hpp"
#include "kernels/cuda/step.hpp"

namespace tessera {

struct AttentionLimits {
  int max_rows = 0;
  int max_seqs = 0;
  int max_positions = 0;  // of a sequence: num_blocks * block_size at most
  int num_heads = 0;
  int head_dim = 0;  // a multiple of 8, at most 256
};
std::size_t attention_workspace_bytes(const AttentionLimits& limits);

// Which kernel long chunks of prompts go through; the results are the same, bit for bit.
enum class AttentionWidth : std::uint8_t { kChosen, kNarrow, kWide };

struct AttentionParams {
  DeviceStep step;
  KvCache cache;
  AttentionLimits limits;
  int layer = 0;
  int window = 0;            // 0: all
  float scale = 0.0F;        // of q . k
  float softcap = 0.0F;      // 0: none
  const float* q = nullptr;  // row r begins at q + r * q_stride: (num_heads, head_dim)
  int q_stride = 0;
  float* output = nullptr;         // (rows, num_heads * head_dim)
  std::byte* workspace = nullptr;  // (attention_workspace_bytes(limits),), 256-byte aligned
  AttentionWidth width = AttentionWidth::kChosen;
};
// Keys and values of the step's own rows are in the cache already.
void attend(CudaStream& stream, const AttentionParams& params, int capacity);

}  // namespace tessera

// lora_kernels.hpp — adapters on the device: their table, the plan of a step, shrink and expand.
//
//   y = out_scale * (W x + sum over the row's terms of weight * B (A x)) + bias
//
// The caller has written W x to y, or writes both at once (linear_lora.hpp); the base's own bias
// comes after. Segmented as Punica's and S-LoRA's SGMV, with pages of eight ranks (lora.hpp):
// adapters come and go by a write to the table. Counts, slots and ranks are read from device
// memory; a launch depends on `capacity` alone. A row's bits depend on the row alone (P2): split-K
// is a function of in_features, partial sums are planes added in order, terms are added in theirs,
// and no float is added atomically. Rows without terms are not touched, not even rewritten.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/step.hpp"
#include "kernels/lora.hpp"

namespace tessera {

// A page's halves, each wherever there was room for it; 256-byte aligned.
struct LoraPage {
  const std::byte* a = nullptr;  // (in_features, 8)
  const std::byte* b = nullptr;  // (8, out_features)
};

// One module of one adapter; all pointers are device memory, laid out as in lora.hpp. Of an absent
// module all is zero.
struct LoraEntry {
  const LoraPage* pages = nullptr;   // (pages,)
  const float* scales = nullptr;     // (pages * 8,) of kInt8 alone
  const float* out_scale = nullptr;  // (out_features,) or null
  const float* bias = nullptr;       // (out_features,) or null
  std::int32_t rank = 0;
  PageType type = PageType::kBf16;  // kBf16 or kInt8
};

// Rows of the embedding or the head that an adapter has of its own: bf16 (count, hidden).
struct LoraRows {
  const TokenId* ids = nullptr;  // (count,) ascending
  const std::uint16_t* rows = nullptr;
  std::int32_t count = 0;
};

// A model's modules in an adapter: layer * kNumLinears + linear, then the embedding, then the head.
struct LoraTable {
  const LoraEntry* entries = nullptr;    // (max_slots, num_modules)
  const LoraRows* embed_rows = nullptr;  // (max_slots,)
  const LoraRows* head_rows = nullptr;   // (max_slots,)
  std::int32_t num_modules = 0;
  std::int32_t max_slots = 0;
};

struct LoraLimits {
  int max_rows = 0;
  int max_rank = 0;
  int max_in_features = 0;  // of any module but the embedding
};

// Everything that stays the same from launch to launch.
struct LoraWork {
  DeviceStep step;
  LoraTable table;
  LoraLimits limits;
  std::byte* workspace = nullptr;  // (lora_workspace_bytes(limits),), 256-byte aligned
};
std::size_t lora_workspace_bytes(const LoraLimits& limits);

// Groups the step's rows by adapter. Once a step, when the step's numbers are on the device.
void plan_lora(CudaStream& stream, const LoraWork& work, int capacity);

// Groups the places of a layer's experts by expert and adapter. `work` is the experts' own: its
// limits and workspace are for as many rows as there may be places. Once a layer, when its rows are
// routed; apply_lora() with this work then takes places for rows.
void plan_expert_lora(CudaStream& stream, const LoraWork& work, const ExpertRouting& routing,
                      int capacity);

// Up to three modules that read the same x and whose indices follow each other (q, k, v).
struct LoraModules {
  int first_module = 0;   // of experts: expert 0's
  int expert_stride = 0;  // of experts: how much further on the next one's is
  int count = 1;
  int in_features = 0;
  int out_features[3] = {};
  // (rows, in_features), fp32, contiguous; of the head: row i is step row head_rows[i].
  const float* x = nullptr;
  const std::int32_t* x_rows =
      nullptr;       // of experts: (places,) rows of x; null: row i is x's row i
  float* y[3] = {};  // row i of module m begins at y[m] + i * y_stride
  int y_stride = 0;
  bool of_head_rows = false;  // counts->head_rows rows instead of counts->rows
};
void apply_lora(CudaStream& stream, const LoraWork& work, const LoraModules& modules, int capacity);

// A x alone: what multiply_with_lora() needs (linear_lora.hpp).
void shrink_lora(CudaStream& stream, const LoraWork& work, const LoraModules& modules,
                 int capacity);

// x (rows, hidden) holds the base's embeddings: replaces the rows that adapters have of their own,
// then adds column `token` of A through B, scales, adds the bias.
void apply_lora_to_embedding(CudaStream& stream, const LoraWork& work, int vocab_size, int hidden,
                             float* x, int capacity);

// logits (head_rows, vocab) hold the base's: logits[i][id] = row . x[i] for rows of adapters' own.
// Before apply_lora() of the head.
void replace_logits(CudaStream& stream, const LoraWork& work, int vocab_size, int hidden,
                    const float* x, float* logits, int capacity);

}  // namespace tessera

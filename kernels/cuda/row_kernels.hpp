// row_kernels.hpp — everything of a layer but linears, LoRA and attention: one block a row.
//
// All read the step's counts from device memory and are launched for `capacity` rows; sums are in
// an order that depends on the width alone.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/kv_layout.hpp"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/step.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// x[row] = the embedding's row of the token, decoded from the packed matrix.
struct EmbedParams {
  DeviceStep step;
  PackedMatrix table;
  float* x = nullptr;  // (rows, hidden)
};
void embed_rows(CudaStream& stream, const EmbedParams& params, int capacity);

// x *= factor: (rows, width).
struct ScaleParams {
  DeviceStep step;
  float* x = nullptr;
  int width = 0;
  float factor = 1.0F;
};
void scale_rows(CudaStream& stream, const ScaleParams& params, int capacity);

// output = rms_norm(x) in fp32, and staged for linears. Without weights, output = x.
struct NormParams {
  DeviceStep step;
  const float* x = nullptr;       // (rows, width)
  const float* weight = nullptr;  // (width,) or null
  float eps = 0.0F;
  int width = 0;
  float* output = nullptr;  // (rows, width)
  StagedRows staged;
  bool of_head_rows = false;  // output row i is of x's row step.head_rows[i]
};
void normalise_rows(CudaStream& stream, const NormParams& params, int capacity);

// Stages rows of fp32, their columns in an order of a matrix's own: column k is element order[k].
struct StageParams {
  const std::int32_t* num_rows = nullptr;  // device memory
  const float* x = nullptr;                // (rows, width)
  const std::int32_t* order = nullptr;     // (width,) or null
  int width = 0;
  StagedRows staged;
};
void stage_rows(CudaStream& stream, const StageParams& params, int capacity);

// output = act(gate + bias) * (up + bias), and staged.
struct GateParams {
  const std::int32_t* num_rows = nullptr;  // device memory
  const float* gate_up = nullptr;          // (rows, 2 * width): gate, then up
  const float* gate_bias = nullptr;        // (width,) or null
  const float* up_bias = nullptr;
  Activation activation = Activation::kSilu;
  int width = 0;
  float* output = nullptr;  // (rows, width)
  StagedRows staged;
};
void gate_rows(CudaStream& stream, const GateParams& params, int capacity);

// x += scale * norm(y + bias)
struct ResidualParams {
  DeviceStep step;
  const float* y = nullptr;       // (rows, width)
  const float* bias = nullptr;    // (width,) or null
  const float* weight = nullptr;  // of the norm, or null: no norm
  float eps = 0.0F;
  float scale = 1.0F;
  int width = 0;
  float* x = nullptr;  // (rows, width)
};
void add_to_residual(CudaStream& stream, const ResidualParams& params, int capacity);

// Cosines and sines of the rows' positions, for one of the model's ropes.
struct RopeParams {
  DeviceStep step;
  const float* inv_freq = nullptr;       // (pairs,)
  const float* long_inv_freq = nullptr;  // (pairs,) or null
  int pairs = 0;
  float scale = 1.0F;
  float* table = nullptr;  // (rows, pairs, 2): cosine, sine
};
void fill_rope_table(CudaStream& stream, const RopeParams& params, int capacity);

// Finishes q, k and v of a row in place: biases, norms, rotation; k and v go to the cache.
struct FinishQkvParams {
  DeviceStep step;
  float* qkv = nullptr;  // (rows, q_dim + 2 kv_dim)
  const float* q_bias = nullptr;
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  QkNorm qk_norm = QkNorm::kNone;
  float eps = 0.0F;
  const float* rope_table = nullptr;  // or null: no rotation
  int rope_pairs = 0;
  int num_heads = 0;
  int layer = 0;
  KvCache cache;
};
void finish_qkv(CudaStream& stream, const FinishQkvParams& params, int capacity);

// logits = cap * tanh(scale * logits / cap); cap 0: none. (head rows, vocab)
struct CapParams {
  DeviceStep step;
  float* logits = nullptr;
  int vocab_size = 0;
  float scale = 1.0F;
  float cap = 0.0F;
};
void cap_logits(CudaStream& stream, const CapParams& params, int capacity);

}  // namespace tessera

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_kernels.hpp"
#include "kernels/cuda/row_math.cuh"
#include "kernels/cuda/weight_decode.cuh"

namespace tessera {
namespace {

__device__ __forceinline__ std::size_t at_row(int row, int width) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(width);
}
__device__ __forceinline__ int this_row() {
  return static_cast<int>(blockIdx.x);
}
__device__ __forceinline__ int this_thread() {
  return static_cast<int>(threadIdx.x);
}
constexpr int kStride = static_cast<int>(kRowThreads);

// ---- Embedding.

__global__ void __launch_bounds__(kRowThreads) embed_kernel(const __grid_constant__ EmbedParams p) {
  const int row = this_row();
  if (row >= p.step.counts->rows) return;
  const int token = p.step.tokens[row];
  for (int k = this_thread(); k < p.table.cols; k += kStride) {
    const int feature = p.table.order == nullptr ? k : p.table.order[k];
    p.x[at_row(row, p.table.cols) + static_cast<std::size_t>(feature)] =
        decode_weight(p.table, token, k);
  }
}

__global__ void __launch_bounds__(kRowThreads) scale_kernel(const __grid_constant__ ScaleParams p) {
  if (this_row() >= p.step.counts->rows) return;
  float* row = p.x + at_row(this_row(), p.width);
  for (int k = this_thread(); k < p.width; k += kStride) row[k] *= p.factor;
}

// ---- Norms.

__device__ __forceinline__ float inverse_norm(float sum_of_squares, int width, float eps) {
  return 1.0F / sqrtf(sum_of_squares / static_cast<float>(width) + eps);
}

__global__ void __launch_bounds__(kRowThreads)
    normalise_kernel(const __grid_constant__ NormParams p) {
  TESSERA_SHARED(float, sums, kRowWarps);
  const int row = this_row();
  if (row >= (p.of_head_rows ? p.step.counts->head_rows : p.step.counts->rows)) return;
  const float* x = p.x + at_row(p.of_head_rows ? p.step.head_rows[row] : row, p.width);
  float* output = p.output + at_row(row, p.width);
  float inverse = 1.0F;
  if (p.weight != nullptr) {
    float squares = 0.0F;
    for (int k = this_thread(); k < p.width; k += kStride) squares = fmaf(x[k], x[k], squares);
    inverse = inverse_norm(block_sum(squares, sums), p.width, p.eps);
  }
  float largest = 0.0F;
  for (int k = this_thread(); k < p.width; k += kStride) {
    const float value = p.weight == nullptr ? x[k] : p.weight[k] * (x[k] * inverse);
    output[k] = value;
    largest = fmaxf(largest, fabsf(value));
  }
  largest = block_max(largest, sums);
  stage_row(output, nullptr, p.width, largest, p.staged, row);
}

__global__ void __launch_bounds__(kRowThreads) stage_kernel(const __grid_constant__ StageParams p) {
  TESSERA_SHARED(float, sums, kRowWarps);
  const int row = this_row();
  if (row >= *p.num_rows) return;
  const float* x = p.x + at_row(row, p.width);
  float largest = 0.0F;
  for (int k = this_thread(); k < p.width; k += kStride) largest = fmaxf(largest, fabsf(x[k]));
  largest = block_max(largest, sums);
  stage_row(x, p.order, p.width, largest, p.staged, row);
}

// ---- Gated activations and the residual stream.

__device__ __forceinline__ float activate(Activation activation, float x) {
  if (activation == Activation::kSilu) return x / (1.0F + expf(-x));
  constexpr float kSqrtTwoOverPi = 0.7978845608F;
  return 0.5F * x * (1.0F + tanhf(kSqrtTwoOverPi * (x + 0.044715F * x * x * x)));
}

__device__ __forceinline__ float biased(float value, const float* bias, int k) {
  return bias == nullptr ? value : value + bias[k];
}

__global__ void __launch_bounds__(kRowThreads) gate_kernel(const __grid_constant__ GateParams p) {
  TESSERA_SHARED(float, sums, kRowWarps);
  const int row = this_row();
  if (row >= *p.num_rows) return;
  const float* gate = p.gate_up + at_row(row, 2 * p.width);
  const float* up = gate + p.width;
  float* output = p.output + at_row(row, p.width);
  float largest = 0.0F;
  for (int k = this_thread(); k < p.width; k += kStride) {
    const float value =
        activate(p.activation, biased(gate[k], p.gate_bias, k)) * biased(up[k], p.up_bias, k);
    output[k] = value;
    largest = fmaxf(largest, fabsf(value));
  }
  largest = block_max(largest, sums);
  stage_row(output, nullptr, p.width, largest, p.staged, row);
}

__global__ void __launch_bounds__(kRowThreads)
    residual_kernel(const __grid_constant__ ResidualParams p) {
  TESSERA_SHARED(float, sums, kRowWarps);
  const int row = this_row();
  if (row >= p.step.counts->rows) return;
  const float* y = p.y + at_row(row, p.width);
  float* x = p.x + at_row(row, p.width);
  float inverse = 1.0F;
  if (p.weight != nullptr) {
    float squares = 0.0F;
    for (int k = this_thread(); k < p.width; k += kStride) {
      const float value = biased(y[k], p.bias, k);
      squares = fmaf(value, value, squares);
    }
    inverse = inverse_norm(block_sum(squares, sums), p.width, p.eps);
  }
  for (int k = this_thread(); k < p.width; k += kStride) {
    float value = biased(y[k], p.bias, k);
    if (p.weight != nullptr) value = p.weight[k] * (value * inverse);
    x[k] = fmaf(p.scale, value, x[k]);
  }
}

// ---- Rotary embedding, norms of heads, the cache.

__global__ void __launch_bounds__(kRowThreads) rope_kernel(const __grid_constant__ RopeParams p) {
  const int row = this_row();
  if (row >= p.step.counts->rows) return;
  const bool is_long = p.long_inv_freq != nullptr && p.step.long_rope[p.step.seq_of_row[row]] != 0;
  const float* inv_freq = is_long ? p.long_inv_freq : p.inv_freq;
  const auto position = static_cast<float>(p.step.positions[row]);
  for (int i = this_thread(); i < p.pairs; i += kStride) {
    const float angle = __fmul_rn(position, inv_freq[i]);
    float* pair = p.table + 2 * (at_row(row, p.pairs) + static_cast<std::size_t>(i));
    pair[0] = cosf(angle) * p.scale;
    pair[1] = sinf(angle) * p.scale;
  }
}

// One of a row's heads, and what is done to it.
struct Head {
  float* elements;
  const float* norm;  // (head_dim,) or null
  float inverse;      // of a norm over all heads
  bool norm_each;     // of this head by itself
  bool rotates;
};

// By one warp.
__device__ void finish_head(const FinishQkvParams& p, const Head& head, int row) {
  const auto lane = static_cast<int>(threadIdx.x % kWarpSize);
  const int dim = p.cache.head_dim;
  float inverse = head.inverse;
  if (head.norm_each) {
    float squares = 0.0F;
    for (int d = lane; d < dim; d += 32) {
      squares = fmaf(head.elements[d], head.elements[d], squares);
    }
    inverse = inverse_norm(warp_sum(squares), dim, p.eps);
  }
  if (head.norm != nullptr) {
    for (int d = lane; d < dim; d += 32) {
      head.elements[d] = head.norm[d] * (head.elements[d] * inverse);
    }
  }
  __syncwarp();
  if (!head.rotates) return;
  for (int i = lane; i < p.rope_pairs; i += 32) {
    const float* pair =
        p.rope_table + 2 * (at_row(row, p.rope_pairs) + static_cast<std::size_t>(i));
    const float first = head.elements[i];
    const float second = head.elements[p.rope_pairs + i];
    head.elements[i] = first * pair[0] - second * pair[1];
    head.elements[p.rope_pairs + i] = second * pair[0] + first * pair[1];
  }
  __syncwarp();
}

// A 127th of the largest magnitude; the integers are rounded to nearest even. By one warp.
__device__ void cache_int8(const KvCache& cache, const float* elements, std::size_t at) {
  const auto lane = static_cast<int>(threadIdx.x % kWarpSize);
  float largest = 0.0F;
  bool finite = true;
  for (int d = lane; d < cache.head_dim; d += 32) {
    largest = fmaxf(largest, fabsf(elements[d]));
    finite = finite && fabsf(elements[d]) <= 3.4e38F;
  }
  largest = warp_max(largest);
  finite = __all_sync(kFullMask, finite ? 1 : 0) != 0;
  const float scale = finite ? largest / 127.0F : __uint_as_float(0x7FC00000U);
  const float inverse = largest > 0.0F && finite ? 127.0F / largest : 0.0F;
  auto* to = reinterpret_cast<std::int8_t*>(cache.elements) +
             at * static_cast<std::size_t>(cache.head_dim);
  for (int d = lane; d < cache.head_dim; d += 32) {
    to[d] = finite ? static_cast<std::int8_t>(__float2int_rn(elements[d] * inverse)) : 0;
  }
  if (lane == 0) cache.scales[at] = scale;
}

__device__ void cache_head(const FinishQkvParams& p, const float* elements, int row,
                           KvCache::Kind kind, int head) {
  const int seq = p.step.seq_of_row[row];
  const int position = p.step.positions[row];
  const BlockId block = p.step.blocks[p.step.block_indptr[seq] + position / p.cache.block_size];
  const std::size_t at = p.cache.row(p.layer, block, kind, head, position % p.cache.block_size);
  if (p.cache.form == KvForm::kInt8) return cache_int8(p.cache, elements, at);
  auto* to = reinterpret_cast<std::uint16_t*>(p.cache.elements) +
             at * static_cast<std::size_t>(p.cache.head_dim);
  for (int d = static_cast<int>(threadIdx.x % kWarpSize); d < p.cache.head_dim; d += 32) {
    to[d] = to_half(elements[d]);
  }
}

__device__ __forceinline__ float sum_of_squares(const float* values, int count) {
  float squares = 0.0F;
  for (int i = this_thread(); i < count; i += kStride)
    squares = fmaf(values[i], values[i], squares);
  return squares;
}

__global__ void __launch_bounds__(kRowThreads)
    finish_qkv_kernel(const __grid_constant__ FinishQkvParams p) {
  TESSERA_SHARED(float, sums, kRowWarps);
  const int row = this_row();
  if (row >= p.step.counts->rows) return;
  const int dim = p.cache.head_dim;
  const int kv_heads = p.cache.num_kv_heads;
  const int q_dim = p.num_heads * dim;
  const int kv_dim = kv_heads * dim;
  float* q = p.qkv + at_row(row, q_dim + 2 * kv_dim);
  float* k = q + q_dim;
  float* v = k + kv_dim;
  for (int i = this_thread(); i < q_dim; i += kStride) q[i] = biased(q[i], p.q_bias, i);
  for (int i = this_thread(); i < kv_dim; i += kStride) {
    k[i] = biased(k[i], p.k_bias, i);
    v[i] = biased(v[i], p.v_bias, i);
  }
  float q_inverse = 1.0F;
  float k_inverse = 1.0F;
  if (p.qk_norm == QkNorm::kWhole) {  // each thread reads what it wrote itself
    q_inverse = inverse_norm(block_sum(sum_of_squares(q, q_dim), sums), q_dim, p.eps);
    k_inverse = inverse_norm(block_sum(sum_of_squares(k, kv_dim), sums), kv_dim, p.eps);
  }
  __syncthreads();
  const bool each = p.qk_norm == QkNorm::kPerHead;
  const bool whole = p.qk_norm == QkNorm::kWhole;
  const bool rotates = p.rope_table != nullptr;
  for (int head = static_cast<int>(threadIdx.x / kWarpSize); head < p.num_heads + 2 * kv_heads;
       head += static_cast<int>(kRowWarps)) {
    float* elements = q + head * dim;  // k and v follow q
    if (head < p.num_heads) {
      const float* norm = whole ? p.q_norm + head * dim : each ? p.q_norm : nullptr;
      finish_head(p, {elements, norm, q_inverse, each, rotates}, row);
      continue;
    }
    const int kv_head = (head - p.num_heads) % kv_heads;
    const bool is_key = head < p.num_heads + kv_heads;
    if (is_key) {
      const float* norm = whole ? p.k_norm + kv_head * dim : each ? p.k_norm : nullptr;
      finish_head(p, {elements, norm, k_inverse, each, rotates}, row);
    }
    cache_head(p, elements, row, is_key ? KvCache::kKey : KvCache::kValue, kv_head);
  }
}

// ---- Logits.

__global__ void __launch_bounds__(kRowThreads) cap_kernel(const __grid_constant__ CapParams p) {
  const auto row = static_cast<int>(blockIdx.y);
  if (row >= p.step.counts->head_rows) return;
  const int token = static_cast<int>(blockIdx.x * kRowThreads + threadIdx.x);
  if (token >= p.vocab_size) return;
  float& logit = p.logits[at_row(row, p.vocab_size) + static_cast<std::size_t>(token)];
  const float scaled = p.scale * logit;
  logit = p.cap == 0.0F ? scaled : p.cap * tanhf(scaled / p.cap);
}

template <class Params>
void start(CudaStream& stream, const char* name, void (*kernel)(Params), const Params& params,
           int capacity) {
  launch(stream, name, kernel, {{static_cast<unsigned>(capacity)}, {kRowThreads}}, params);
}

}  // namespace

void embed_rows(CudaStream& stream, const EmbedParams& params, int capacity) {
  start(stream, "embed", embed_kernel, params, capacity);
}
void scale_rows(CudaStream& stream, const ScaleParams& params, int capacity) {
  start(stream, "scale", scale_kernel, params, capacity);
}
void normalise_rows(CudaStream& stream, const NormParams& params, int capacity) {
  start(stream, "normalise", normalise_kernel, params, capacity);
}
void stage_rows(CudaStream& stream, const StageParams& params, int capacity) {
  start(stream, "stage", stage_kernel, params, capacity);
}
void gate_rows(CudaStream& stream, const GateParams& params, int capacity) {
  start(stream, "gate", gate_kernel, params, capacity);
}
void add_to_residual(CudaStream& stream, const ResidualParams& params, int capacity) {
  start(stream, "residual", residual_kernel, params, capacity);
}
void fill_rope_table(CudaStream& stream, const RopeParams& params, int capacity) {
  start(stream, "rope", rope_kernel, params, capacity);
}
void finish_qkv(CudaStream& stream, const FinishQkvParams& params, int capacity) {
  start(stream, "finish_qkv", finish_qkv_kernel, params, capacity);
}
void cap_logits(CudaStream& stream, const CapParams& params, int capacity) {
  const unsigned across = divide_up(static_cast<unsigned>(params.vocab_size), kRowThreads);
  launch(stream, "cap", cap_kernel, {{across, static_cast<unsigned>(capacity)}, {kRowThreads}},
         params);
}

}  // namespace tessera

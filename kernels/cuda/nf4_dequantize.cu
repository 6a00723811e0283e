#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/nf4_dequantize.cuh"
#include "kernels/cuda/simt.cuh"

namespace tessera {
namespace {

constexpr unsigned kThreads = 256;

// A kernel argument lives in constant memory: 1,088 bytes of code books, no copy, no global state.
struct DequantizeParams {
  Nf4Matrix matrix;
  std::size_t num_pairs;
  float2* weights;
  float values[16];
  float map[256];
};

__global__ void dequantize(const __grid_constant__ DequantizeParams p) {
  const std::size_t pair = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pair >= p.num_pairs) return;
  const std::size_t block = pair / (kNf4Block / 2);
  const float scaled =
      __fmul_rn(p.map[p.matrix.absmax_codes[block]], p.matrix.absmax_scales[block / kAbsmaxBlock]);
  const float absmax = __fadd_rn(scaled, p.matrix.offset);
  const unsigned byte = p.matrix.codes[pair];
  p.weights[pair] =
      make_float2(__fmul_rn(p.values[byte >> 4], absmax), __fmul_rn(p.values[byte & 15U], absmax));
}

}  // namespace

void dequantize_nf4_on_device(const Nf4Matrix& matrix, float* weights, CudaStream& stream) {
  DequantizeParams params{};
  params.matrix = matrix;
  params.num_pairs =
      static_cast<std::size_t>(matrix.rows) * static_cast<std::size_t>(matrix.cols) / 2;
  params.weights = reinterpret_cast<float2*>(weights);
  for (std::size_t i = 0; i < kNf4Values.size(); ++i) params.values[i] = kNf4Values[i];
  for (std::size_t i = 0; i < kDynamicMap.size(); ++i) params.map[i] = kDynamicMap[i];
  const auto num_blocks = static_cast<unsigned>((params.num_pairs + kThreads - 1) / kThreads);
  launch(stream, "dequantize_nf4", dequantize, {{num_blocks}, {kThreads}}, params);
}

}  // namespace tessera

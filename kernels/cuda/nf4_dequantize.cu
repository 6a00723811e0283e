#include "kernels/cuda/nf4_dequantize.cuh"

#include "kernels/cuda/cuda_check.hpp"

namespace tessera {
namespace {

constexpr int kThreads = 256;

struct CodeBooks {
  float values[16];
  float map[256];
};

// A kernel argument lives in constant memory: 1,088 bytes, no copy and no global state.
CodeBooks code_books() {
  CodeBooks books{};
  for (std::size_t i = 0; i < kNf4Values.size(); ++i) books.values[i] = kNf4Values[i];
  for (std::size_t i = 0; i < kDynamicMap.size(); ++i) books.map[i] = kDynamicMap[i];
  return books;
}

__global__ void dequantize(Nf4Matrix matrix, const __grid_constant__ CodeBooks books,
                           std::size_t num_pairs, float2* weights) {
  const std::size_t pair = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pair >= num_pairs) return;
  const std::size_t block = pair / (kNf4Block / 2);
  const float scaled = __fmul_rn(books.map[matrix.absmax_codes[block]],
                                 matrix.absmax_scales[block / kAbsmaxBlock]);
  const float absmax = __fadd_rn(scaled, matrix.offset);
  const unsigned byte = matrix.codes[pair];
  weights[pair] = make_float2(__fmul_rn(books.values[byte >> 4], absmax),
                              __fmul_rn(books.values[byte & 15U], absmax));
}

}  // namespace

void dequantize_nf4_on_device(const Nf4Matrix& matrix, float* weights, cudaStream_t stream) {
  const std::size_t num_pairs =
      static_cast<std::size_t>(matrix.rows) * static_cast<std::size_t>(matrix.cols) / 2;
  const auto num_blocks = static_cast<unsigned>((num_pairs + kThreads - 1) / kThreads);
  dequantize<<<num_blocks, kThreads, 0, stream>>>(matrix, code_books(), num_pairs,
                                                  reinterpret_cast<float2*>(weights));
  TESSERA_CUDA_CHECK(cudaGetLastError());
}

}  // namespace tessera

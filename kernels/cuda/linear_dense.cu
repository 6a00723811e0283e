// linear_dense.cu — linear_dense.hpp: the two kernels around the product.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_dense.hpp"
#include "kernels/cuda/row_math.cuh"
#include "kernels/cuda/weight_decode.cuh"

namespace tessera {
namespace {

constexpr std::size_t kChunkHalves = std::size_t{8} << 20;  // 16 MiB, a third of an L2 cache
constexpr unsigned kThreads = 256;

struct DecodeParams {
  PackedMatrix matrix;
  int first_output;
  int outputs;
  std::uint16_t* weights;  // (outputs, cols), columns by fragment_position(), as x has them
  float* powers;           // (outputs,)
};

// A bound on the magnitude of a row's weights, by one warp.
__device__ float bound_of(const PackedMatrix& m, int n, float largest_value) {
  float bound = 0.0F;
  for (int g = static_cast<int>(threadIdx.x % kWarpSize); g < m.groups();
       g += static_cast<int>(kWarpSize)) {
    const GroupScale scale = scale_of_group(m, n, g);
    bound = fmaxf(bound, fmaf(fabsf(scale.scale), largest_value, fabsf(scale.offset)));
  }
  return warp_max(bound);
}

__device__ float largest_value_of(const PackedMatrix& m) {
  if (m.form == PackedForm::kInt8) return 128.0F;
  if (m.form == PackedForm::kHalf) return 65504.0F;
  float largest = 0.0F;
  for (int i = 0; i < 16; ++i) largest = fmaxf(largest, fabsf(from_half(m.book[i])));
  return largest;
}

// A warp to an output.
__global__ void __launch_bounds__(kThreads)
    decode_outputs_kernel(const __grid_constant__ DecodeParams p) {
  const int own = static_cast<int>((blockIdx.x * kThreads + threadIdx.x) / kWarpSize);
  if (own >= p.outputs) return;
  const PackedMatrix& m = p.matrix;
  const int n = p.first_output + own;
  const int exponent = exponent_for(bound_of(m, n, largest_value_of(m)));
  const float inverse = power_of_two(-exponent);
  if (threadIdx.x % kWarpSize == 0) p.powers[own] = power_of_two(exponent);
  std::uint16_t* row = p.weights + static_cast<std::size_t>(own) * static_cast<std::size_t>(m.cols);
  for (int k = static_cast<int>(threadIdx.x % kWarpSize); k < m.cols;
       k += static_cast<int>(kWarpSize)) {
    row[fragment_position(k)] = to_half(decode_weight(m, n, k) * inverse);
  }
}

struct FinishParams {
  float* y;  // of the chunk's first output
  int y_stride;
  int outputs;
  const float* powers;    // (outputs,)
  const float* x_scales;  // (rows,)
};

// Grid: x over the chunk's outputs, y over the rows.
__global__ void __launch_bounds__(kThreads)
    finish_outputs_kernel(const __grid_constant__ FinishParams p) {
  const int n = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (n >= p.outputs) return;
  float& y = p.y[static_cast<std::size_t>(blockIdx.y) * static_cast<std::size_t>(p.y_stride) +
                 static_cast<std::size_t>(n)];
  y = y * p.powers[n] * p.x_scales[blockIdx.y];
}

}  // namespace

DenseLinear::DenseLinear(int max_outputs, int max_cols)
    : weights_(std::max(kChunkHalves, static_cast<std::size_t>(kTileRows * max_cols))),
      powers_(static_cast<std::size_t>(max_outputs)) {}

int DenseLinear::chunk_outputs(int cols) const {
  return static_cast<int>(weights_.size() / static_cast<std::size_t>(cols)) / kTileRows * kTileRows;
}

void DenseLinear::multiply(CudaStream& stream, const LinearGroup& group, int rows) {
  float* y = group.y;
  for (int i = 0; i < group.count; ++i) {
    const PackedMatrix& m = group.matrices[i];
    for (int first = 0; first < m.rows; first += chunk_outputs(m.cols)) {
      const int outputs = std::min(chunk_outputs(m.cols), m.rows - first);
      launch(stream, "decode_outputs", decode_outputs_kernel,
             {{divide_up(outputs * static_cast<int>(kWarpSize), static_cast<int>(kThreads))},
              {kThreads}},
             {m, first, outputs, weights_.data(), powers_.data()});
      gemm_.multiply(stream, {weights_.data(), group.x.halves, y + first, outputs, rows, m.cols,
                              group.y_stride});
      launch(stream, "finish_outputs", finish_outputs_kernel,
             {{divide_up(outputs, static_cast<int>(kThreads)), static_cast<unsigned>(rows)},
              {kThreads}},
             {y + first, group.y_stride, outputs, powers_.data(), group.x.scales});
    }
    y += m.rows;
  }
}

}  // namespace tessera

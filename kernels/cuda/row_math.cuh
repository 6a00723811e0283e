// row_math.cuh — what the kernels of one block a row share: sums over a block, staging of a row.
#pragma once

#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/ptx.cuh"

namespace tessera {

inline constexpr unsigned kRowThreads = 256;
inline constexpr unsigned kRowWarps = kRowThreads / kWarpSize;

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(kFullMask, value, bits);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kFullMask, value, bits));
  }
  return value;
}

// The same of all threads of a block, for each of them; `sums` is shared memory that nobody uses
// meanwhile. Of a maximum, NaNs are left out.
__device__ __forceinline__ float block_sum(float value, float (&sums)[kRowWarps]) {
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % kWarpSize == 0) sums[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  float sum = sums[0];
#pragma unroll
  for (unsigned warp = 1; warp < kRowWarps; ++warp) sum += sums[warp];
  return sum;
}
__device__ __forceinline__ float block_max(float value, float (&sums)[kRowWarps]) {
  value = warp_max(value);
  __syncthreads();
  if (threadIdx.x % kWarpSize == 0) sums[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  float largest = sums[0];
#pragma unroll
  for (unsigned warp = 1; warp < kRowWarps; ++warp) largest = fmaxf(largest, sums[warp]);
  return largest;
}

// The power of two that takes the largest magnitude of a row to [2^13, 2^14), as its exponent.
__device__ __forceinline__ int exponent_for(float largest) {
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23 & 255U) - 127;
  if (largest == 0.0F || exponent == 128) return 0;  // zeros; infinite
  return max(exponent, -100) - 13;
}
__device__ __forceinline__ float power_of_two(int exponent) {
  return __uint_as_float(static_cast<std::uint32_t>(exponent + 127) << 23);
}

// Writes a row as linears read it; `largest` is the row's largest magnitude. One thread takes a
// step of sixteen columns at a time. The row is `width` floats, read by order[k] if there is one.
__device__ __forceinline__ void stage_row(const float* row, const std::int32_t* order, int width,
                                          float largest, const StagedRows& staged, int to) {
  const int exponent = exponent_for(largest);
  const float inverse = power_of_two(-exponent);
  std::uint16_t* halves =
      staged.halves + static_cast<std::size_t>(to) * static_cast<std::size_t>(width);
  float* sums = staged.sums + static_cast<std::size_t>(to) * static_cast<std::size_t>(width / 16);
  if (threadIdx.x == 0) staged.scales[to] = power_of_two(exponent);
  for (int step = static_cast<int>(threadIdx.x); step < width / 16; step += kRowThreads) {
    float sum = 0.0F;
    std::uint32_t pairs[8];  // of columns 2 i and 2 i + 1
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int k = step * 16 + 2 * i;
      const float low = row[order == nullptr ? k : order[k]];
      const float high = row[order == nullptr ? k + 1 : order[k + 1]];
      pairs[i] = pack_half(low * inverse, high * inverse);
      const float2 kept = unpack_half(pairs[i]);
      sum = sum + kept.x + kept.y;
    }
    sums[step] = sum;
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const int position = step / 4 * kTileCols + 16 * t + step % 4 * 4;
      *reinterpret_cast<uint2*>(halves + position) = make_uint2(pairs[t], pairs[t + 4]);
    }
  }
}

}  // namespace tessera

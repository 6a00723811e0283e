// device_math.cuh — what the kernels of LoRA, attention and sampling share: lanes, wide loads, and
// fp32 split in two numbers of sixteen bits, so that a product through the tensor core keeps what
// the first of them drops.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace tessera::cuda {

inline constexpr int kWarpLanes = static_cast<int>(kWarpSize);

__device__ inline int thread_index() {
  return static_cast<int>(threadIdx.x);
}
__device__ inline int lane_index() {
  return thread_index() % kWarpLanes;
}
__device__ inline int warp_index() {
  return thread_index() / kWarpLanes;
}

__device__ inline int divided_up(int value, int by) {
  return (value + by - 1) / by;
}

// Inclusive sum over the lanes of a warp.
template <class T>
__device__ T warp_prefix(T value) {
  for (int distance = 1; distance < kWarpLanes; distance *= 2) {
    const T below = __shfl_up_sync(kFullMask, value, static_cast<unsigned>(distance));
    if (lane_index() >= distance) value += below;
  }
  return value;
}

// Which of the ranges that `offsets` begin holds `unit`: the last that begins at or before it.
__device__ inline int range_of(const std::int32_t* offsets, int count, int unit) {
  int low = 0;
  int high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (offsets[middle] <= unit ? low : high) = middle;
  }
  return low;
}

// Four adjacent floats; `from` is a multiple of sixteen bytes.
__device__ inline void load_floats4(const float* from, float* to) {
  const float4 four = *reinterpret_cast<const float4*>(from);
  to[0] = four.x;
  to[1] = four.y;
  to[2] = four.z;
  to[3] = four.w;
}

__device__ inline void to_words(const uint4& four, std::uint32_t (&words)[4]) {
  words[0] = four.x;
  words[1] = four.y;
  words[2] = four.z;
  words[3] = four.w;
}

// Two signed integers of 8 bits, bytes `first` and first + 1 of `word`, as bf16. Exact.
__device__ inline std::uint32_t int8_to_bf16(std::uint32_t word, int first) {
  const auto low = static_cast<std::int8_t>(word >> (8 * first));
  const auto high = static_cast<std::int8_t>(word >> (8 * first + 8));
  return pack_bf16(static_cast<float>(low), static_cast<float>(high));
}
__device__ inline std::uint32_t int8_to_half(std::uint32_t word, int first) {
  const auto low = static_cast<std::int8_t>(word >> (8 * first));
  const auto high = static_cast<std::int8_t>(word >> (8 * first + 8));
  return pack_half(static_cast<float>(low), static_cast<float>(high));
}

__device__ inline bool is_finite(float x) {
  return (__float_as_uint(x) & 0x7F800000U) != 0x7F800000U;
}

// a and b as pairs: their bf16, and the bf16 of what those leave of them. The sum of both has
// seventeen bits of each. What is not finite has no rest, so that an infinity stays one.
__device__ inline void split_bf16(float a, float b, std::uint32_t& high, std::uint32_t& rest) {
  high = pack_bf16(a, b);
  const float2 kept = unpack_bf16(high);
  rest = is_finite(kept.x) && is_finite(kept.y) ? pack_bf16(a - kept.x, b - kept.y) : 0U;
}
// The same in fp16, for numbers below 65504.
__device__ inline void split_half(float a, float b, std::uint32_t& high, std::uint32_t& rest) {
  high = pack_half(a, b);
  const float2 kept = unpack_half(high);
  rest = pack_half(a - kept.x, b - kept.y);
}

}  // namespace tessera::cuda

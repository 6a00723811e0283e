// simt.hpp — CUDA's language on the emulated machine: the names that a kernel's source uses and
// g++ does not know. Only what our kernels need; never beside the CUDA headers.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "kernels/cuda/emulation/machine.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

// An array in shared memory.
#define TESSERA_SHARED(type, name, count)                                                     \
  static const char name##_tag = 0;                                                           \
  type(&name)[count] = *reinterpret_cast<type(*)[count]>(::tessera::emulation::static_shared( \
      &name##_tag, sizeof(type[count]), alignof(type) < 16 ? 16 : alignof(type)))

namespace tessera {

// ---- Where a thread is.

#define threadIdx (::tessera::emulation::place.thread)
#define blockIdx (::tessera::emulation::place.block)
#define blockDim (::tessera::emulation::place.block_dim)
#define gridDim (::tessera::emulation::place.grid_dim)
using dim3 = emulation::Dim3;

// ---- Vectors of CUDA, with its alignments.

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
inline int2 make_int2(int x, int y) {
  return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}

// ---- Arithmetic.

using std::max;
using std::min;
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
inline float __frcp_rn(float x) {
  return 1.0F / x;
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline int __float2int_rn(float x) {
  return static_cast<int>(std::nearbyint(x));
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32);
}
// Byte i of the result is byte selector.nibble[i] & 7 of b:a (its sign, where bit 3 is set).
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(b) << 32 | a;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> (4 * i) & 15U;
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (nibble & 7U))) & 255U;
    if ((nibble & 8U) != 0) byte = (byte & 128U) != 0 ? 255U : 0U;
    result |= byte << (8 * i);
  }
  return result;
}
template <class T>
T __ldg(const T* at) {
  return *at;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- Barriers and warps. Every one is a place where the others are waited for.

inline void __syncthreads(const std::source_location& where = std::source_location::current()) {
  emulation::sync_threads(where);
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU,
                       const std::source_location& where = std::source_location::current()) {
  emulation::collective(
      mask, "__syncwarp", nullptr, [](void* const*, unsigned) {}, where);
}

namespace emulation {

// Runs `compute` over the operands of the lanes in the mask.
template <class Operands, class F>
void exchange(unsigned mask, const char* name, Operands& mine, F,
              const std::source_location& where) {
  static_assert(std::is_empty_v<F>);
  collective(
      mask, name, &mine,
      [](void* const* lanes, unsigned all) {
        F()
        (reinterpret_cast<Operands* const*>(lanes), all);
      },
      where);
}

template <class T>
struct Shuffle {
  T value;
  unsigned source;
  T result;
};

template <class T>
T shuffle(unsigned mask, T value, unsigned source, const char* name,
          const std::source_location& where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  Shuffle<T> mine{value, source, value};
  exchange(
      mask, name, mine,
      [](Shuffle<T>* const* lanes, unsigned all) {
        for (unsigned lane = 0; lane < kWarp; ++lane) {
          if ((all >> lane & 1U) == 0) continue;
          if ((all >> (lanes[lane]->source) & 1U) == 0)
            fail("a shuffle from a lane not in the mask");
          lanes[lane]->result = lanes[lanes[lane]->source]->value;
        }
      },
      where);
  return mine.result;
}

template <class T>
struct Reduction {
  T value;
  T result;
};

template <class T, class F>
T reduce(unsigned mask, T value, F, const char* name, const std::source_location& where) {
  static_assert(std::is_empty_v<F>);
  Reduction<T> mine{value, value};
  exchange(
      mask, name, mine,
      [](Reduction<T>* const* lanes, unsigned all) {
        bool first = true;
        T sum{};
        for (unsigned lane = 0; lane < kWarp; ++lane) {
          if ((all >> lane & 1U) == 0) continue;
          sum = first ? lanes[lane]->value : F()(sum, lanes[lane]->value);
          first = false;
        }
        for (unsigned lane = 0; lane < kWarp; ++lane) {
          if ((all >> lane & 1U) != 0) lanes[lane]->result = sum;
        }
      },
      where);
  return mine.result;
}

inline unsigned lane() {
  const Dim3& at = place.thread;
  return (at.x + place.block_dim.x * (at.y + place.block_dim.y * at.z)) % kWarp;
}

}  // namespace emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const std::source_location& where = std::source_location::current()) {
  const unsigned lane = emulation::lane();
  const auto w = static_cast<unsigned>(width);
  const unsigned from = (lane & ~(w - 1)) | (static_cast<unsigned>(source) & (w - 1));
  return emulation::shuffle(mask, value, from, "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  const std::source_location& where = std::source_location::current()) {
  const unsigned lane = emulation::lane();
  const unsigned from = lane ^ static_cast<unsigned>(bits);
  const auto w = static_cast<unsigned>(width);
  const bool inside = (from & ~(w - 1)) <= (lane & ~(w - 1));
  return emulation::shuffle(mask, value, inside ? from : lane, "__shfl_xor_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   const std::source_location& where = std::source_location::current()) {
  const unsigned lane = emulation::lane();
  const auto w = static_cast<unsigned>(width);
  const bool inside = (lane & (w - 1)) + delta < w;
  return emulation::shuffle(mask, value, inside ? lane + delta : lane, "__shfl_down_sync", where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 const std::source_location& where = std::source_location::current()) {
  const unsigned lane = emulation::lane();
  const auto w = static_cast<unsigned>(width);
  const bool inside = (lane & (w - 1)) >= delta;
  return emulation::shuffle(mask, value, inside ? lane - delta : lane, "__shfl_up_sync", where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              const std::source_location& where = std::source_location::current()) {
  const unsigned mine = predicate != 0 ? 1U << emulation::lane() : 0U;
  return emulation::reduce(
      mask, mine, [](unsigned a, unsigned b) { return a | b; }, "__ballot_sync", where);
}
inline int __any_sync(unsigned mask, int predicate,
                      const std::source_location& where = std::source_location::current()) {
  return emulation::reduce(
      mask, static_cast<int>(predicate != 0), [](int a, int b) { return a | b; }, "__any_sync",
      where);
}
inline int __all_sync(unsigned mask, int predicate,
                      const std::source_location& where = std::source_location::current()) {
  return emulation::reduce(
      mask, static_cast<int>(predicate != 0), [](int a, int b) { return a & b; }, "__all_sync",
      where);
}
template <class T>
T __reduce_add_sync(unsigned mask, T value,
                    const std::source_location& where = std::source_location::current()) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  return emulation::reduce(
      mask, value, [](T a, T b) { return a + b; }, "__reduce_add_sync", where);
}
template <class T>
T __reduce_max_sync(unsigned mask, T value,
                    const std::source_location& where = std::source_location::current()) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  return emulation::reduce(
      mask, value, [](T a, T b) { return std::max(a, b); }, "__reduce_max_sync", where);
}
template <class T>
T __reduce_min_sync(unsigned mask, T value,
                    const std::source_location& where = std::source_location::current()) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  return emulation::reduce(
      mask, value, [](T a, T b) { return std::min(a, b); }, "__reduce_min_sync", where);
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value,
                          const std::source_location& where = std::source_location::current()) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  emulation::Shuffle<T> mine{value, 0, value};
  emulation::exchange(
      mask, "__match_any_sync", mine,
      [](emulation::Shuffle<T>* const* lanes, unsigned all) {
        for (unsigned a = 0; a < emulation::kWarp; ++a) {
          if ((all >> a & 1U) == 0) continue;
          for (unsigned b = 0; b < emulation::kWarp; ++b) {
            const bool equal = (all >> b & 1U) != 0 && lanes[a]->value == lanes[b]->value;
            lanes[a]->source |= static_cast<unsigned>(equal) << b;
          }
        }
      },
      where);
  return mine.source;
}
inline unsigned __activemask() {
  emulation::fail("__activemask says nothing about who is there");
}

// ---- Atomics. None on floats: their order would be in the results.

template <class T>
T atomicAdd(T* at, T value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4, "floats are added in a fixed order");
  const T before = *at;
  *at = static_cast<T>(before + value);
  return before;
}
template <class T>
T atomicMax(T* at, T value) {
  const T before = *at;
  *at = std::max(before, value);
  return before;
}
template <class T>
T atomicMin(T* at, T value) {
  const T before = *at;
  *at = std::min(before, value);
  return before;
}
template <class T>
T atomicOr(T* at, T value) {
  const T before = *at;
  *at = before | value;
  return before;
}
template <class T>
T atomicExch(T* at, T value) {
  const T before = *at;
  *at = value;
  return before;
}
template <class T>
T atomicCAS(T* at, T expected, T value) {
  const T before = *at;
  if (before == expected) *at = value;
  return before;
}

inline std::byte* dynamic_shared() {
  return emulation::dynamic_shared();
}

}  // namespace tessera

// simt.cuh — what a kernel's source is written in: CUDA's language under nvcc, the same names on
// the emulated machine (emulation/) under g++. Every kernel includes this and ptx.cuh, and no
// header of CUDA. In the sources of kernels:
//
//   TESSERA_SHARED(float, sums, 32);   is  __shared__ float sums[32];
//   dynamic_shared()                   is  the launch's dynamic shared memory, aligned to 128
//
// A kernel takes one struct by value and is started with launch() of launch.cuh.
#pragma once

#if defined(__CUDACC__)

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

#define TESSERA_SHARED(type, name, count) __shared__ type name[count]

namespace tessera {

__device__ __forceinline__ std::byte* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char tessera_dynamic_shared[];
  return reinterpret_cast<std::byte*>(tessera_dynamic_shared);
}

}  // namespace tessera

#else
#include "kernels/cuda/emulation/simt.hpp"
#endif

namespace tessera {

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kFullMask = 0xFFFFFFFFU;

}  // namespace tessera

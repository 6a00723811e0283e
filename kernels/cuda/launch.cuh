// launch.cuh — starts a kernel, on a device or on the emulated machine.
//
//   launch(stream, "rms_norm", kernel<8>, {.grid = {rows}, .block = {256}}, params);
//
// A kernel is a __global__ function of one trivially copyable struct. Throws CudaError (a device),
// or emulation::Error when the stream is waited for.
#pragma once

#include <type_traits>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/simt.cuh"

#if defined(__CUDACC__)
#include "kernels/cuda/cuda_check.hpp"
#else
#include "kernels/cuda/emulation/device.hpp"
#endif

namespace tessera {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  // dynamic
};

constexpr unsigned divide_up(unsigned a, unsigned b) {
  return (a + b - 1) / b;
}
constexpr unsigned divide_up(int a, int b) {
  return static_cast<unsigned>((a + b - 1) / b);
}

#if defined(__CUDACC__)

template <class Params>
void launch(CudaStream& stream, const char* name, void (*kernel)(Params), const LaunchShape& shape,
            const std::type_identity_t<Params>& params) {
  static_assert(std::is_trivially_copyable_v<Params>);
  // Beyond 48 KiB, with what it has of static shared memory, a kernel must ask.
  constexpr std::size_t kUnasked = 8 << 10;
  const auto bytes = static_cast<int>(shape.shared_bytes);
  if (shape.shared_bytes > kUnasked) {
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
               name);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle());
  check_cuda(cudaLaunchKernelEx(&config, kernel, params), name);
}

#else

template <class Params>
void launch(CudaStream& stream, const char* name, void (*kernel)(Params), const LaunchShape& shape,
            const std::type_identity_t<Params>& params) {
  static_assert(std::is_trivially_copyable_v<Params>);
  struct Call {
    void (*kernel)(Params);
    Params params;
  };
  emulation::enqueue(stream, [name, shape, call = Call{kernel, params}] {
    emulation::run_grid(
        name, shape.grid, shape.block, shape.shared_bytes,
        [](const void* argument) {
          const auto* started = static_cast<const Call*>(argument);
          started->kernel(started->params);
        },
        &call);
  });
}

#endif

}  // namespace tessera

// module.cpp — the entry points of libtessera_cuda.so; no exception leaves them.
#include <algorithm>
#include <exception>
#include <string>
#include <string_view>

#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/gpu.hpp"

namespace tessera {
namespace {

GpuInfo describe(int device) {
  cudaDeviceProp properties{};
  TESSERA_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  TESSERA_CUDA_CHECK(cudaSetDevice(device));
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  TESSERA_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  GpuInfo info;
  std::string_view(properties.name).copy(info.name, sizeof info.name - 1);
  info.compute_major = properties.major;
  info.compute_minor = properties.minor;
  info.total_bytes = total_bytes;
  info.free_bytes = free_bytes;
  return info;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int tessera_cuda_probe(GpuInfo* gpus,
                                                                         int capacity,
                                                                         const char** reason) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess) {
    *reason = cudaGetErrorString(found);
    return -1;
  }
  try {
    const int described = std::min(count, capacity);
    for (int device = 0; device < described; ++device) gpus[device] = describe(device);
    return described;
  } catch (const CudaError&) {
    *reason = "a device is present but does not answer";
    return -1;
  }
}

extern "C" __attribute__((visibility("default"))) Backend* tessera_cuda_backend(
    const ModelWeights* weights, const BackendLimits* limits, const char** reason) {
  static std::string failure;
  try {
    TESSERA_CUDA_CHECK(cudaSetDevice(0));
    return make_cuda_backend(*weights, *limits).release();
  } catch (const std::exception& error) {
    failure = error.what();
    *reason = failure.c_str();
    return nullptr;
  }
}

}  // namespace tessera

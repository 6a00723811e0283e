// gpu.hpp — what NVIDIA GPUs this machine has, asked without needing one.
//
// All CUDA code lives in a module (libtessera_cuda.so, kernels/cuda/) that is opened at run time:
// the server is one binary that starts on machines without a driver, and says so. The module is
// looked for beside the executable and in ../lib of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.hpp"

namespace tessera {

struct GpuInfo {
  char name[256] = {};
  int compute_major = 0;  // 9 for Hopper
  int compute_minor = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
};

struct GpuProbe {
  std::vector<GpuInfo> gpus;
  std::string reason;  // why there is none, in one phrase; empty if there is one
};

// Opens the module, asks, closes it. Thread-safe; never throws. Takes up to a second with a driver.
GpuProbe probe_gpus();

// The backend of kernels/cuda on the first GPU. The module stays open. Throws std::runtime_error
// with one line that says what is missing: the module, the driver, memory, or a kind of model that
// a GPU does not take.
std::unique_ptr<Backend> make_gpu_backend(const ModelWeights& weights, const BackendLimits& limits);

// The module's entry points. The first fills at most `capacity` entries and returns the number of
// GPUs, or -1 with `reason` (a string of static storage) set.
extern "C" using CudaProbeFunction = int(*)(GpuInfo * gpus, int capacity, const char** reason);
// Returns a backend that the caller deletes, or null with `reason`, which lives until the next
// call.
extern "C" using CudaBackendFunction =
    Backend * (*)(const ModelWeights* weights, const BackendLimits* limits, const char** reason);
inline constexpr char kCudaModuleName[] = "libtessera_cuda.so";
inline constexpr char kCudaProbeSymbol[] = "tessera_cuda_probe";
inline constexpr char kCudaBackendSymbol[] = "tessera_cuda_backend";

}  // namespace tessera

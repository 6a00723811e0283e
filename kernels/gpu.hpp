// gpu.hpp — what NVIDIA GPUs this machine has, asked without needing one.
//
// All CUDA code lives in a module (libtessera_cuda.so, kernels/cuda/) that is opened at run time:
// the server is one binary that starts on machines without a driver, and says so. The module is
// looked for beside the executable and in ../lib of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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

// The module's one entry point so far: fills at most `capacity` entries and returns the number of
// GPUs, or -1 with `reason` (a string of static storage) set.
extern "C" using CudaProbeFunction = int(*)(GpuInfo * gpus, int capacity, const char** reason);
inline constexpr char kCudaModuleName[] = "libtessera_cuda.so";
inline constexpr char kCudaProbeSymbol[] = "tessera_cuda_probe";

}  // namespace tessera

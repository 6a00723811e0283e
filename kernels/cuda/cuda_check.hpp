// cuda_check.hpp — a failed call of the CUDA runtime as a CudaError.
#pragma once

#include <string>

#include <cuda_runtime_api.h>

#include "kernels/cuda/device.hpp"

namespace tessera {

inline void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw CudaError(std::string(call) + ": " + cudaGetErrorString(code));
}

}  // namespace tessera

// Throws CudaError with the text of the call if it failed.
#define TESSERA_CUDA_CHECK(call) ::tessera::check_cuda((call), #call)

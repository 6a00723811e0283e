// cuda_check.hpp — device and driver failures as one exception.
//
// A failed call leaves the device in an unknown state, so nobody recovers from it on the spot:
// CudaError is caught once, at the top of the engine thread.
#pragma once

#include <stdexcept>
#include <string>

#include <cuda_runtime_api.h>

namespace tessera {

class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t code, const char* call)
      : std::runtime_error(std::string(call) + ": " + cudaGetErrorString(code)) {}
};

inline void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw CudaError(code, call);
}

}  // namespace tessera

// Throws CudaError with the text of the call if it failed.
#define TESSERA_CUDA_CHECK(call) ::tessera::check_cuda((call), #call)

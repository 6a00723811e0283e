// dense_gemm.hpp — [seam] a product of fp16 matrices with fp32 sums, by the vendor's library.
//
// Two implementations, chosen by what is linked: dense_gemm.cpp is cuBLASLt, opened at run time, so
// that nothing of ours needs it; emulation/dense_gemm.cpp plain loops. The library sums in an order
// of its own, which the shape chooses: what a row comes to depends on how many rows there are.
// Whoever promises P2 does without (linear_dense.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/cuda/device.hpp"

namespace tessera {

// y[row][n] = sum over k of x[row][k] w[n][k]; all device memory. Writes nothing else.
struct DenseProduct {
  const std::uint16_t* w = nullptr;  // (outputs, cols) fp16
  const std::uint16_t* x = nullptr;  // (rows, cols) fp16
  float* y = nullptr;                // (rows, y_stride), of which the first `outputs`
  int outputs = 0;
  int rows = 0;
  int cols = 0;
  int y_stride = 0;
};

// Not thread-safe; of one stream at a time.
class DenseGemm {
 public:
  // Takes a workspace on the device. Throws std::runtime_error if the library is not there.
  DenseGemm();
  ~DenseGemm();
  DenseGemm(const DenseGemm&) = delete;
  DenseGemm& operator=(const DenseGemm&) = delete;

  // Enqueues it. Throws CudaError.
  void multiply(CudaStream& stream, const DenseProduct& product);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera

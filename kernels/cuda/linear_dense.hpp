// linear_dense.hpp — y = W x for very many rows by a library's GEMM, for whoever gives up P2.
//
// A matrix is decoded to fp16 a chunk of outputs at a time, so small that the product reads it back
// from the L2 cache; then the library multiplies, and powers of two that kept both sides within
// fp16 are multiplied into y. Weights are rounded to eleven bits, which no other form of a linear
// does, and the library's order of summation is chosen by the number of rows. So a row's bits
// depend on its company. Off unless CudaOptions::dense_rows asks for it: what it would gain over
// the wide form (linear_wide.hpp) is a number that tests/device/check measures.
#pragma once

#include <cstdint>

#include "kernels/cuda/dense_gemm.hpp"
#include "kernels/cuda/linear.hpp"

namespace tessera {

class DenseLinear {
 public:
  // For matrices of up to `max_outputs` rows and `max_cols` columns. Takes scratch on the device:
  // one chunk. Throws std::runtime_error if there is no library.
  DenseLinear(int max_outputs, int max_cols);

  // As multiply(), of exactly `rows` rows.
  void multiply(CudaStream& stream, const LinearGroup& group, int rows);

 private:
  int chunk_outputs(int cols) const;

  DenseGemm gemm_;
  DeviceBuffer<std::uint16_t> weights_;  // a chunk's
  DeviceBuffer<float> powers_;           // (max_outputs,) of each output of a matrix
};

}  // namespace tessera

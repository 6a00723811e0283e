// dense_gemm.cpp — dense_gemm.hpp in plain loops, when the stream comes to it.
#include "kernels/cuda/dense_gemm.hpp"

#include "kernels/cuda/emulation/device.hpp"
#include "kernels/cuda/half.hpp"

namespace tessera {
namespace {

float sum_of(const std::uint16_t* w, const std::uint16_t* x, int cols) {
  double sum = 0.0;
  for (int k = 0; k < cols; ++k) {
    sum += static_cast<double>(float_from_half(w[k])) * static_cast<double>(float_from_half(x[k]));
  }
  return static_cast<float>(sum);
}

void run(const DenseProduct& p) {
  const auto cols = static_cast<std::size_t>(p.cols);
  for (std::size_t row = 0; row < static_cast<std::size_t>(p.rows); ++row) {
    for (std::size_t n = 0; n < static_cast<std::size_t>(p.outputs); ++n) {
      p.y[row * static_cast<std::size_t>(p.y_stride) + n] =
          sum_of(p.w + n * cols, p.x + row * cols, p.cols);
    }
  }
}

}  // namespace

struct DenseGemm::State {};

DenseGemm::DenseGemm() : state_(std::make_unique<State>()) {}
DenseGemm::~DenseGemm() = default;

void DenseGemm::multiply(CudaStream& stream, const DenseProduct& product) {
  emulation::enqueue(stream, [product] { run(product); });
}

}  // namespace tessera

// cuda_test.cpp — what the device computes, against the host. Skips itself where there is none.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/device_buffer.hpp"
#include "kernels/cuda/nf4_dequantize.cuh"
#include "kernels/nf4.hpp"

namespace tessera {
namespace {

bool has_device() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

TEST(CudaNf4, DequantisesBitEqualToTheHost) {
  if (!has_device()) GTEST_SKIP() << "no CUDA device on this machine";
  constexpr int kRows = 96;
  constexpr int kCols = 320;
  std::mt19937 random(20261121);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> weights(static_cast<std::size_t>(kRows) * kCols);
  for (auto& weight : weights) weight = normal(random);
  const Nf4Buffers packed = quantize_nf4(weights, kRows, kCols);
  std::vector<float> expected(weights.size());
  dequantize_nf4(packed.view(), expected);

  CudaStream stream;
  DeviceBuffer<std::uint8_t> codes(packed.codes, stream.get());
  DeviceBuffer<std::uint8_t> absmax_codes(packed.absmax_codes, stream.get());
  DeviceBuffer<float> absmax_scales(packed.absmax_scales, stream.get());
  DeviceBuffer<float> output(weights.size());
  Nf4Matrix on_device = packed.view();
  on_device.codes = codes.data();
  on_device.absmax_codes = absmax_codes.data();
  on_device.absmax_scales = absmax_scales.data();
  dequantize_nf4_on_device(on_device, output.data(), stream.get());
  std::vector<float> got(weights.size());
  output.read(got, stream.get());
  stream.synchronize();
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace tessera

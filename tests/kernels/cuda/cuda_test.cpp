// cuda_test.cpp — what kernels compute, against the host: on a device where there is one, and on
// the emulated machine always.
#include <random>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/nf4_dequantize.cuh"
#include "kernels/gpu.hpp"
#include "kernels/nf4.hpp"

namespace tessera {
namespace {

TEST(CudaNf4, DequantisesBitEqualToTheHost) {
  if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
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
  DeviceBuffer<std::uint8_t> codes(packed.codes.size());
  DeviceBuffer<std::uint8_t> absmax_codes(packed.absmax_codes.size());
  DeviceBuffer<float> absmax_scales(packed.absmax_scales.size());
  DeviceBuffer<float> output(weights.size());
  copy<std::uint8_t>(stream, codes, packed.codes);
  copy<std::uint8_t>(stream, absmax_codes, packed.absmax_codes);
  copy<float>(stream, absmax_scales, packed.absmax_scales);
  Nf4Matrix on_device = packed.view();
  on_device.codes = codes.data();
  on_device.absmax_codes = absmax_codes.data();
  on_device.absmax_scales = absmax_scales.data();
  dequantize_nf4_on_device(on_device, output.data(), stream);
  std::vector<float> got(weights.size());
  stream.copy_to_host(got.data(), output.data(), output.bytes());
  stream.synchronize();
  EXPECT_EQ(got, expected);
}

TEST(GpuModule, WhereThereIsNoneTheReasonIsOneLine) {
  // No module lies beside a test.
  try {
    make_gpu_backend({}, {});
    FAIL() << "a backend without a module";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no GPU: this build has no CUDA module beside it");
  }
}

}  // namespace
}  // namespace tessera

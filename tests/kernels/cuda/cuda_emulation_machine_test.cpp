// cuda_emulation_machine_test.cpp — the emulated machine itself: that its warps, fragments and
// streams are the documented ones, and that it finds what a GPU would let pass.
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"

namespace tessera {
namespace {

using testing::HasSubstr;

struct Arrays {
  const float* in = nullptr;
  float* out = nullptr;
  std::uint32_t* words = nullptr;
};

void run(void (*kernel)(Arrays), const LaunchShape& shape, const Arrays& arrays) {
  CudaStream stream;
  launch(stream, "probe", kernel, shape, arrays);
  stream.synchronize();
}

std::string error_of(void (*kernel)(Arrays), const LaunchShape& shape, const Arrays& arrays = {}) {
  try {
    run(kernel, shape, arrays);
  } catch (const emulation::Error& error) {
    return error.what();
  }
  return "";
}

// ---- What warps do.

void shuffle_kernel(Arrays p) {
  const unsigned lane = threadIdx.x;
  const float value = p.in[lane];
  p.out[lane] = __shfl_xor_sync(kFullMask, value, 5);
  p.out[32 + lane] = __shfl_down_sync(kFullMask, value, 3);
  p.out[64 + lane] = __shfl_sync(kFullMask, value, 9, 8);
  p.words[lane] = __ballot_sync(kFullMask, lane % 3 == 0 ? 1 : 0);
  if (lane < 8) p.words[32 + lane] = __reduce_add_sync(0xFFU, lane);
}

TEST(EmulatedWarp, ShufflesVotesAndReducesAsDocumented) {
  DeviceBuffer<float> in(32);
  DeviceBuffer<float> out(96);
  DeviceBuffer<std::uint32_t> words(40);
  for (unsigned i = 0; i < 32; ++i) in.data()[i] = static_cast<float>(i);
  run(shuffle_kernel, {{1}, {32}}, {in.data(), out.data(), words.data()});
  for (unsigned i = 0; i < 32; ++i) {
    EXPECT_EQ(out.data()[i], static_cast<float>(i ^ 5U));
    EXPECT_EQ(out.data()[32 + i], static_cast<float>(i + 3 < 32 ? i + 3 : i));
    EXPECT_EQ(out.data()[64 + i], static_cast<float>(i / 8 * 8 + 1));
    EXPECT_EQ(words.data()[i], 0x49249249U);
  }
  EXPECT_EQ(words.data()[39], 28U);
}

// ---- What tensor cores do: a fragment of A by ldmatrix, of B by the map in the manual.

void mma_kernel(Arrays p) {
  TESSERA_SHARED(std::uint16_t, a, 16 * 16);
  TESSERA_SHARED(std::uint16_t, b, 8 * 16);
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 256; i += 32) a[i] = to_half(p.in[i]);
  for (unsigned i = lane; i < 128; i += 32) b[i] = to_half(p.in[256 + i]);
  __syncwarp();
  std::uint32_t fragment[4];
  load_matrix_x4(fragment, a + lane % 16 * 16 + lane / 16 * 8);
  std::uint32_t columns[2];
  load_matrix_x2(columns, b + lane % 8 * 16 + lane / 8 % 2 * 8);
  float c[4] = {};
  mma_half(c, fragment, columns);
  for (unsigned i = 0; i < 4; ++i) {
    p.out[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = c[i];
  }
}

TEST(EmulatedTensorCore, MultipliesWhatLdmatrixLoads) {
  std::mt19937 random(1);
  DeviceBuffer<float> in(384);
  DeviceBuffer<float> out(128);
  for (std::size_t i = 0; i < in.size(); ++i) {
    in.data()[i] = static_cast<float>(static_cast<int>(random() % 17) - 8);
  }
  run(mma_kernel, {{1}, {32}}, {in.data(), out.data()});
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned col = 0; col < 8; ++col) {
      float sum = 0.0F;
      for (unsigned k = 0; k < 16; ++k) {
        sum += in.data()[row * 16 + k] * in.data()[256 + col * 16 + k];
      }
      EXPECT_EQ(out.data()[row * 8 + col], sum);
    }
  }
}

void mma_int8_kernel(Arrays p) {
  const unsigned g = threadIdx.x / 4;
  const unsigned t = threadIdx.x % 4;
  std::uint32_t a[4];
  std::uint32_t b[2];
  for (unsigned i = 0; i < 4; ++i) a[i] = p.words[(g + i % 2 * 8) * 8 + t + i / 2 * 4];
  for (unsigned i = 0; i < 2; ++i) b[i] = p.words[128 + g * 8 + t + i * 4];
  std::int32_t c[4] = {};
  mma_int8(c, a, b);
  for (unsigned i = 0; i < 4; ++i) {
    p.out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = static_cast<float>(c[i]);
  }
}

TEST(EmulatedTensorCore, MultipliesIntegers) {
  std::mt19937 random(2);
  DeviceBuffer<std::uint32_t> words(192);
  DeviceBuffer<float> out(128);
  for (std::size_t i = 0; i < words.size(); ++i)
    words.data()[i] = static_cast<std::uint32_t>(random());
  run(mma_int8_kernel, {{1}, {32}}, {nullptr, out.data(), words.data()});
  const auto* bytes = reinterpret_cast<const std::int8_t*>(words.data());
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned col = 0; col < 8; ++col) {
      int sum = 0;
      for (unsigned k = 0; k < 32; ++k) sum += bytes[row * 32 + k] * bytes[512 + col * 32 + k];
      EXPECT_EQ(out.data()[row * 8 + col], static_cast<float>(sum));
    }
  }
}

TEST(EmulatedHalf, RoundsAsIeeeDoes) {
  for (std::uint32_t half = 0; half < 0x10000U; ++half) {
    const float value = from_half(static_cast<std::uint16_t>(half));
    if (std::isnan(value)) continue;
    ASSERT_EQ(to_half(value), half);
  }
  EXPECT_EQ(to_half(1.0F + 0x1p-11F), to_half(1.0F)) << "a tie goes to even";
  EXPECT_EQ(to_half(1.0F + 0x1.8p-10F), to_half(1.0F + 0x1p-9F));
  EXPECT_EQ(to_half(65519.0F), to_half(65504.0F));
  EXPECT_EQ(to_half(65520.0F), 0x7C00U);
  EXPECT_EQ(to_half(0x1p-25F), 0U);
}

// ---- What it finds.

void divergent_kernel(Arrays) {
  if (threadIdx.x != 37) __syncthreads();
}
TEST(EmulatedMachine, NamesTheThreadThatABarrierWaitsFor) {
  const std::string error = error_of(divergent_kernel, {{2}, {64}});
  EXPECT_THAT(error, HasSubstr("block (0,0,0) thread (37,0,0) and on: has ended"));
  EXPECT_THAT(error, HasSubstr("__syncthreads at cuda_emulation_machine_test.cpp"));
}

void half_warp_kernel(Arrays) {
  if (threadIdx.x < 16) __syncwarp();
}
TEST(EmulatedMachine, AFullMaskWaitsForLanesThatDoNotCome) {
  EXPECT_THAT(error_of(half_warp_kernel, {{1}, {32}}), HasSubstr("__syncwarp"));
}

void unwritten_kernel(Arrays p) {
  TESSERA_SHARED(float, values, 4);
  p.out[0] = values[1];
}
TEST(EmulatedMachine, UnwrittenSharedMemoryIsNan) {
  DeviceBuffer<float> out(1);
  run(unwritten_kernel, {{1}, {1}}, {nullptr, out.data()});
  EXPECT_TRUE(std::isnan(out.data()[0]));
}

void early_kernel(Arrays p) {
  TESSERA_SHARED(float, values, 4);
  copy_async_16(values, p.in);
  commit_copies();
  p.out[0] = values[0];
  wait_copies<0>();
  p.out[1] = values[0];
}
TEST(EmulatedMachine, AnAsynchronousCopyIsNotThereBeforeItIsWaitedFor) {
  DeviceBuffer<float> in(4);
  DeviceBuffer<float> out(2);
  in.data()[0] = 3.0F;
  run(early_kernel, {{1}, {1}}, {in.data(), out.data()});
  EXPECT_TRUE(std::isnan(out.data()[0]));
  EXPECT_EQ(out.data()[1], 3.0F);
}

#if !defined(__SANITIZE_ADDRESS__)  // which ends the process at the access itself
void beyond_kernel(Arrays p) {
  p.out[threadIdx.x] = 1.0F;
}
TEST(EmulatedMachine, AWriteBeyondABufferIsFound) {
  DeviceBuffer<float> out(3);
  EXPECT_THAT(error_of(beyond_kernel, {{1}, {4}}, {nullptr, out.data()}),
              HasSubstr("beyond a buffer of 12 bytes"));
}
#endif

void outside_kernel(Arrays p) {
  p.words[0] = load_shared_u32(shared_address(dynamic_shared()) + 64);
}
TEST(EmulatedMachine, ASharedAddressOutsideTheBlocksIsFound) {
  DeviceBuffer<std::uint32_t> words(1);
  EXPECT_EQ(error_of(outside_kernel, {{1}, {1}, 128}, {nullptr, nullptr, words.data()}), "");
  EXPECT_THAT(error_of(outside_kernel, {{1}, {1}, 64 - 16}, {nullptr, nullptr, words.data()}),
              HasSubstr("outside the block's"));
}

// Neighbours are read without a barrier: whether the old or the new is seen depends on the order.
void racing_kernel(Arrays p) {
  TESSERA_SHARED(float, values, 64);
  values[threadIdx.x] = 1.0F;
  __syncthreads();
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  p.out[threadIdx.x] = values[threadIdx.x ^ 1U];
}
TEST(EmulatedMachine, ARaceShowsAsADifferenceBetweenSchedules) {
  std::vector<std::vector<float>> results;
  for (const auto order : {emulation::Order::kAscending, emulation::Order::kDescending}) {
    emulation::set_schedule({.order = order});
    DeviceBuffer<float> out(64);
    run(racing_kernel, {{1}, {64}}, {nullptr, out.data()});
    results.emplace_back(out.data(), out.data() + 64);
  }
  emulation::set_schedule({});
  EXPECT_NE(results[0], results[1]);
}

TEST(EmulatedMachine, RefusesABlockThatNoDeviceRuns) {
  EXPECT_THAT(error_of(divergent_kernel, {{1}, {2048}}), HasSubstr("no device launches"));
}

// ---- Streams, events, graphs.

TEST(EmulatedStream, DoesNothingUntilItIsWaitedFor) {
  CudaStream stream;
  DeviceBuffer<int> device(1);
  int sent = 1;
  int received = 0;
  stream.copy_to_device(device.data(), &sent, sizeof sent);
  stream.copy_to_host(&received, device.data(), sizeof received);
  sent = 2;  // a mistake: the copy has yet to read it
  EXPECT_EQ(received, 0);
  stream.synchronize();
  EXPECT_EQ(received, 2);
}

TEST(EmulatedStream, WaitsForAnotherStreamsEvent) {
  CudaStream loads;
  CudaStream steps;
  CudaEvent loaded;
  DeviceBuffer<int> device(1);
  const int sent = 7;
  int received = 0;
  EXPECT_TRUE(loaded.is_reached());
  loads.copy_to_device(device.data(), &sent, sizeof sent);
  loads.record(loaded);
  EXPECT_FALSE(loaded.is_reached());
  steps.wait(loaded);
  steps.copy_to_host(&received, device.data(), sizeof received);
  steps.synchronize();
  EXPECT_EQ(received, 7);
  EXPECT_TRUE(loaded.is_reached());
}

TEST(EmulatedStream, AGraphRunsWhatWasCapturedAsOftenAsItIsLaunched) {
  CudaStream stream;
  DeviceBuffer<int> device(1);
  int sent = 1;
  int received = 0;
  stream.begin_capture();
  stream.copy_to_device(device.data(), &sent, sizeof sent);
  stream.copy_to_host(&received, device.data(), sizeof received);
  const CudaGraph graph = stream.end_capture();
  stream.synchronize();
  EXPECT_EQ(received, 0) << "capturing does not run";
  for (sent = 5; sent < 7; ++sent) {
    stream.launch(graph);
    stream.synchronize();
    EXPECT_EQ(received, sent);
  }
}

}  // namespace
}  // namespace tessera

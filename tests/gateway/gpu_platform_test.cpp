// gpu_platform_test.cpp — a server over the GPU's backend, on the emulated machine: its memory is
// divided when it starts, told in one line, and too little of it is one line too.
#include <algorithm>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "gateway/platform.hpp"
#include "kernels/cuda/cuda_backend.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

Result<std::unique_ptr<Backend>> make_emulated(const ServerConfig&, const ModelWeights& weights,
                                               const BackendLimits& limits) {
  try {
    return make_cuda_backend(weights, limits, {.max_graph_rows = 2});
  } catch (const std::exception& unavailable) {
    return Error{Code::kInvalidValue, unavailable.what()};
  }
}

class GpuPlatform : public testing::Test {
 protected:
  Result<std::unique_ptr<Platform>> open(std::int64_t kv_bytes, std::int64_t adapter_bytes) {
    ServerConfig config;
    config.backend = "cuda";
    config.model = directory_.path() / "tiny";
    config.data = directory_.path() / "data";
    config.kv_bytes = kv_bytes;
    config.adapter_device_bytes = adapter_bytes;
    config.max_seqs = 4;
    config.token_budget = 16;
    const auto written = write_random_model(tiny_spec(), 7, config.model, tiny_info());
    EXPECT_TRUE(written) << written.error().message;
    return Platform::open(config, make_emulated);
  }

  TempDir directory_;
};

TEST_F(GpuPlatform, MemoryThatNobodyAskedForIsDivided) {
  auto platform = open(0, 0);
  ASSERT_TRUE(platform) << platform.error().message;
  const int per_sequence = (kTinyContext + 15) / 16;
  EXPECT_EQ((*platform)->num_kv_blocks, 4 * 4 * per_sequence) << "four times all sequences";
  EXPECT_EQ((*platform)->engine->max_context(), kTinyContext);
  const ServerConfig& config = (*platform)->config;
  EXPECT_GT(config.adapter_device_bytes, std::int64_t{256} << 20) << "all the rest but an eighth";
  EXPECT_GT(config.kv_bytes, 0);
  const std::string line = (*platform)->device_memory;
  for (const char* part : {"weights ", "scratch ", "graphs ", "KV ", "adapters ", "reserve "}) {
    EXPECT_NE(line.find(part), std::string::npos) << line;
  }
  EXPECT_NE(line.find("(" + std::to_string((*platform)->num_kv_blocks) + " blocks)"),
            std::string::npos)
      << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST_F(GpuPlatform, WhatWasAskedForIsGiven) {
  const auto platform = open(std::int64_t{8} << 20, std::int64_t{24} << 20);
  ASSERT_TRUE(platform) << platform.error().message;
  EXPECT_EQ((*platform)->config.adapter_device_bytes, std::int64_t{21} << 20)
      << "but for an eighth";
  EXPECT_EQ((*platform)->config.kv_bytes, std::int64_t{8} << 20);
}

TEST_F(GpuPlatform, OneOfTheLongestSequencesAlwaysHasRoom) {
  const auto platform = open(std::int64_t{2} << 20, std::int64_t{24} << 20);
  ASSERT_TRUE(platform) << platform.error().message;
  EXPECT_EQ((*platform)->num_kv_blocks, kTinyContext / 16);
}

TEST_F(GpuPlatform, TooLittleIsOneLine) {
  const auto platform = open(0, std::int64_t{1} << 40);
  ASSERT_FALSE(platform);
  const std::string& line = platform.error().message;
  EXPECT_NE(line.find("GPU memory is too small"), std::string::npos) << line;
  EXPECT_NE(line.find("adapters 1024.0 GiB"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace tessera

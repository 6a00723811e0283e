// adapter_parts_test.cpp — crowds whose adapters have all that an adapter may have, begin in the
// middle of prompts, are mixed and lie in pages of 16 and of 8 bits: each CPU path against the
// reference, against itself in other company (P2) and against the other paths. What each part means
// is in adapter_meaning_test.cpp.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_backend.hpp"
#include "tests/kernels/allocation_counter.hpp"
#include "tests/kernels/crowd.hpp"
#include "tests/kernels/path_case.hpp"

namespace tessera {
namespace {

class AdapterPartsTest : public testing::TestWithParam<PathCase> {
 protected:
  void SetUp() override {
    if (!machine_has(GetParam().path)) GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
  static std::unique_ptr<Backend> make(const Crowd& crowd, int num_threads,
                                       const char* path = GetParam().name) {
    auto backend = make_cpu_backend(crowd.weights(), crowd.limits(num_threads), path);
    crowd.add_adapters(*backend);
    return backend;
  }
  static void expect_agreement(const Crowd& crowd, std::uint32_t schedule_seed, double tolerance) {
    const auto reference = make_reference_backend(crowd.weights(), crowd.limits(1));
    crowd.add_adapters(*reference);
    const auto expected = crowd.run_together(*reference, schedule_seed);
    const auto actual = crowd.run_together(*make(crowd, 2), schedule_seed);
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      for (std::size_t position = 0; position < expected[i].size(); ++position) {
        ASSERT_LE(relative_error(actual[i][position], expected[i][position]), tolerance)
            << "sequence " << i << " position " << position;
      }
    }
  }
};

TEST_P(AdapterPartsTest, AgreeWithTheReferenceOnModelsOfAnyFamilyAndForm) {
  const std::uint32_t num_seeds = 4 * GetParam().num_seeds;
  for (std::uint32_t seed = 1; seed <= num_seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, {.parts = AdapterParts::kAll,
                             .int8_pages = seed % 2 == 0,
                             .num_adapters = 8,
                             .max_sequences = 6});
    const LayerSpec& layer = crowd.model().spec().layers.front();
    if (!layer.pre_norms && layer.qk_norm == QkNorm::kNone) continue;  // see cpu_backend_test.cpp
    expect_agreement(crowd, seed,
                     layer.pre_norms ? GetParam().tolerance : kToleranceWithoutPreNorms);
  }
}

TEST_P(AdapterPartsTest, AgreeWithTheReferenceCloselyWhereAttentionIsSilent) {
  const bool integers = kernels_of(GetParam().path).quantise != nullptr;
  for (std::uint32_t seed = 1; seed <= 4 * GetParam().num_seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, {.has_quantised_tables = seed % 4 == 0,
                             .is_attention_silent = true,
                             .parts = AdapterParts::kAll,
                             .int8_pages = seed % 2 == 0,
                             .num_adapters = 8,
                             .max_sequences = 6,
                             .max_tokens = 12});
    expect_agreement(crowd, seed, integers ? 1e-3 : 2e-5);
  }
}

TEST_P(AdapterPartsTest, RowsAreBitIdenticalAloneAndInAnyCrowdChunkingAndNumberOfThreads) {
  for (std::uint32_t seed = 100; seed < 100 + GetParam().num_mixes / 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, {.parts = AdapterParts::kAll,
                             .int8_pages = seed % 2 == 0,
                             .num_adapters = 8,
                             .max_sequences = 10,
                             .max_tokens = 24});
    const auto together = crowd.run_together(*make(crowd, 2), seed);
    EXPECT_EQ(together, crowd.run_together(*make(crowd, 3), seed + 2));
    const auto alone = make(crowd, 1);
    for (std::size_t i = 0; i < crowd.size(); ++i)
      ASSERT_EQ(together[i], crowd.run_alone(*alone, i)) << "sequence " << i;
  }
}

TEST_P(AdapterPartsTest, OfAPoisonedAdapterReachNobodyElse) {
  std::size_t num_poisoned = 0;
  for (const std::uint32_t seed : {302U, 303U, 304U, 305U}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Crowd crowd(seed, {.parts = AdapterParts::kAll,
                       .num_adapters = 3,
                       .max_sequences = 12,
                       .min_tokens = 10,
                       .max_tokens = 40});
    const auto clean = crowd.run_together(*make(crowd, 2), 1);
    crowd.adapter(1).poison();
    const auto backend = make(crowd, 2);
    const auto poisoned = crowd.run_together(*backend, 1);
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      if (crowd.slot(i) == 1) {
        ++num_poisoned;
        continue;
      }
      EXPECT_EQ(poisoned[i], clean[i]) << "beside it, sequence " << i;
      EXPECT_EQ(crowd.run_alone(*backend, i), clean[i]) << "in its blocks, sequence " << i;
    }
  }
  EXPECT_GT(num_poisoned, 0U);
}

TEST_P(AdapterPartsTest, AStepAllocatesNothing) {
  for (std::uint32_t seed = 501; seed < 507; ++seed) {
    const Crowd crowd(seed, {.parts = AdapterParts::kAll, .int8_pages = true, .num_adapters = 4});
    const auto backend = make(crowd, 2);
    const ModelSpec& spec = crowd.model().spec();
    const TokenId tokens[] = {1, 2, 3, 4, 5, 6};
    const std::int32_t positions[] = {0, 1, 2, 0, 0, 0};
    const std::int32_t seq_indptr[] = {0, 3, 4, 5, 6};
    const BlockId blocks[] = {0, 1, 1, 1};  // what they hold is all the same
    const std::int32_t block_indptr[] = {0, 1, 2, 3, 4};
    const AdapterSlot slots[] = {1, kNoAdapter, 3, kNoAdapter};
    const std::int32_t head_rows[] = {2, 3, 4, 5};
    const std::int32_t lora_start[] = {1, 0, 0, 0};
    const MixTerm mixes[] = {{0, 0.5F}, {2, 2.0F}, {2, -1.0F}};
    const std::int32_t mix_indptr[] = {0, 0, 2, 2, 3};
    const StepInput input{.tokens = tokens,
                          .positions = positions,
                          .seq_indptr = seq_indptr,
                          .blocks = blocks,
                          .block_indptr = block_indptr,
                          .slots = slots,
                          .head_rows = head_rows,
                          .lora_start = lora_start,
                          .mixes = mixes,
                          .mix_indptr = mix_indptr};
    run_stages(*backend, spec, input);
    const std::int64_t before = num_allocations();
    for (int step = 0; step < 10; ++step) run_stages(*backend, spec, input);
    EXPECT_EQ(num_allocations(), before) << "seed " << seed;
  }
}

using Fp32AdapterPartsTest = AdapterPartsTest;  // of the paths that multiply fp32

TEST_P(Fp32AdapterPartsTest, ComeToTheSameBitsAsOnThePortablePath) {
  for (std::uint32_t seed = 200; seed < 204; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(
        seed, {.parts = AdapterParts::kAll, .int8_pages = seed % 2 == 0, .num_adapters = 8});
    EXPECT_EQ(crowd.run_together(*make(crowd, 2), seed),
              crowd.run_together(*make(crowd, 2, "portable"), seed));
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, AdapterPartsTest, testing::ValuesIn(kPaths), path_case_name);
INSTANTIATE_TEST_SUITE_P(Paths, Fp32AdapterPartsTest,
                         testing::ValuesIn(kPaths, kPaths + kNumFp32Paths), path_case_name);

}  // namespace
}  // namespace tessera

// cuda_backend_test.cpp — the CUDA backend, whole, against the reference and against itself in
// other company (P2): on a device where there is one, and on the emulated machine always, where
// models and crowds are smaller because every thread of every kernel is run one by one.
#include "kernels/cuda/cuda_backend.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cuda/device.hpp"
#include "tests/kernels/crowd.hpp"

namespace tessera {
namespace {

// Largest error of a logit, as a fraction of the row's largest: activations and keys are rounded to
// the eleven bits of fp16.
constexpr double kTolerance = 2e-3;
constexpr double kToleranceWithoutPreNorms = 6e-3;

bool is_emulated() {
  return device_name() == "emulated";
}
// How many seeds of a test are run.
std::uint32_t seeds(std::uint32_t on_device, std::uint32_t emulated) {
  const bool longer = std::getenv("TESSERA_LONG") != nullptr;
  return is_emulated() ? (longer ? 4 * emulated : emulated) : on_device;
}

CrowdShape small(CrowdShape shape) {
  if (!is_emulated()) return shape;
  shape.max_sequences = std::min(shape.max_sequences, 3);
  shape.max_tokens = std::min(shape.max_tokens, 14);
  return shape;
}

std::unique_ptr<Backend> make(const Crowd& crowd, KvForm kv_form = KvForm::kF16,
                              int max_graph_rows = 8) {
  BackendLimits limits = crowd.limits(0);
  limits.max_rows = limits.max_logit_rows = is_emulated() ? 64 : 1024;
  limits.kv_form = kv_form;
  limits.max_adapters = 8;
  limits.memory.adapter_bytes = std::size_t{32} << 20;
  auto backend = make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = max_graph_rows});
  crowd.add_adapters(*backend);
  return backend;
}

bool has_experts(const Crowd& crowd) {
  return crowd.model().spec().num_experts > 0;
}
// Emulated, experts are slow, and have a test of their own.
bool is_slow(const Crowd& crowd) {
  return is_emulated() && has_experts(crowd);
}

class CudaBackendTest : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
  void TearDown() override { RecordProperty("worst_error", std::to_string(worst_)); }

  void expect_agreement(const Crowd& crowd, std::uint32_t schedule, double tolerance,
                        KvForm kv_form = KvForm::kF16) {
    const auto reference = make_reference_backend(crowd.weights(), crowd.limits(1));
    crowd.add_adapters(*reference);
    const auto expected = crowd.run_together(*reference, schedule);
    const auto actual = crowd.run_together(*make(crowd, kv_form), schedule);
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      for (std::size_t position = 0; position < expected[i].size(); ++position) {
        const double error = relative_error(actual[i][position], expected[i][position]);
        worst_ = std::max(worst_, error);
        ASSERT_LE(error, tolerance) << "sequence " << i << " position " << position;
      }
    }
  }

  double worst_ = 0.0;
};

TEST_F(CudaBackendTest, AgreesWithTheReferenceOnRandomCrowds) {
  for (std::uint32_t seed = 1; seed <= seeds(20, 8); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_agreement(Crowd(seed, small({.model = CrowdModel::kLlamaNf4})), seed, kTolerance);
  }
}

TEST_F(CudaBackendTest, AgreesWithTheReferenceOnModelsOfAnyFamilyFormAndAdapter) {
  std::uint32_t num_run = 0;
  for (std::uint32_t seed = 1; num_run < seeds(40, 16); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, small({.parts = AdapterParts::kAll, .int8_pages = seed % 2 == 0}));
    const LayerSpec& layer = crowd.model().spec().layers.front();
    // As in cpu_backend_test.cpp: scores of hundreds, where the bits of a key decide.
    if (is_slow(crowd) || (!layer.pre_norms && layer.qk_norm == QkNorm::kNone)) continue;
    ++num_run;
    expect_agreement(crowd, seed, layer.pre_norms ? kTolerance : kToleranceWithoutPreNorms);
  }
}

TEST_F(CudaBackendTest, AgreesWithTheReferenceWhereEmbeddingAndHeadAreQuantised) {
  for (std::uint32_t seed = 20; seed < 20 + seeds(6, 4); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_agreement(
        Crowd(seed, small({.model = CrowdModel::kLlamaNf4, .has_quantised_tables = true})), seed,
        kTolerance);
  }
}

// Attention puts out nothing, so that nothing hides behind a softmax.
TEST_F(CudaBackendTest, AgreesWithTheReferenceWhereAttentionIsSilent) {
  std::uint32_t num_run = 0;
  for (std::uint32_t seed = 40; num_run < seeds(20, 8); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, small({.is_attention_silent = true}));
    if (is_slow(crowd)) continue;
    ++num_run;
    expect_agreement(crowd, seed, kTolerance);
  }
}

TEST_F(CudaBackendTest, CachesInEightBitsCostAHundredth) {
  for (std::uint32_t seed = 1; seed <= seeds(10, 4); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_agreement(Crowd(seed, small({.model = CrowdModel::kLlamaNf4})), seed, 2e-2,
                     KvForm::kInt8);
  }
}

// Whoever asks for a library's GEMM gets it for steps of many rows: close, but not the same bits.
TEST_F(CudaBackendTest, LongStepsMayGoThroughALibrarysGemm) {
  for (std::uint32_t seed = 1; seed <= seeds(6, 3); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, small({.model = CrowdModel::kLlamaNf4}));
    BackendLimits limits = crowd.limits(0);
    limits.memory.adapter_bytes = std::size_t{32} << 20;
    std::unique_ptr<Backend> backend;
    try {
      backend = make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = 0, .dense_rows = 4});
    } catch (const CudaError&) {
      throw;
    } catch (const std::runtime_error& missing) {
      GTEST_SKIP() << missing.what();
    }
    crowd.add_adapters(*backend);
    const auto actual = crowd.run_together(*backend, seed);
    const auto expected = crowd.run_together(*make(crowd), seed);
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      for (std::size_t at = 0; at < actual[i].size(); ++at) {
        EXPECT_LE(relative_error(actual[i][at], expected[i][at]), kTolerance);
      }
    }
  }
}

// A weight's error is even over a 127th of its block's largest, some 2.45 deviations of 64 normal
// numbers: the noise of a logit is 2.45 / (127 sqrt(12)) = 0.56 % of it.
TEST_F(CudaBackendTest, AHeadInEightBitsCostsTheNoiseOfItsRounding) {
  for (std::uint32_t seed = 1; seed <= seeds(10, 3); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, small({.model = CrowdModel::kLlamaNf4}));
    BackendLimits limits = crowd.limits(0);
    limits.head_form = HeadForm::kInt8;
    limits.memory.adapter_bytes = std::size_t{32} << 20;
    const auto backend = make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = 8});
    crowd.add_adapters(*backend);
    const auto actual = crowd.run_together(*backend, seed);
    const auto expected = crowd.run_together(*make(crowd), seed);
    double noise = 0.0;
    double power = 0.0;
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      for (std::size_t at = 0; at < actual[i].size(); ++at) {
        for (std::size_t n = 0; n < actual[i][at].size(); ++n) {
          const double value = static_cast<double>(expected[i][at][n]);
          noise += std::pow(static_cast<double>(actual[i][at][n]) - value, 2);
          power += value * value;
        }
      }
    }
    EXPECT_LE(std::sqrt(noise / power), 0.007);
    EXPECT_GT(noise, 0.0);
    EXPECT_EQ(crowd.run_alone(*backend, 0), actual[0]);
  }
}

TEST_F(CudaBackendTest, RowsAreBitIdenticalAloneAndInAnyCrowdChunkingAndGraph) {
  std::uint32_t num_run = 0;
  for (std::uint32_t seed = 100; num_run < seeds(12, 6); ++seed) {
    const Crowd crowd(seed, small({.parts = AdapterParts::kAll, .max_tokens = 40}));
    if (is_slow(crowd)) continue;
    ++num_run;
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto backend = make(crowd);
    const auto together = crowd.run_together(*backend, seed);
    EXPECT_EQ(together, crowd.run_together(*backend, seed + 1)) << "other chunks";
    EXPECT_EQ(together, crowd.run_together(*make(crowd, KvForm::kF16, 0), seed)) << "no graphs";
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      EXPECT_EQ(together[i], crowd.run_alone(*backend, i)) << "alone, sequence " << i;
    }
  }
}

TEST_F(CudaBackendTest, ExpertsAgreeWithTheReferenceAndWithThemselvesInAnyCompany) {
  std::uint32_t num_run = 0;
  for (std::uint32_t seed = 500; num_run < seeds(20, 2); ++seed) {
    CrowdShape shape{
        .is_attention_silent = true, .parts = AdapterParts::kAll, .int8_pages = seed % 2 == 0};
    if (is_emulated()) shape.max_sequences = 2, shape.max_tokens = 7;
    const Crowd crowd(seed, shape);
    if (!has_experts(crowd)) continue;
    ++num_run;
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_agreement(crowd, seed, kTolerance);
    const auto backend = make(crowd);
    const auto together = crowd.run_together(*backend, seed);
    EXPECT_EQ(together[0], crowd.run_alone(*backend, 0));
  }
}

TEST_F(CudaBackendTest, AnotherSequencesNansStayItsOwn) {
  for (const KvForm kv_form : {KvForm::kF16, KvForm::kInt8}) {
    Crowd crowd(302, small({.model = CrowdModel::kLlamaNf4, .num_adapters = 2, .min_tokens = 6}));
    const auto clean = crowd.run_together(*make(crowd, kv_form), 1);
    crowd.adapter(1).poison();
    const auto backend = make(crowd, kv_form);
    const auto poisoned = crowd.run_together(*backend, 1);
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      if (crowd.slot(i) == 1) continue;
      EXPECT_EQ(poisoned[i], clean[i]) << "beside it, sequence " << i;
      EXPECT_EQ(crowd.run_alone(*backend, i), clean[i]) << "in its blocks, sequence " << i;
    }
  }
}

TEST_F(CudaBackendTest, AdaptersComeAndGoBetweenStepsAndSlotsAreGivenAgain) {
  const Crowd crowd(401, small({.model = CrowdModel::kLlamaNf4}));
  const auto backend = make(crowd);
  const auto before = crowd.run_together(*backend, 1);
  const ModelSpec& spec = crowd.model().spec();
  for (std::uint32_t round = 0; round < seeds(50, 5); ++round) {
    Random random(round);
    const RandomAdapter other(random, spec, AdapterParts::kAll);
    const AdapterSlot slot = backend->add_adapter(other.view(PageType::kBf16));
    EXPECT_EQ(slot, 3);
    EXPECT_EQ(crowd.run_alone(*backend, 0), before[0]);
    backend->remove_adapter(slot);
  }
  EXPECT_EQ(crowd.run_together(*backend, 2), before);
}

TEST_F(CudaBackendTest, TheResidualStreamCanBeReadAfterAnyStage) {
  const Crowd crowd(7, small({.model = CrowdModel::kLlamaNf4}));
  const auto reference = make_reference_backend(crowd.weights(), crowd.limits(1));
  const auto backend = make(crowd);
  crowd.add_adapters(*reference);
  const TokenId tokens[] = {1, 2, 3};
  const std::int32_t positions[] = {0, 1, 2};
  const std::int32_t seq_indptr[] = {0, 3};
  const BlockId blocks[] = {0};
  const std::int32_t block_indptr[] = {0, 1};
  const AdapterSlot slots[] = {1};
  const std::int32_t head_rows[] = {2};
  const StepInput input{tokens, positions, seq_indptr, blocks, block_indptr, slots, head_rows};
  const auto compare = [&](const char* stage) {
    const auto expected = reference->residual();
    const auto actual = backend->residual();
    EXPECT_LE(relative_error({actual.begin(), actual.end()}, {expected.begin(), expected.end()}),
              kTolerance)
        << stage;
  };
  for (Backend* each : {reference.get(), backend.get()}) {
    each->begin(input);
    each->embed();
  }
  compare("embed");
  for (Backend* each : {reference.get(), backend.get()}) {
    each->qkv(0);
    each->attention(0);
    each->o_proj(0);
  }
  compare("o_proj");
  for (Backend* each : {reference.get(), backend.get()}) {
    each->gate_up(0);
    each->down(0);
  }
  compare("down");
}

BackendLimits few_rows(const Crowd& crowd) {
  BackendLimits limits = crowd.limits(0);
  limits.max_rows = limits.max_logit_rows = 16;
  limits.max_adapters = 4;
  return limits;
}

TEST_F(CudaBackendTest, RefusesTooLittleMemoryInOneLine) {
  const Crowd crowd(1, small({.model = CrowdModel::kLlamaNf4}));
  BackendLimits limits = few_rows(crowd);
  limits.memory.adapter_bytes = std::size_t{1} << 44;
  try {
    make_cuda_backend(crowd.weights(), limits);
    FAIL() << "sixteen terabytes";
  } catch (const std::runtime_error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("GPU memory is too small"), std::string::npos) << what;
    EXPECT_NE(what.find("adapters 16384.0 GiB"), std::string::npos) << what;
    EXPECT_EQ(what.find('\n'), std::string::npos);
  }
}

// Of a whole card only what is asked for: other tests may run on it.
TEST_F(CudaBackendTest, MemoryIsDividedAsItWasSaid) {
  const Crowd crowd(1, small({.model = CrowdModel::kLlamaNf4}));
  BackendLimits limits = few_rows(crowd);
  limits.num_blocks = 0;
  limits.memory = {
      .kv_bytes = std::size_t{2} << 20, .adapter_bytes = std::size_t{8} << 20, .least_blocks = 4};
  const std::size_t before = device_memory().free_bytes;
  const auto backend = make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = 4});
  const MemoryDivision& memory = *backend->memory();
  EXPECT_LE(memory.kv_bytes, limits.memory.kv_bytes);
  EXPECT_GE(memory.num_blocks, 4);
  EXPECT_EQ(memory.adapter_bytes, limits.memory.adapter_bytes);
  if (!is_emulated()) return;  // where nobody else allocates, and nothing is rounded
  EXPECT_EQ(memory.free_bytes, before);
  const std::size_t planned =
      memory.weight_bytes + memory.scratch_bytes + memory.kv_bytes + memory.adapter_bytes;
  const std::size_t taken = before - device_memory().free_bytes;
  constexpr std::size_t kSlack = std::size_t{256} << 10;
  EXPECT_LE(taken, planned + kSlack) << "more than was said";
  EXPECT_GE(taken + kSlack, planned) << "less than was said";
}

TEST_F(CudaBackendTest, AnAdapterThatHasNoRoomIsNoFailureAndLeavesTheOthers) {
  const Crowd crowd(1, small({.model = CrowdModel::kLlamaNf4, .num_adapters = 0}));
  BackendLimits limits = few_rows(crowd);
  limits.max_adapters = 200;
  limits.memory.adapter_bytes = std::size_t{3} << 20;
  const auto backend = make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = 0});
  Random random(3);
  const RandomAdapter adapter(random, crowd.model().spec(), 32);
  const LoraView view = adapter.view(PageType::kBf16);
  std::vector<AdapterSlot> slots;
  while (slots.size() < 200) {
    const AdapterSlot slot = backend->add_adapter(view);
    if (slot == kNoAdapter) break;
    slots.push_back(slot);
  }
  EXPECT_GT(slots.size(), 1U);
  EXPECT_LT(slots.size(), 200U) << "memory ends before the slots do";
  for (const AdapterSlot slot : slots) backend->remove_adapter(slot);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    EXPECT_NE(backend->add_adapter(view), kNoAdapter) << "as many as before, " << i;
  }
  EXPECT_EQ(backend->add_adapter(view), kNoAdapter);
}

// The adapter again and again, until there is no room for one more; their slots to `slots`.
void fill(Backend& backend, const LoraView& view, std::vector<AdapterSlot>& slots) {
  for (;;) {
    const AdapterSlot slot = backend.add_adapter(view);
    if (slot == kNoAdapter) return;
    slots.push_back(slot);
  }
}

// KV's blocks go to adapters, which write all over them, and back, while copies to adapters that
// have gone are still under way; sequences and adapters that stay are none the wiser.
TEST_F(CudaBackendTest, KvBlocksAndAdaptersShareTheirMemory) {
  for (const KvForm form : {KvForm::kF16, KvForm::kInt8}) {
    const Crowd crowd(5, small({.model = CrowdModel::kLlamaNf4}));
    BackendLimits limits = few_rows(crowd);
    limits.kv_form = form;
    limits.max_adapters = 4000;
    limits.memory.adapter_bytes = std::size_t{3} << 20;
    const auto backend = make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = 4});
    const MemoryDivision& memory = *backend->memory();
    ASSERT_GT(memory.blocks_in_all, memory.num_blocks);
    crowd.add_adapters(*backend);
    const auto expected = crowd.run_together(*backend, 3);

    const std::size_t own = backend->adapter_memory().bytes;
    std::vector<BlockId> all_of_kv;
    for (BlockId block = 0; block < memory.num_blocks; ++block) all_of_kv.push_back(block);
    backend->lend_blocks(all_of_kv);
    EXPECT_GT(backend->adapter_memory().bytes, own);
    Random random(3);
    const RandomAdapter adapter(random, crowd.model().spec(), 16);
    LoraView small_one;  // one module of one page
    small_one.layers.resize(crowd.model().spec().layers.size());
    const std::vector<std::byte> ones(std::size_t{64} << 10, std::byte{1});
    small_one.layers[0][0] = {.rank = 1, .a = ones.data(), .b = ones.data()};
    std::vector<AdapterSlot> slots;
    fill(*backend, adapter.view(PageType::kBf16), slots);
    fill(*backend, small_one, slots);
    std::vector<BlockId> taken;
    backend->take_blocks(memory.blocks_in_all, taken);
    EXPECT_LT(taken.size(), all_of_kv.size() / 2) << "adapters fill nearly all";
    backend->lend_blocks(taken);
    for (const AdapterSlot slot : slots) backend->remove_adapter(slot);
    taken.clear();
    backend->take_blocks(memory.num_blocks, taken);
    EXPECT_EQ(taken, all_of_kv) << "the first ones there are";
    EXPECT_EQ(backend->adapter_memory().bytes, own);
    EXPECT_EQ(crowd.run_together(*backend, 3), expected);
  }
}

}  // namespace
}  // namespace tessera

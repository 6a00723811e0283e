// cuda_backend_load_test.cpp — the CUDA backend for as long as it is given: rows alone and in
// company (P2), and adapters that come and go between the steps of others.
//
// TESSERA_CHECK_SECONDS says for how long each goes on; without it, one seed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.hpp"
#include "tests/kernels/crowd.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point deadline() {
  const char* seconds = std::getenv("TESSERA_CHECK_SECONDS");
  return Clock::now() + std::chrono::seconds(seconds == nullptr ? 0 : std::atoi(seconds));
}

class CudaBackendUnderLoad : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

std::unique_ptr<Backend> make(const Crowd& crowd) {
  BackendLimits limits = crowd.limits(0);
  limits.max_rows = limits.max_logit_rows = 64;
  limits.max_adapters = 16;
  limits.memory.adapter_bytes = std::size_t{32} << 20;
  return make_cuda_backend(crowd.weights(), limits, {.max_graph_rows = 8});
}

constexpr CrowdShape kShape{.model = CrowdModel::kLlamaNf4,
                            .parts = AdapterParts::kAll,
                            .max_sequences = 4,
                            .max_tokens = 14};

TEST_F(CudaBackendUnderLoad, RowsAreTheSameBitsAloneAndTogether) {
  const Clock::time_point end = deadline();
  int num_rows = 0;
  for (std::uint32_t seed = 1;; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed, kShape);
    const auto backend = make(crowd);
    crowd.add_adapters(*backend);
    const auto together = crowd.run_together(*backend, seed);
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      ASSERT_EQ(crowd.run_alone(*backend, i), together[i]) << "sequence " << i;
      num_rows += static_cast<int>(together[i].size());
    }
    if (Clock::now() >= end) break;
  }
  std::printf("    %d rows\n", num_rows);
}

// Adapters that make one token of their own the most likely, whatever else they do.
struct Watermarked {
  RandomAdapter adapter;
  std::vector<float> bias;
  LoraView view;
  AdapterSlot slot = kNoAdapter;

  Watermarked(Random& random, const ModelSpec& spec, PageType type, TokenId mark)
      : adapter(random, spec, uniform(random, 1, 33)),
        bias(static_cast<std::size_t>(spec.vocab_size)),
        view(adapter.view(type)) {
    bias[static_cast<std::size_t>(mark)] = 1e4F;
    view.head.bias = bias.data();
  }
};

TokenId best_of(const Logits& logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

TEST_F(CudaBackendUnderLoad, AdaptersThatComeAndGoEveryStepLeaveTheirMarkAndNoOther) {
  constexpr int kNumAdapters = 8;
  const Clock::time_point end = deadline();
  int num_swaps = 0;
  int num_rows = 0;
  for (std::uint32_t seed = 1;; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const Crowd crowd(seed, {.model = CrowdModel::kLlamaNf4, .num_adapters = 0});
    const ModelSpec& spec = crowd.model().spec();
    const auto backend = make(crowd);
    std::deque<Watermarked> adapters;
    for (int i = 0; i < kNumAdapters; ++i) {
      adapters.emplace_back(random, spec, backend->page_type(), 2 * i + 1);
    }
    const auto swap = [&](Watermarked& one) {
      ++num_swaps;
      if (one.slot != kNoAdapter) {
        backend->remove_adapter(one.slot);
        one.slot = kNoAdapter;
      } else {
        one.slot = backend->add_adapter(one.view);
      }
    };
    // A sequence of one token, again and again, with whichever adapter is there, beside one of the
    // base.
    std::vector<Logits> of_base;
    for (int step = 0; step < 12; ++step) {
      for (int i = 0; i < 3; ++i) {
        swap(adapters[static_cast<std::size_t>(uniform(random, 0, kNumAdapters - 1))]);
      }
      Watermarked& chosen =
          adapters[static_cast<std::size_t>(uniform(random, 0, kNumAdapters - 1))];
      if (chosen.slot == kNoAdapter) swap(chosen);
      TestSequence base;
      base.tokens = {1, 2};
      base.blocks = {0};
      TestSequence marked = base;
      marked.slot = chosen.slot;
      marked.blocks = {1};
      const Chunk chunks[] = {{&marked, 2}, {&base, 2}};
      run_step(*backend, spec, chunks);
      const auto index = std::find_if(adapters.begin(), adapters.end(),
                                      [&](const Watermarked& w) { return &w == &chosen; });
      for (const Logits& logits : marked.logits) {
        ASSERT_EQ(best_of(logits), 2 * static_cast<TokenId>(index - adapters.begin()) + 1);
      }
      if (of_base.empty()) of_base = base.logits;
      ASSERT_EQ(base.logits, of_base) << "step " << step;
      num_rows += 4;
    }
    if (Clock::now() >= end) break;
  }
  std::printf("    %d swaps, %d rows\n", num_swaps, num_rows);
}

}  // namespace
}  // namespace tessera

// steady_state_test.cpp — a backend that has run for long holds no more memory than one that has
// just begun.
//
// With TESSERA_LONG=1 a million steps, as many as a day of decoding; else ten thousand.
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <gtest/gtest.h>

#include "kernels/backend.hpp"
#include "tests/kernels/allocation_counter.hpp"
#include "tests/kernels/random_adapter.hpp"
#include "tests/kernels/random_model.hpp"
#include "tests/kernels/step_runner.hpp"

namespace tessera {
namespace {

constexpr int kSeqs = 3;
constexpr int kBlockSize = 16;
// What the process may grow by besides, its stacks and the sanitizers' books: a byte a step would
// be four times that in the long form.
constexpr std::size_t kSlackBytes = 256 * 1024;
constexpr int kBlocksPerSeq = 40;  // more positions than two parts of a context

int num_steps() {
  const char* value = std::getenv("TESSERA_LONG");
  return value != nullptr && std::string_view(value) == "1" ? 1'000'000 : 10'000;
}

std::size_t resident_bytes() {
  std::size_t mapped = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> mapped >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

ModelSpec tiny_spec() {
  ModelSpec spec;
  spec.vocab_size = 40;
  spec.hidden = 64;
  spec.intermediate = 64;
  spec.num_heads = 4;
  spec.num_kv_heads = 1;
  spec.head_dim = 16;
  spec.max_positions = 4096;
  spec.ropes = {{.inv_freq = plain_inv_freq(10000.0F, spec.head_dim)}};
  spec.layers.resize(1);
  spec.layers[0].attention_scale = 0.25F;
  return spec;
}

// The same with all that has arrays of its own: experts, a window, norms, a cap.
ModelSpec tiny_spec_with_experts() {
  ModelSpec spec = tiny_spec();
  spec.num_experts = 5;
  spec.experts_per_token = 2;
  spec.expert_intermediate = 64;
  spec.layers.resize(2, spec.layers[0]);
  LayerSpec& layer = spec.layers[1];
  layer.experts = true;
  layer.window = 300;
  layer.qk_norm = QkNorm::kWhole;
  layer.post_norms = true;
  layer.attention_softcap = 30.0F;
  return spec;
}

// Sequences that decode, each from its first position to its last and then from the first again:
// two with adapters and one without.
class Decoding {
 public:
  explicit Decoding(const ModelSpec& spec) : vocab_size_(spec.vocab_size) {
    for (int seq = 0; seq < kSeqs; ++seq) {
      positions_[seq] = 200 * seq;
      head_rows_[seq] = seq;
    }
    for (int i = 0; i < kSeqs * kBlocksPerSeq; ++i) blocks_.push_back(i);
  }

  StepInput next() {
    for (int seq = 0; seq < kSeqs; ++seq) {
      positions_[seq] = (positions_[seq] + 1) % (kBlocksPerSeq * kBlockSize);
      tokens_[seq] = (tokens_[seq] * 7 + positions_[seq] + seq) % vocab_size_;
    }
    return {tokens_, positions_, kIndptr, blocks_, kBlockIndptr, kSlots, head_rows_};
  }

 private:
  static constexpr std::int32_t kIndptr[kSeqs + 1] = {0, 1, 2, 3};
  static constexpr std::int32_t kBlockIndptr[kSeqs + 1] = {0, kBlocksPerSeq, 2 * kBlocksPerSeq,
                                                           3 * kBlocksPerSeq};
  static constexpr AdapterSlot kSlots[kSeqs] = {0, kNoAdapter, 1};

  int vocab_size_;
  TokenId tokens_[kSeqs] = {};
  std::int32_t positions_[kSeqs];
  std::int32_t head_rows_[kSeqs];
  std::vector<BlockId> blocks_;
};

void expect_steady(const ModelSpec& spec, RandomForms forms) {
  Random random(601);
  const RandomModel model(random, spec, forms);
  const RandomAdapter first(random, model.spec(), 5);
  const RandomAdapter second(random, model.spec(), 8);
  const BackendLimits limits{.max_rows = kSeqs,
                             .max_seqs = kSeqs,
                             .max_logit_rows = kSeqs,
                             .num_blocks = kSeqs * kBlocksPerSeq,
                             .block_size = kBlockSize,
                             .max_rank = 8,
                             .num_threads = 2};
  const auto backend = make_cpu_backend(model.weights(), limits);
  backend->add_adapter(first.view(backend->page_type()));
  backend->add_adapter(second.view(backend->page_type()));
  Decoding decoding(model.spec());
  const auto run = [&](int steps) {
    for (int step = 0; step < steps; ++step) run_stages(*backend, model.spec(), decoding.next());
  };
  run(kBlocksPerSeq * kBlockSize);  // touches all of the cache
  resident_bytes();
  const std::int64_t allocations = num_allocations();
  const std::size_t resident = resident_bytes();
  const std::int64_t of_looking = num_allocations() - allocations;
  run(num_steps());
  EXPECT_EQ(num_allocations(), allocations + of_looking);
  EXPECT_LE(resident_bytes(), resident + kSlackBytes);
}

TEST(SteadyState, StepsWithoutEndAllocateNothingAndGrowNothing) {
  expect_steady(tiny_spec(), RandomForms::kNf4);
}

TEST(SteadyState, StepsOfExpertsAndWindowsAllocateNothingAndGrowNothing) {
  expect_steady(tiny_spec_with_experts(), RandomForms::kAny);
}

}  // namespace
}  // namespace tessera

// drawn_tokens_test.cpp — an engine whose backend draws tokens says what one says that samples from
// the logits itself: the same tokens, log-probabilities and ends, to the bit, whatever is asked.
//
// The drawing is the GPU's own kernel on the emulated machine.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_core.hpp"
#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/cuda/token_drawer.hpp"
#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/engine/tiny_model.hpp"
#include "tests/engine/tiny_vocabulary.hpp"

namespace tessera {
namespace {

// What was asked of a backend.
struct Counts {
  int drawn_rows = 0;
  int logits = 0;
};

// Another backend, whose logits a TokenDrawer draws from, or nobody does.
class DrawingBackend final : public Backend {
 public:
  enum class Draws { kNever, kByItself, kHere };

  DrawingBackend(std::unique_ptr<Backend> inner, const BackendLimits& limits, int vocab_size,
                 Draws draws, Counts& counts)
      : inner_(std::move(inner)),
        draws_(draws),
        counts_(counts),
        drawer_(limits.max_logit_rows, vocab_size) {}

  std::string_view name() const override { return inner_->name(); }
  PageType page_type() const override { return inner_->page_type(); }
  AdapterSlot add_adapter(const LoraView& adapter) override { return inner_->add_adapter(adapter); }
  void remove_adapter(AdapterSlot slot) override { inner_->remove_adapter(slot); }
  void begin(const StepInput& input) override {
    num_rows_ = static_cast<int>(input.head_rows.size());
    inner_->begin(input);
  }
  void embed() override { inner_->embed(); }
  void qkv(int layer) override { inner_->qkv(layer); }
  void attention(int layer) override { inner_->attention(layer); }
  void o_proj(int layer) override { inner_->o_proj(layer); }
  void gate_up(int layer) override { inner_->gate_up(layer); }
  void down(int layer) override { inner_->down(layer); }
  void head() override { inner_->head(); }

  bool draws() const override { return draws_ != Draws::kNever; }
  std::span<const DrawnToken> draw(std::span<const DrawRow> rows) override {
    counts_.drawn_rows += static_cast<int>(rows.size());
    if (draws_ == Draws::kByItself) return inner_->draw(rows);
    std::vector<float> all;
    for (int row = 0; row < num_rows_; ++row) {
      const auto logits = inner_->logits(row);
      all.insert(all.end(), logits.begin(), logits.end());
    }
    logits_ = DeviceBuffer<float>(all.size());
    copy<float>(stream_, logits_, all);
    return drawer_.draw(rows, logits_.data(), stream_);
  }
  std::span<const float> logits(int i) override {
    ++counts_.logits;
    return inner_->logits(i);
  }
  std::span<const float> state(int i) override { return inner_->state(i); }
  std::span<const float> residual() override { return inner_->residual(); }

 private:
  std::unique_ptr<Backend> inner_;
  Draws draws_;
  Counts& counts_;
  int num_rows_ = 0;
  CudaStream stream_;
  DeviceBuffer<float> logits_;
  TokenDrawer drawer_;
};
using Draws = DrawingBackend::Draws;

// Everything that a stream was told.
struct Answer {
  std::shared_ptr<TokenStream> stream = std::make_shared<TokenStream>([] {});
  std::vector<GeneratedToken> tokens = {};
  std::vector<GeneratedToken> prompt = {};
  std::optional<Finish> finish = {};

  void collect() {
    TokenEvents events = stream->take();
    std::ranges::move(events.tokens, std::back_inserter(tokens));
    std::ranges::move(events.prompt, std::back_inserter(prompt));
    if (events.finished) finish = std::move(events.finished);
  }
};

int pick(std::mt19937_64& random, int low, int high) {
  return low + static_cast<int>(random() % static_cast<std::uint64_t>(high - low + 1));
}
bool one_in(std::mt19937_64& random, int count) {
  return pick(random, 1, count) == 1;
}

void choose_filters(std::mt19937_64& random, SamplingParams& params) {
  params.seed = random();
  params.temperature = one_in(random, 4) ? 0.0F : 0.2F * static_cast<float>(pick(random, 1, 9));
  if (one_in(random, 3)) params.top_k = pick(random, 1, 100);
  if (one_in(random, 3)) params.top_p = 0.1F * static_cast<float>(pick(random, 1, 10));
  if (one_in(random, 4)) params.min_p = 0.1F * static_cast<float>(pick(random, 0, 10));
  if (one_in(random, 2)) params.num_logprobs = pick(random, 0, 20);
  if (one_in(random, 8)) params.keep_logits = true;
}

void choose_adjustments(std::mt19937_64& random, int vocab_size, SamplingParams& params) {
  if (one_in(random, 3)) params.repetition_penalty = 1.7F;
  if (one_in(random, 3)) params.frequency_penalty = 0.9F;
  if (one_in(random, 3)) params.presence_penalty = -0.6F;
  if (one_in(random, 3)) {
    params.logit_bias = {{pick(random, 0, 40), 4.0F}, {pick(random, 41, vocab_size - 1), -100.0F}};
  }
  if (one_in(random, 3)) params.min_tokens = pick(random, 0, params.max_tokens);
  if (one_in(random, 3)) params.stop_token_ids = {pick(random, 1, vocab_size - 1), kTinyEnd};
}

GenerationRequest random_request(std::mt19937_64& random, int vocab_size) {
  static const std::vector<guided::ConstraintSpec> kForms = {
      regex_spec("[a-z]{2,4}-[0-9]+(forced-text)?"), choice_spec({"left-hand", "right-hand"})};
  GenerationRequest request;
  for (int i = pick(random, 1, 9); i > 0; --i) {
    request.prompt.push_back(pick(random, 1, vocab_size - 1));
  }
  request.tenant = "t";
  request.sampling.max_tokens = pick(random, 1, 8);
  choose_filters(random, request.sampling);
  choose_adjustments(random, vocab_size, request.sampling);
  if (one_in(random, 3)) {
    const auto which = static_cast<std::size_t>(pick(random, 0, 1));
    request.constraint = tiny_constraint(kForms[which]);
    request.sampling.min_tokens = 0;
    if (one_in(random, 2)) request.sampling.num_logprobs = -1;
  } else if (one_in(random, 4)) {
    request.prompt_output = PromptOutput::kLogprobs;
    request.sampling.num_logprobs = pick(random, 0, 5);
  }
  return request;
}

class DrawnTokens : public testing::Test {
 protected:
  std::unique_ptr<Backend> make(const EngineConfig& config, bool is_fake) const {
    if (is_fake) {
      return std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend);
    }
    return make_cuda_backend(model_.weights(), config.backend, {.max_graph_rows = 4});
  }

  std::vector<Answer> run(const std::vector<GenerationRequest>& requests, bool is_fake,
                          Draws draws) {
    EngineConfig config;
    config.eos_ids = {kTinyEnd};
    config.mask_threads = 0;
    config.backend.max_rows = 24;
    config.backend.max_seqs = 5;
    config.backend.max_logit_rows = 9;
    config.backend.num_blocks = 64;
    config.backend.max_rank = 32;
    config.backend.memory.adapter_bytes = std::size_t{1} << 20;
    counts_ = {};
    auto backend = std::make_unique<DrawingBackend>(make(config, is_fake), config.backend,
                                                    spec_.vocab_size, draws, counts_);
    AdapterShelf shelf(spec_, backend->page_type());
    EngineCore core(std::move(backend), spec_, shelf.cache(), config);
    std::vector<Answer> answers(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_TRUE(core.check(requests[i]));
      core.add(requests[i], answers[i].stream);
    }
    while (core.num_requests() > 0) core.step();
    for (Answer& answer : answers) answer.collect();
    return answers;
  }

  static void expect_same(const std::vector<Answer>& actual, const std::vector<Answer>& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(actual[i].tokens, expected[i].tokens) << "request " << i;
      EXPECT_EQ(actual[i].prompt, expected[i].prompt) << "request " << i;
      ASSERT_TRUE(actual[i].finish && expected[i].finish);
      EXPECT_EQ(actual[i].finish->reason, expected[i].finish->reason) << "request " << i;
      EXPECT_EQ(actual[i].finish->code, expected[i].finish->code) << "request " << i;
      EXPECT_EQ(actual[i].finish->generated_tokens, expected[i].finish->generated_tokens);
    }
  }

  ModelSpec spec_ = tiny_spec();
  TinyModel model_{3};
  Counts counts_;
};

TEST_F(DrawnTokens, AreTheEnginesOwnWhateverIsAsked) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    std::vector<GenerationRequest> requests;
    for (int i = 0; i < 7; ++i) requests.push_back(random_request(random, spec_.vocab_size));
    if (seed % 3 == 0) requests.back().prompt.push_back(kPoison);  // whose logits are NaN
    const auto expected = run(requests, true, Draws::kNever);
    EXPECT_EQ(counts_.drawn_rows, 0);
    expect_same(run(requests, true, Draws::kHere), expected);
    EXPECT_GT(counts_.drawn_rows, 0);
  }
}

TEST_F(DrawnTokens, OfTheGpuBackendAreThoseOfItsLogits) {
  std::mt19937_64 random(9);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(random_request(random, spec_.vocab_size));
    if (i % 2 == 1 && requests.back().prompt_output == PromptOutput::kNone) {
      requests.back().adapter = AdapterShelf::digest(i);
    }
  }
  expect_same(run(requests, false, Draws::kByItself), run(requests, false, Draws::kNever));
}

TEST_F(DrawnTokens, LeaveTheLogitsWhereTheyAre) {
  GenerationRequest request;
  request.prompt = {3, 4, 5};
  request.tenant = "t";
  request.sampling = {.temperature = 0.7F, .max_tokens = 6, .num_logprobs = 4};
  const auto answers = run({request, request}, true, Draws::kHere);
  EXPECT_EQ(answers[0].tokens.size(), 6U);
  EXPECT_EQ(counts_.drawn_rows, 12);
  EXPECT_EQ(counts_.logits, 0);
}

TEST_F(DrawnTokens, ComeFromTheLogitsWhereTheseAreAskedFor) {
  GenerationRequest request;
  request.prompt = {3, 4, 5};
  request.tenant = "t";
  request.sampling = {.max_tokens = 3, .keep_logits = true};
  const auto answers = run({request}, true, Draws::kHere);
  EXPECT_EQ(counts_.drawn_rows, 0);
  EXPECT_EQ(answers[0].tokens[2].logits.size(), static_cast<std::size_t>(spec_.vocab_size));
}

}  // namespace
}  // namespace tessera

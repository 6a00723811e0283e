// perplexity_test.cpp — the demo model predicts text as well on every CPU path as on the reference.
//
// The text is what the demo's held-out prompts say, in chunks of 128 tokens. Rounding (keys in
// fp16, activations of 14 bits, a head of 8) may move a logit by what the goldens allow; it must
// not make the model worse: perplexities within 0.1 %.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/model/forward.hpp"
#include "engine/text/tokenizer.hpp"
#include "kernels/backend.hpp"
#include "tests/goldens/goldens.hpp"

namespace tessera {
namespace {

constexpr int kChunk = 128;
constexpr int kChunks = 24;
constexpr double kTolerance = 1e-3;

BackendLimits limits_with(HeadForm head) {
  return {.max_rows = kChunk,
          .max_seqs = 1,
          .max_logit_rows = kChunk,
          .num_blocks = kChunk / 16,
          .block_size = 16,
          .num_threads = 2,
          .head_form = head};
}

std::vector<TokenId> held_out_tokens(const PackedModel& model) {
  std::string text;
  for (const char* name : {"order-json", "triage", "morvish"}) {
    std::istringstream lines(
        goldens::read_file(goldens::kDemo / "heldout" / (std::string(name) + ".jsonl")));
    for (std::string line; std::getline(lines, line);) {
      text += nlohmann::json::parse(line).at("prompt").get<std::string>() + "\n";
    }
  }
  const auto tokenizer = Tokenizer::from_json(model.info().tokenizer);
  return tokenizer.value()->encode(text);
}

double negative_log_probability(std::span<const float> logits, TokenId token) {
  const double largest = *std::ranges::max_element(logits);
  double total = 0.0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(total) - static_cast<double>(logits[static_cast<std::size_t>(token)]);
}

// Mean surprise at each token but the first, in nats.
double surprise(Backend& backend, const ModelSpec& spec, std::span<const TokenId> chunk) {
  std::vector<std::int32_t> positions(kChunk);
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<BlockId> blocks(kChunk / 16);
  std::iota(blocks.begin(), blocks.end(), 0);
  const std::vector<std::int32_t> seq_indptr = {0, kChunk};
  const std::vector<std::int32_t> block_indptr = {0, kChunk / 16};
  const std::vector<AdapterSlot> slots = {kNoAdapter};
  run_forward(backend, spec.num_layers(),
              {.tokens = chunk,
               .positions = positions,
               .seq_indptr = seq_indptr,
               .blocks = blocks,
               .block_indptr = block_indptr,
               .slots = slots,
               .head_rows = positions});
  double sum = 0.0;
  for (int i = 0; i + 1 < kChunk; ++i) {
    sum += negative_log_probability(backend.logits(i), chunk[static_cast<std::size_t>(i + 1)]);
  }
  return sum / (kChunk - 1);
}

double perplexity(Backend& backend, const ModelSpec& spec, std::span<const TokenId> tokens) {
  double sum = 0.0;
  for (std::size_t i = 0; i < kChunks; ++i) {
    sum += surprise(backend, spec, tokens.subspan(i * kChunk, kChunk));
  }
  return std::exp(sum / kChunks);
}

TEST(Perplexity, OfTheDemoIsThatOfTheReferenceOnEveryPath) {
  const auto model = goldens::pack_model(goldens::kDemo / "base");
  const auto tokens = held_out_tokens(*model);
  ASSERT_GE(tokens.size(), std::size_t{kChunk} * kChunks);
  const auto reference = make_reference_backend(model->weights(), limits_with(HeadForm::kBf16));
  const double expected = perplexity(*reference, model->spec(), tokens);
  EXPECT_GT(expected, 1.0);
  EXPECT_LT(expected, 100.0);  // it has learned such text; it does not know it by heart
  int paths = 0;
  for (const std::string path : {"portable", "avx2", "avx512", "avx512vnni"}) {
    for (const HeadForm head : {HeadForm::kBf16, HeadForm::kInt8}) {
      std::unique_ptr<Backend> backend;
      try {
        backend = make_cpu_backend(model->weights(), limits_with(head), path);
      } catch (const std::invalid_argument&) {
        continue;  // this processor does not have it
      }
      const double actual = perplexity(*backend, model->spec(), tokens);
      EXPECT_NEAR(actual / expected, 1.0, kTolerance) << path;
      std::cout << path << (head == HeadForm::kInt8 ? ", int8 head: " : ": ") << actual
                << ", reference " << expected << '\n';
      ++paths;
    }
  }
  EXPECT_GE(paths, 2);  // the portable path is everywhere
}

}  // namespace
}  // namespace tessera

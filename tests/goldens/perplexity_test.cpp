// perplexity_test.cpp — the demo model predicts text as well on every CPU path as on the reference.
//
// The text is what the demo's held-out prompts say, in chunks of 128 tokens. Rounding (keys in
// fp16, activations of 14 bits, a head of 8) may move a logit by what the goldens allow; it must
// not make the model worse: perplexities within 0.1 %.
#include "tests/goldens/perplexity.hpp"

#include <iostream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "kernels/backend.hpp"

namespace tessera {
namespace {

using goldens::kChunk;

constexpr int kChunks = 24;
constexpr double kTolerance = 1e-3;

double perplexity(Backend& backend, const ModelSpec& spec, std::span<const TokenId> tokens) {
  return goldens::perplexity(backend, spec, tokens, kChunks);
}

TEST(Perplexity, OfTheDemoIsThatOfTheReferenceOnEveryPath) {
  const auto model = goldens::pack_model(goldens::kDemo / "base");
  const auto tokens = goldens::held_out_tokens(model->info().tokenizer);
  ASSERT_GE(tokens.size(), std::size_t{kChunk} * kChunks);
  const auto reference =
      make_reference_backend(model->weights(), goldens::perplexity_limits(HeadForm::kBf16));
  const double expected = perplexity(*reference, model->spec(), tokens);
  EXPECT_GT(expected, 1.0);
  EXPECT_LT(expected, 100.0);  // it has learned such text; it does not know it by heart
  int paths = 0;
  for (const std::string path : {"portable", "avx2", "avx512", "avx512vnni", "amx"}) {
    for (const HeadForm head : {HeadForm::kBf16, HeadForm::kInt8}) {
      std::unique_ptr<Backend> backend;
      try {
        backend = make_cpu_backend(model->weights(), goldens::perplexity_limits(head), path);
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

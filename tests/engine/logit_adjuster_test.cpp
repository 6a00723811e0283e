#include "engine/logit_adjuster.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace tessera {
namespace {

const std::vector<float> kLogits{2.0F, -1.0F, 0.5F, 4.0F, 0.0F};
const std::vector<TokenId> kEnds{4};

std::vector<float> adjusted(const SamplingParams& params, const std::vector<TokenId>& prompt,
                            const std::vector<TokenId>& answer) {
  LogitAdjuster adjuster(5);
  TokenCounts counts(prompt, params);
  for (const TokenId token : answer) counts.add(token);
  const auto result =
      adjuster.adjust(kLogits, params, counts, kEnds, static_cast<int>(answer.size()));
  return {result.begin(), result.end()};
}

TEST(LogitAdjuster, NothingAskedForIsTheSameMemory) {
  LogitAdjuster adjuster(5);
  const SamplingParams params;
  const TokenCounts counts({}, params);
  EXPECT_EQ(adjuster.adjust(kLogits, params, counts, kEnds, 0).data(), kLogits.data());
}

TEST(LogitAdjuster, FrequencyAndPresenceCountTheAnswerAlone) {
  SamplingParams params;
  params.frequency_penalty = 0.5F;
  params.presence_penalty = 0.25F;
  EXPECT_EQ(adjusted(params, {3, 3}, {0, 0, 1}),
            (std::vector<float>{2.0F - 1.25F, -1.0F - 0.75F, 0.5F, 4.0F, 0.0F}));
}

TEST(LogitAdjuster, RepetitionCountsPromptAndAnswerOnce) {
  SamplingParams params;
  params.repetition_penalty = 2.0F;
  EXPECT_EQ(adjusted(params, {3, 3, 1}, {0, 0}),
            (std::vector<float>{1.0F, -2.0F, 0.5F, 2.0F, 0.0F}));
}

TEST(LogitAdjuster, PenaltiesComeBeforeTheBias) {
  SamplingParams params;
  params.repetition_penalty = 2.0F;
  params.frequency_penalty = 1.0F;
  params.logit_bias = {{0, 10.0F}, {2, -100.0F}};
  EXPECT_EQ(adjusted(params, {}, {0}),
            (std::vector<float>{2.0F / 2.0F - 1.0F + 10.0F, -1.0F, -99.5F, 4.0F, 0.0F}));
}

TEST(LogitAdjuster, NegativePenaltiesReward) {
  SamplingParams params;
  params.presence_penalty = -2.0F;
  EXPECT_EQ(adjusted(params, {}, {2})[2], 2.5F);
}

TEST(LogitAdjuster, EndTokensWaitForMinTokens) {
  SamplingParams params;
  params.min_tokens = 2;
  params.stop_token_ids = {3};
  EXPECT_TRUE(std::isinf(adjusted(params, {}, {0})[4]));
  EXPECT_TRUE(std::isinf(adjusted(params, {}, {0})[3]));
  EXPECT_EQ(adjusted(params, {}, {0, 0}), kLogits);
}

}  // namespace
}  // namespace tessera

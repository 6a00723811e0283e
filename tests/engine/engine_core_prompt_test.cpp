// engine_core_prompt_test.cpp — what may be asked of a prompt: states, log-probabilities, logits.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_core.hpp"
#include "tests/engine/engine_core_fixture.hpp"

namespace tessera {
namespace {

TEST_F(EngineCoreTest, TheStateOfAPromptIsThatOfItsLastTokenOrTheMeanOfAll) {
  auto last = request({5, 7, 9}, 0);
  last.prompt_output = PromptOutput::kLastState;
  const Answer of_last = run(last);
  EXPECT_EQ(of_last.finish->reason, FinishReason::kStop);
  EXPECT_EQ(of_last.finish->generated_tokens, 0);
  EXPECT_EQ(of_last.finish->computed_prompt_tokens, 3);
  EXPECT_EQ(of_last.finish->state, (std::vector<float>{2, 9, 0}));
  EXPECT_TRUE(of_last.tokens.empty());

  auto mean = last;
  mean.prompt_output = PromptOutput::kMeanState;
  EXPECT_EQ(run(mean).finish->state, (std::vector<float>{1, 7, 0}));
}

// A mean needs the state of every token, so no prefix from the cache will do; the last one's does
// not. Chunks and preemption change nothing.
TEST_F(EngineCoreTest, AMeanIsComputedWholeAndALastStateBehindItsCachedPrefix) {
  EngineConfig config;
  config.backend.max_rows = 8;
  restart(config);
  std::vector<TokenId> prompt(40);
  for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<TokenId>(1 + i % 7);
  run(request(prompt, 1));
  auto asked = request(prompt, 0);
  asked.prompt_output = PromptOutput::kMeanState;
  const Answer mean = run(asked);
  EXPECT_EQ(mean.finish->cached_prompt_tokens, 0);
  EXPECT_EQ(mean.finish->state.at(0), 19.5F);
  asked.prompt_output = PromptOutput::kLastState;
  const Answer last = run(asked);
  EXPECT_EQ(last.finish->cached_prompt_tokens, 32);
  EXPECT_EQ(last.finish->state.at(0), 39.0F);
}

TEST_F(EngineCoreTest, APromptsLogprobsAreThoseOfItsTokensAsIfTheyWereAnswers) {
  EngineConfig config;
  config.backend.max_seqs = 2;
  config.backend.max_logit_rows = 5;  // three of prompts a step
  restart(config);
  auto asked = request({1, 2, 3}, 9);
  asked.sampling.num_logprobs = 2;
  const Answer answered = run(asked);
  auto whole = asked;
  for (const TokenId id : answered.ids()) whole.prompt.push_back(id);
  whole.prompt_output = PromptOutput::kLogprobs;
  whole.sampling.max_tokens = 0;
  const Answer scored = run(whole);
  EXPECT_EQ(scored.finish->reason, FinishReason::kLength);
  ASSERT_EQ(scored.prompt.size(), 11U);
  EXPECT_EQ(scored.prompt[0].id, 2);
  EXPECT_EQ(std::vector(scored.prompt.begin() + 2, scored.prompt.end()), answered.tokens);

  whole.sampling.max_tokens = 2;  // and goes on
  const Answer both = run(whole);
  EXPECT_EQ(both.prompt, scored.prompt);
  EXPECT_EQ(both.tokens.size(), 2U);
}

TEST_F(EngineCoreTest, TwoWhoWantTheirPromptsLogprobsShareTheRowsForIt) {
  EngineConfig config;
  config.backend.max_seqs = 2;
  config.backend.max_logit_rows = 5;
  restart(config);
  auto asked = request({1, 2, 3, 4, 5, 6, 7}, 0);
  asked.sampling.num_logprobs = 0;
  asked.prompt_output = PromptOutput::kLogprobs;
  Answer first = add(asked);
  Answer second = add(asked);
  Answer other = add(request({9, 9}, 4));
  int steps = 0;
  for (; core_->num_requests() > 0; ++steps) EXPECT_TRUE(step());
  for (Answer* answer : {&first, &second, &other}) collect(*answer);
  EXPECT_EQ(first.prompt.size(), 6U);
  EXPECT_EQ(second.prompt, first.prompt);
  EXPECT_EQ(other.tokens.size(), 4U);
  EXPECT_LE(steps, 9);
}

TEST_F(EngineCoreTest, WhatIsWantedOfAPromptIsCheckedBeforeItIsTaken) {
  const auto refused = [&](const GenerationRequest& asked) {
    const auto checked = core_->check(asked);
    return checked ? std::string() : checked.error().param;
  };
  auto asked = request({1, 2}, 0);
  EXPECT_EQ(refused(asked), "max_tokens");
  asked.prompt_output = PromptOutput::kMeanState;
  EXPECT_EQ(refused(asked), "");
  asked.sampling.max_tokens = 1;
  EXPECT_EQ(refused(asked), "max_tokens");
  asked.prompt_output = PromptOutput::kLogprobs;
  EXPECT_EQ(refused(asked), "logprobs");
  asked.sampling.num_logprobs = 0;
  EXPECT_EQ(refused(asked), "");
  EngineConfig config;
  config.backend.max_logit_rows = config.backend.max_seqs;
  restart(config);
  EXPECT_EQ(refused(asked), "echo");
}

TEST_F(EngineCoreTest, RawLogitsAreToldOfEachTokenOnlyToWhoAsks) {
  auto asked = request({1, 2, 3}, 2);
  for (const GeneratedToken& token : run(asked).tokens) EXPECT_TRUE(token.logits.empty());
  asked.sampling.temperature = 0.0F;
  asked.sampling.logit_bias = {{5, 50.0F}};  // which raw logits know nothing of
  asked.sampling.keep_logits = true;
  const Answer answer = run(asked);
  ASSERT_EQ(answer.tokens.size(), 2U);
  asked.sampling.logit_bias.clear();
  const Answer plain = run(asked);
  EXPECT_EQ(answer.tokens[0].logits, plain.tokens[0].logits);
  const std::vector<float>& logits = plain.tokens[0].logits;
  ASSERT_EQ(std::ssize(logits), spec_.vocab_size);
  EXPECT_EQ(std::ranges::max_element(logits) - logits.begin(), plain.tokens[0].id);
}

TEST_F(EngineCoreTest, APoisonedPromptHasNeitherStateNorLogprobs) {
  auto asked = request({1, kPoison, 3, 4}, 0);
  asked.sampling.num_logprobs = 0;
  asked.prompt_output = PromptOutput::kLogprobs;
  const Answer poisoned = run(asked);
  EXPECT_EQ(poisoned.finish->reason, FinishReason::kError);
  EXPECT_EQ(poisoned.prompt.size(), 1U);  // what came before it
}

}  // namespace
}  // namespace tessera

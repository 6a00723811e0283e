// engine_core_test.cpp — requests from their arrival to their end, whatever ends them.
#include "engine/engine_core.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/engine_core_fixture.hpp"

namespace tessera {
namespace {

TEST_F(EngineCoreTest, AnswersWithAsManyTokensAsAsked) {
  const Answer answer = run(request({1, 2, 3}, 5));
  EXPECT_EQ(answer.tokens.size(), 5U);
  ASSERT_TRUE(answer.finish);
  EXPECT_EQ(answer.finish->reason, FinishReason::kLength);
  EXPECT_EQ(answer.finish->generated_tokens, 5);
  EXPECT_EQ(answer.finish->cached_prompt_tokens, 0);
  EXPECT_EQ(answer.finish->computed_prompt_tokens, 3);
}

TEST_F(EngineCoreTest, TokensComeOneAStepAsTheyAreMade) {
  Answer answer = add(request({1, 2, 3}, 3));
  for (std::size_t n = 1; n <= 3; ++n) {
    step();
    collect(answer);
    EXPECT_EQ(answer.tokens.size(), n);
    EXPECT_EQ(answer.finish.has_value(), n == 3);
  }
  EXPECT_FALSE(step());
}

TEST_F(EngineCoreTest, AnEndTokenStopsAndIsCountedButNotShown) {
  const auto all = run(request({1, 2, 3}, 8)).ids();
  const auto third = all[2];
  ASSERT_EQ(std::ranges::find(all, third) - all.begin(), 2);
  EngineConfig config;
  config.eos_ids = {third};
  restart(config);
  const Answer stopped = run(request({1, 2, 3}, 8));
  EXPECT_EQ(stopped.ids(), (std::vector<TokenId>{all[0], all[1]}));
  EXPECT_EQ(stopped.finish->reason, FinishReason::kStop);
  EXPECT_EQ(stopped.finish->generated_tokens, 3);

  auto ignoring = request({1, 2, 3}, 8);
  ignoring.sampling.ignore_eos = true;
  EXPECT_EQ(run(ignoring).ids(), all);
}

TEST_F(EngineCoreTest, AStopTokenOfTheRequestStopsItAlone) {
  const auto all = run(request({1, 2, 3}, 8)).ids();
  auto stopping = request({1, 2, 3}, 8);
  stopping.sampling.stop_token_ids = {all[1]};
  stopping.sampling.ignore_eos = true;
  Answer other = add(request({1, 2, 3}, 8));
  EXPECT_EQ(run(stopping).finish->reason, FinishReason::kStop);
  collect(other);
  EXPECT_EQ(other.ids(), all);
}

TEST_F(EngineCoreTest, ARepeatedPromptIsServedFromTheCacheOfItsSaltOnly) {
  std::vector<TokenId> prompt(40, 3);
  auto with_salt = request(prompt, 2);
  with_salt.cache_salt = 1;
  const auto first = run(with_salt);
  const auto second = run(with_salt);
  EXPECT_EQ(first.finish->cached_prompt_tokens, 0);
  EXPECT_EQ(second.finish->cached_prompt_tokens, 32);
  EXPECT_EQ(first.ids(), second.ids());
  with_salt.cache_salt = 2;
  EXPECT_EQ(run(with_salt).finish->cached_prompt_tokens, 0);
}

// Whether a sequence turns by the long frequencies is settled before its first step, by what it may
// grow to.
TEST_F(EngineCoreTest, LongAndShortSequencesOfLongRopeShareNoPrefix) {
  spec_.ropes.front().long_inv_freq = spec_.ropes.front().inv_freq;
  spec_.ropes.front().short_positions = 44;
  restart({});
  const std::vector<TokenId> prompt(40, 3);
  const auto shorter = run(request(prompt, 4));
  const auto longer = run(request(prompt, 5));
  EXPECT_EQ(longer.finish->cached_prompt_tokens, 0);
  EXPECT_NE(shorter.ids()[0], longer.ids()[0]);
  EXPECT_EQ(run(request(prompt, 3)).finish->cached_prompt_tokens, 32);
  EXPECT_EQ(run(request(prompt, 50)).finish->cached_prompt_tokens, 32);
}

// The choices of a request arrive together; the first one's blocks serve them all.
TEST_F(EngineCoreTest, ThoseThatBeginAlikeComputeTheirBeginningOnce) {
  std::vector<TokenId> prompt(100, 3);
  std::vector<Answer> choices;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    auto asked = request(prompt, 3);
    asked.sampling.temperature = 1.0F;
    asked.sampling.seed = seed;
    choices.push_back(add(asked));
  }
  Answer other = add(request({5, 6, 7}, 1));
  step();
  collect(other);
  EXPECT_TRUE(other.finish) << "nobody else waits";
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  for (Answer& choice : choices) collect(choice);
  EXPECT_EQ(choices[0].finish->cached_prompt_tokens, 0);
  for (std::size_t i = 1; i < choices.size(); ++i) {
    EXPECT_EQ(choices[i].finish->cached_prompt_tokens, 96);
    EXPECT_EQ(choices[i].tokens.size(), 3U);
  }
  // 100 of the first, 4 of each other's prompt; 2 of each answer; 3 of the stranger's prompt.
  EXPECT_EQ(core_->stats().num_computed_tokens, 100U + 3 * 4 + 4 * 2 + 3);
}

// Whoever goes takes nothing of what others wait for with him.
TEST_F(EngineCoreTest, WhoWaitsForABeginningGoesOnWhenItsMakerLeaves) {
  EngineConfig config;
  config.backend.max_rows = 16;
  restart(config);
  Answer maker = add(request(std::vector<TokenId>(100, 3), 3));
  Answer waiting = add(request(std::vector<TokenId>(100, 3), 3));
  step();
  step();
  EXPECT_EQ(core_->stats().num_running, 1);
  maker.stream->cancel();
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(waiting);
  EXPECT_EQ(waiting.tokens.size(), 3U);
  EXPECT_EQ(waiting.finish->cached_prompt_tokens, 32);
}

TEST_F(EngineCoreTest, CancelledRequestsLeaveWithinOneStep) {
  Answer cancelled = add(request({1, 2, 3}, 100));
  Answer other = add(request({4, 5, 6}, 100));
  step();
  cancelled.stream->cancel();
  step();
  collect(cancelled);
  ASSERT_TRUE(cancelled.finish);
  EXPECT_EQ(cancelled.finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(cancelled.finish->generated_tokens, 1);
  EXPECT_EQ(core_->num_requests(), 1);
  EXPECT_EQ(core_->stats().num_running, 1);
}

TEST_F(EngineCoreTest, TheFinishSaysHowMuchOfThePromptWasComputed) {
  EngineConfig config;
  config.backend.max_rows = 8;
  config.backend.max_seqs = 1;
  restart(config);
  Answer halfway = add(request(std::vector<TokenId>(20, 3), 4));
  Answer waiting = add(request({1, 2, 3}, 4));
  step();
  halfway.stream->cancel();
  waiting.stream->cancel();
  step();
  collect(halfway);
  collect(waiting);
  EXPECT_EQ(halfway.finish->computed_prompt_tokens, 8);
  EXPECT_EQ(halfway.finish->generated_tokens, 0);
  EXPECT_EQ(waiting.finish->computed_prompt_tokens, 0);
}

TEST_F(EngineCoreTest, AnAbortStormLeavesNothingBehind) {
  EngineConfig config;
  config.backend.num_blocks = 20;
  config.backend.max_rows = 24;
  config.backend.max_seqs = 6;
  restart(config);
  std::vector<Answer> answers;
  for (int i = 0; i < 300; ++i) {
    auto asked = request(std::vector<TokenId>(static_cast<std::size_t>(1 + i % 37), 2), 20);
    asked.tenant = std::to_string(i % 5);
    if (i % 3 == 0) asked.adapter = AdapterShelf::digest(1 + i % 4);
    answers.push_back(add(asked));
    if (i % 4 == 3) step();
    if (i % 2 == 0) answers[static_cast<std::size_t>(i / 2)].stream->cancel();
  }
  for (Answer& answer : answers) answer.stream->cancel();
  step();
  EXPECT_EQ(core_->num_requests(), 0);
  EXPECT_EQ(core_->stats().num_used_blocks, 0);
  EXPECT_EQ(core_->stats().num_waiting + core_->stats().num_waiting_for_adapter, 0);
  for (Answer& answer : answers) {
    collect(answer);
    EXPECT_TRUE(answer.finish);
  }
}

TEST_F(EngineCoreTest, ThrowingBackendFailsTheRunningAndTheEngineGoesOn) {
  const auto expected = run(request({1, 2, 3}, 4)).ids();
  EngineConfig config;
  config.backend.max_seqs = 1;
  restart(config);
  Answer running = add(request({7, 8, 9}, 4));
  Answer waiting = add(request({1, 2, 3}, 4));
  backend_->throw_after(2);
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(running);
  EXPECT_EQ(running.finish->reason, FinishReason::kError);
  EXPECT_EQ(running.finish->generated_tokens, 2);
  EXPECT_EQ(running.finish->message.find("bus"), std::string::npos) << "that is for the log";
  EXPECT_EQ(failure_, "the device has fallen off the bus");
  EXPECT_EQ(core_->stats().num_failed_steps, 1U);
  collect(waiting);
  EXPECT_EQ(waiting.ids(), expected);
}

TEST_F(EngineCoreTest, OutputThatIsNotFiniteFailsItsRequestOnly) {
  Answer poisoned = add(request({1, kPoison, 3}, 4));
  Answer healthy = add(request({1, 2, 3}, 4));
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(poisoned);
  EXPECT_EQ(poisoned.finish->reason, FinishReason::kError);
  EXPECT_EQ(poisoned.finish->code, Code::kInternalError);
  EXPECT_TRUE(poisoned.tokens.empty());
  collect(healthy);
  EXPECT_EQ(healthy.finish->reason, FinishReason::kLength);
}

TEST_F(EngineCoreTest, RequestsThatCannotFitAreRefusedWithTheirNumbers) {
  EXPECT_EQ(core_->max_context(), 256);
  const std::vector<TokenId> prompt(200, 1);
  EXPECT_TRUE(core_->check(request(prompt, 56)));
  const auto refused = core_->check(request(prompt, 57));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kContextLengthExceeded);
  EXPECT_NE(refused.error().message.find("maximum context length is 256 tokens"),
            std::string::npos);
  EXPECT_NE(refused.error().message.find("257"), std::string::npos);
}

TEST_F(EngineCoreTest, ThePoolBoundsTheContextToo) {
  EngineConfig config;
  config.backend.num_blocks = 3;
  config.backend.block_size = 4;
  restart(config);
  EXPECT_EQ(core_->max_context(), 12);
  EXPECT_FALSE(core_->check(request({1, 2, 3}, 10)));
  EXPECT_EQ(run(request({1, 2, 3}, 9)).tokens.size(), 9U);
}

TEST_F(EngineCoreTest, ParametersOutOfRangeAreNamed) {
  const auto param_of = [&](auto change) {
    auto wrong = request({1, 2, 3}, 4);
    change(wrong);
    const auto checked = core_->check(wrong);
    EXPECT_FALSE(checked);
    return checked ? std::string() : checked.error().param;
  };
  EXPECT_EQ(param_of([](auto& r) { r.sampling.temperature = -1.0F; }), "temperature");
  EXPECT_EQ(param_of([](auto& r) { r.sampling.temperature = std::nanf(""); }), "temperature");
  EXPECT_EQ(param_of([](auto& r) { r.sampling.top_p = 0.0F; }), "top_p");
  EXPECT_EQ(param_of([](auto& r) { r.sampling.min_p = 1.5F; }), "min_p");
  EXPECT_EQ(param_of([](auto& r) { r.sampling.top_k = -1; }), "top_k");
  EXPECT_EQ(param_of([](auto& r) { r.sampling.max_tokens = 0; }), "max_tokens");
  EXPECT_EQ(param_of([](auto& r) { r.sampling.num_logprobs = 21; }), "top_logprobs");
  EXPECT_EQ(param_of([](auto& r) { r.prompt.clear(); }), "prompt");
  EXPECT_EQ(param_of([](auto& r) { r.prompt[0] = 96; }), "prompt");
  EXPECT_EQ(param_of([](auto& r) { r.prompt[0] = -1; }), "prompt");
}

TEST_F(EngineCoreTest, StatsCountWhatHappened) {
  run(request(std::vector<TokenId>(40, 3), 3));
  run(request(std::vector<TokenId>(40, 3), 3));
  const EngineStats stats = core_->stats();
  EXPECT_EQ(stats.num_running, 0);
  EXPECT_EQ(stats.num_used_blocks, 0);
  EXPECT_EQ(stats.num_steps, 6U);
  EXPECT_EQ(stats.num_prompt_tokens, 80U);
  EXPECT_EQ(stats.num_cached_tokens, 32U);
  EXPECT_EQ(stats.num_generated_tokens, 6U);
  EXPECT_EQ(stats.num_computed_tokens, 40U + 2 + 8 + 2);
  EXPECT_EQ(stats.num_finished[static_cast<std::size_t>(FinishReason::kLength)], 2U);
}

TEST_F(EngineCoreTest, WhoIsLeftWhenTheEngineGoesIsCancelled) {
  Answer running = add(request({1, 2, 3}, 50));
  step();
  Answer waiting = add(request({1, 2, 3}, 50));
  core_.reset();
  collect(running);
  collect(waiting);
  EXPECT_EQ(running.finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(waiting.finish->reason, FinishReason::kCancelled);
}

TEST_F(EngineCoreTest, BeyondItsLimitTheNewestOfTheHeaviestTenantGoes) {
  EngineConfig config;
  config.max_requests = 4;
  restart(config);
  const auto of_tenant = [](const char* tenant) {
    auto asked = request({1, 2, 3}, 2);
    asked.tenant = tenant;
    return asked;
  };
  std::vector<Answer> heavy;
  for (int i = 0; i < 4; ++i) heavy.push_back(add(of_tenant("heavy")));
  core_->shed();
  EXPECT_EQ(core_->num_requests(), 4);
  Answer light = add(of_tenant("light"));
  Answer other = add(of_tenant("other"));
  core_->shed();
  EXPECT_EQ(core_->num_requests(), 4);
  for (Answer& answer : heavy) collect(answer);
  EXPECT_FALSE(heavy[0].finish);
  EXPECT_FALSE(heavy[1].finish);
  for (const int shed : {2, 3}) {
    const auto& finish = heavy[static_cast<std::size_t>(shed)].finish;
    ASSERT_TRUE(finish);
    EXPECT_EQ(finish->reason, FinishReason::kError);
    EXPECT_EQ(finish->code, Code::kQueueFull);
    EXPECT_EQ(finish->computed_prompt_tokens, 0);
  }
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(light);
  collect(other);
  EXPECT_EQ(light.tokens.size(), 2U);
  EXPECT_EQ(other.tokens.size(), 2U);
}

TEST_F(EngineCoreTest, WhoHasBegunIsNotShed) {
  EngineConfig config;
  config.max_requests = 1;
  restart(config);
  Answer first = add(request({1, 2, 3}, 3));
  step();
  Answer second = add(request({1, 2}, 3));
  core_->shed();
  collect(second);
  ASSERT_TRUE(second.finish);
  EXPECT_EQ(second.finish->code, Code::kQueueFull);
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(first);
  EXPECT_EQ(first.tokens.size(), 3U);
}

}  // namespace
}  // namespace tessera

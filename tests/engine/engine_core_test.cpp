#include "engine/engine_core.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/engine/tiny_model.hpp"

namespace tessera {
namespace {

// An EngineCore over the fake backend, with what its streams have received.
class EngineCoreTest : public testing::Test {
 protected:
  struct Answer {
    std::shared_ptr<TokenStream> stream;
    std::vector<GeneratedToken> tokens = {};
    std::vector<GeneratedToken> prompt = {};
    std::optional<Finish> finish = {};

    std::vector<TokenId> ids() const {
      std::vector<TokenId> ids;
      for (const GeneratedToken& token : tokens) ids.push_back(token.id);
      return ids;
    }
  };

  EngineCoreTest() { restart({}); }

  void restart(EngineConfig config) {
    core_.reset();
    auto backend =
        std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend);
    backend_ = backend.get();
    config.on_failure = [this](std::string_view what) { failure_ = what; };
    core_ = std::make_unique<EngineCore>(std::move(backend), spec_, shelf_.cache(), config);
  }

  static GenerationRequest request(std::vector<TokenId> prompt, int max_tokens) {
    return {.prompt = std::move(prompt),
            .sampling = {.temperature = 0.0F, .max_tokens = max_tokens},
            .tenant = "t"};
  }

  Answer add(GenerationRequest request) {
    Answer answer{.stream = std::make_shared<TokenStream>([] {})};
    core_->add(std::move(request), answer.stream);
    return answer;
  }

  static void collect(Answer& answer) {
    TokenEvents events = answer.stream->take();
    std::ranges::move(events.tokens, std::back_inserter(answer.tokens));
    std::ranges::move(events.prompt, std::back_inserter(answer.prompt));
    if (events.finished) {
      EXPECT_FALSE(answer.finish) << "finished twice";
      answer.finish = std::move(events.finished);
    }
  }

  bool step() {
    const bool computed = core_->step();
    core_->check_invariants();
    return computed;
  }

  // Steps until nobody is left.
  Answer run(GenerationRequest request) {
    Answer answer = add(std::move(request));
    while (core_->num_requests() > 0) EXPECT_TRUE(step());
    collect(answer);
    return answer;
  }

  ModelSpec spec_ = tiny_spec();
  AdapterShelf shelf_{spec_, PageType::kF32};
  FakeBackend* backend_ = nullptr;
  std::unique_ptr<EngineCore> core_;
  std::string failure_;
};

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

TEST_F(EngineCoreTest, AnAdapterThatLoadsHoldsUpItsOwnRequestOnly) {
  shelf_.close_gate();
  auto with_adapter = request({1, 2, 3}, 2);
  with_adapter.adapter = AdapterShelf::digest(1);
  Answer waiting = add(with_adapter);
  const Answer base = [&] {
    Answer answer = add(request({1, 2, 3}, 2));
    step();
    step();
    collect(answer);
    return answer;
  }();
  EXPECT_EQ(base.finish->reason, FinishReason::kLength);
  EXPECT_EQ(core_->stats().num_waiting_for_adapter, 1);
  EXPECT_FALSE(step());

  shelf_.open_gate();
  shelf_.wait_for(1);
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(waiting);
  EXPECT_EQ(waiting.tokens.size(), 2U);
  EXPECT_NE(waiting.ids(), base.ids());
}

TEST_F(EngineCoreTest, AnAdapterThatCannotBeLoadedFailsItsRequestsWithTheReason) {
  shelf_.break_adapter(9);
  shelf_.wait_for(9);
  auto with_adapter = request({1, 2, 3}, 2);
  with_adapter.adapter = AdapterShelf::digest(9);
  Answer answer = add(with_adapter);
  Answer base = add(request({1, 2, 3}, 1));
  step();
  collect(answer);
  ASSERT_TRUE(answer.finish);
  EXPECT_EQ(answer.finish->reason, FinishReason::kError);
  EXPECT_EQ(answer.finish->code, Code::kCorrupt);
  EXPECT_NE(answer.finish->message.find("damaged"), std::string::npos);
  collect(base);
  EXPECT_EQ(base.finish->reason, FinishReason::kLength);
}

TEST_F(EngineCoreTest, AnAdapterOfTooHighARankIsRefusedAndNamed) {
  EngineConfig config;
  config.backend.max_rank = 2;
  restart(config);
  shelf_.wait_for(1);
  auto with_adapter = request({1, 2, 3}, 2);
  with_adapter.adapter = AdapterShelf::digest(1);
  Answer answer = add(with_adapter);
  EXPECT_FALSE(step());
  collect(answer);
  EXPECT_EQ(answer.finish->reason, FinishReason::kError);
  EXPECT_NE(answer.finish->message.find("rank"), std::string::npos);
}

TEST_F(EngineCoreTest, AnAdapterWithoutRoomInHostMemoryWaitsForOthersToEnd) {
  const auto bytes = [&](int number) {
    return pack_adapter(random_adapter(spec_, static_cast<std::uint64_t>(number)), PageType::kF32)
        ->bytes();
  };
  AdapterShelf small(spec_, PageType::kF32, {.max_bytes = std::max(bytes(1), bytes(2))});
  core_ = std::make_unique<EngineCore>(
      std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), BackendLimits{}), spec_,
      small.cache(), EngineConfig{});
  auto first = request({1, 2, 3}, 3);
  first.adapter = AdapterShelf::digest(1);
  auto second = first;
  second.adapter = AdapterShelf::digest(2);
  small.wait_for(1);
  Answer running = add(first);
  step();
  Answer waiting = add(second);
  small.wait_for(2);
  step();
  EXPECT_EQ(core_->stats().num_waiting_for_adapter, 1);
  step();
  collect(running);
  EXPECT_EQ(running.finish->reason, FinishReason::kLength);

  step();  // the idle slot lets go of its pages
  small.wait_for(2);
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(waiting);
  EXPECT_EQ(waiting.finish->reason, FinishReason::kLength);
  core_.reset();
}

// The room that one of them gets is the room that the other was refused for.
TEST_F(EngineCoreTest, TwoAdaptersWithoutRoomBothGetThatOfIdleOnes) {
  const auto bytes = [&](int number) {
    return pack_adapter(random_adapter(spec_, static_cast<std::uint64_t>(number)), PageType::kF32)
        ->bytes();
  };
  const std::size_t pair = std::max(bytes(1) + bytes(2), bytes(3) + bytes(4));
  AdapterShelf small(spec_, PageType::kF32, {.max_bytes = pair});
  core_ = std::make_unique<EngineCore>(
      std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), BackendLimits{}), spec_,
      small.cache(), EngineConfig{});
  const auto ask = [&](int number) {
    auto asked = request({1, 2, 3}, 1);
    asked.adapter = AdapterShelf::digest(number);
    small.wait_for(number);
    return add(asked);
  };
  for (const int number : {1, 2}) {
    ask(number);
    while (core_->num_requests() > 0) step();
  }
  Answer third = ask(3);
  Answer fourth = ask(4);
  ASSERT_EQ(small.cache().stats().failures, 2U) << "they had room from the start";
  step();  // the idle slots let go
  for (const int number : {3, 4}) small.wait_for(number);
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  for (Answer* answer : {&third, &fourth}) {
    collect(*answer);
    EXPECT_EQ(answer->finish->reason, FinishReason::kLength) << answer->finish->message;
  }
  core_.reset();
}

// Nine adapters one after the other, three of which fit, so that they borrow; and then forty
// requests of them and the base at once, so that KV does.
TEST_F(EngineCoreTest, AnswersAreTheSameWhicheverSideHasTheMemory) {
  constexpr std::uint64_t kSeed = 77;
  RecordProperty("seed", std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 40; ++i) {
    std::vector<TokenId> prompt;
    for (std::size_t n = 1 + random() % 60; n > 0; --n)
      prompt.push_back(static_cast<TokenId>(1 + random() % 9));
    requests.push_back(request(prompt, static_cast<int>(1 + random() % 60)));
    if (i % 2 == 0) continue;
    requests.back().adapter = AdapterShelf::digest(static_cast<int>(1 + random() % 9));
  }
  std::vector<std::vector<TokenId>> expected;
  for (int number = 1; number < 10; ++number) shelf_.wait_for(number);
  for (const GenerationRequest& alone : requests) expected.push_back(run(alone).ids());

  std::size_t adapter_bytes = 0;
  for (std::uint64_t number = 1; number < 10; ++number) {
    const auto pages = pack_adapter(random_adapter(spec_, number), PageType::kF32);
    adapter_bytes = std::max(adapter_bytes, pages->footprint());
  }
  AdapterShelf small(spec_, PageType::kF32,
                     {.max_bytes = 3 * adapter_bytes,
                      .loads = {.max_loading_of_tenant = 8, .load_burst_of_tenant = 1 << 20}});
  EngineConfig config;
  config.max_context = 128;
  config.backend.block_size = 8;
  config.backend.num_blocks = 48;
  config.backend.max_rows = 16;
  config.shares = {.block_bytes = adapter_bytes / 8, .kv_share = 32, .kv_least = 16};
  core_ = std::make_unique<EngineCore>(
      std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend), spec_,
      small.cache(), config);
  int least = config.backend.num_blocks;
  int most = 0;
  const auto run_all = [&] {
    while (core_->num_requests() > 0) {
      if (!step()) std::this_thread::yield();  // a loader is at work
      least = std::min(least, core_->stats().num_blocks);
      most = std::max(most, core_->stats().num_blocks);
    }
  };
  for (int round = 0; round < 3; ++round) {
    for (int number = 1; number < 10; ++number) {
      auto shortest = request({1}, 1);
      shortest.adapter = AdapterShelf::digest(number);
      add(shortest);
      run_all();
    }
  }
  EXPECT_LT(least, config.shares.kv_share) << "adapters never borrowed";

  for (int number = 1; number < 10; ++number) core_->evict_adapter(AdapterShelf::digest(number));
  small.close_gate();
  std::vector<Answer> answers;
  for (const GenerationRequest& each : requests) answers.push_back(add(each));
  for (int i = 0; i < 20; ++i) step();
  small.open_gate();
  run_all();
  EXPECT_GT(most, config.shares.kv_share) << "KV never borrowed";
  for (std::size_t i = 0; i < answers.size(); ++i) {
    collect(answers[i]);
    EXPECT_EQ(answers[i].finish->reason, FinishReason::kLength) << answers[i].finish->message;
    EXPECT_EQ(answers[i].ids(), expected[i]) << "request " << i;
  }
  core_.reset();
}

TEST_F(EngineCoreTest, AnAdapterLargerThanHostMemoryFailsItsRequest) {
  AdapterShelf tiny(spec_, PageType::kF32, {.max_bytes = 64});
  core_ = std::make_unique<EngineCore>(
      std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), BackendLimits{}), spec_,
      tiny.cache(), EngineConfig{});
  tiny.wait_for(1);
  auto too_large = request({1, 2, 3}, 3);
  too_large.adapter = AdapterShelf::digest(1);
  Answer answer = add(too_large);
  EXPECT_FALSE(step());
  collect(answer);
  ASSERT_TRUE(answer.finish);
  EXPECT_EQ(answer.finish->reason, FinishReason::kError);
  EXPECT_EQ(answer.finish->code, Code::kStorageQuotaExceeded);
  core_.reset();
}

TEST_F(EngineCoreTest, AMixIsItsAdaptersTheirWeightsAndTheirOrder) {
  for (const int number : {1, 2}) shelf_.wait_for(number);
  const auto ids_of = [&](const std::vector<MixedAdapter>& mix) {
    auto asked = request({1, 2, 3}, 6);
    asked.mix = mix;
    asked.adapter = mix_digest(mix);
    EXPECT_TRUE(core_->check(asked));
    Answer answer = add(asked);
    while (core_->num_requests() > 0) EXPECT_TRUE(step());
    collect(answer);
    EXPECT_EQ(answer.finish->reason, FinishReason::kLength);
    return answer.ids();
  };
  const MixedAdapter one{.digest = AdapterShelf::digest(1), .weight = 0.7F};
  const MixedAdapter two{.digest = AdapterShelf::digest(2), .weight = 0.3F};
  const auto both = ids_of({one, two});
  EXPECT_EQ(ids_of({one, two}), both);
  EXPECT_NE(ids_of({one}), both);
  EXPECT_NE(ids_of({two, one}), both) << "the order is part of what it is";
  EXPECT_NE(ids_of({one, {.digest = two.digest, .weight = 0.4F}}), both);
  EXPECT_EQ(backend_->num_adapters(), 2);
}

TEST_F(EngineCoreTest, AMixThatCannotBeIsRefused) {
  const auto refusal = [&](const std::vector<MixedAdapter>& mix) {
    auto asked = request({1, 2, 3}, 2);
    asked.mix = mix;
    asked.adapter = mix_digest(mix);
    const auto checked = core_->check(asked);
    return checked ? std::string() : checked.error().param;
  };
  const MixedAdapter term{.digest = AdapterShelf::digest(1)};
  EXPECT_EQ(refusal({term}), "");
  EXPECT_EQ(refusal({term, term}), "adapters");
  EXPECT_EQ(refusal({{.digest = AdapterShelf::digest(1), .weight = std::nanf("")}}), "adapters");
  EXPECT_EQ(refusal({{.digest = AdapterShelf::digest(1), .weight = 17.0F}}), "adapters");
  std::vector<MixedAdapter> five;
  for (int number = 1; number <= 5; ++number) five.push_back({AdapterShelf::digest(number)});
  EXPECT_EQ(refusal(five), "adapters");
}

TEST_F(EngineCoreTest, AMixWaitsForAllOfItsAdaptersAndFailsWithAnyOfThem) {
  shelf_.wait_for(1);
  shelf_.break_adapter(9);
  shelf_.close_gate();
  auto asked = request({1, 2, 3}, 2);
  asked.mix = {{.digest = AdapterShelf::digest(1)}, {.digest = AdapterShelf::digest(2)}};
  asked.adapter = mix_digest(asked.mix);
  Answer waiting = add(asked);
  EXPECT_FALSE(step());
  EXPECT_EQ(core_->stats().num_waiting_for_adapter, 1);
  shelf_.open_gate();
  shelf_.wait_for(2);
  while (core_->num_requests() > 0) EXPECT_TRUE(step());
  collect(waiting);
  EXPECT_EQ(waiting.tokens.size(), 2U);

  shelf_.wait_for(9);
  asked.mix.push_back({.digest = AdapterShelf::digest(9)});
  asked.adapter = mix_digest(asked.mix);
  Answer failing = add(asked);
  EXPECT_FALSE(step());
  collect(failing);
  EXPECT_EQ(failing.finish->code, Code::kCorrupt);
}

TEST_F(EngineCoreTest, WhatHasMoreThanPairsIsNotMixed) {
  const int activated = AdapterShelf::kFirstActivated;
  for (const int number : {1, activated}) shelf_.wait_for(number);
  auto asked = request({1, 2, 3}, 2);
  asked.mix = {{.digest = AdapterShelf::digest(1)}, {.digest = AdapterShelf::digest(activated)}};
  asked.adapter = mix_digest(asked.mix);
  Answer answer = add(asked);
  EXPECT_FALSE(step());
  collect(answer);
  EXPECT_EQ(answer.finish->code, Code::kInvalidValue);
  EXPECT_NE(answer.finish->message.find("adapters[1]"), std::string::npos);
}

TEST_F(EngineCoreTest, AnActivatedAdapterAppliesFromItsLastInvocation) {
  const int number = AdapterShelf::kFirstActivated;
  shelf_.wait_for(number);
  std::vector<TokenId> prompt(40, 5);
  const auto answer_to = [&](const std::vector<TokenId>& tokens, bool with_adapter) {
    auto asked = request(tokens, 4);
    if (with_adapter) asked.adapter = AdapterShelf::digest(number);
    Answer answer = add(asked);
    while (core_->num_requests() > 0) EXPECT_TRUE(step());
    collect(answer);
    return answer;
  };
  EXPECT_EQ(answer_to(prompt, true).ids(), answer_to(prompt, false).ids())
      << "without an invocation it is the base";
  EXPECT_EQ(backend_->num_adapters(), 0);

  for (const int at : {2, 34}) {
    const auto invocation = AdapterShelf::invocation();
    std::ranges::copy(invocation, prompt.begin() + at);
  }
  const Answer base = answer_to(prompt, false);
  const Answer adapted = answer_to(prompt, true);
  EXPECT_NE(adapted.ids(), base.ids());
  EXPECT_EQ(adapted.finish->cached_prompt_tokens, 32) << "the base's blocks before position 34";
  EXPECT_EQ(answer_to(prompt, true).ids(), adapted.ids());
}

TEST_F(EngineCoreTest, AnEvictedAdapterLeavesTheDeviceAndAForgottenOnesPrefixesAreGone) {
  shelf_.wait_for(1);
  auto asked = request(std::vector<TokenId>(40, 2), 1);
  asked.adapter = AdapterShelf::digest(1);
  const auto cached = [&] {
    Answer answer = add(asked);
    while (core_->num_requests() > 0) step();
    collect(answer);
    return answer.finish->cached_prompt_tokens;
  };
  EXPECT_EQ(cached(), 0);
  EXPECT_EQ(core_->resident_adapters(), std::vector{AdapterShelf::digest(1)});
  core_->evict_adapter(AdapterShelf::digest(1));
  EXPECT_TRUE(core_->resident_adapters().empty());
  EXPECT_EQ(cached(), 32) << "evicted, but nobody needed the blocks";
  core_->forget_adapter(AdapterShelf::digest(1));
  EXPECT_EQ(cached(), 0);
}

TEST_F(EngineCoreTest, MoreAdaptersThanSlotsAreServedInTurn) {
  EngineConfig config;
  config.adapters.max_adapters = 2;
  config.adapters.max_resident = 2;
  restart(config);
  std::vector<Answer> answers;
  for (int number = 1; number <= 6; ++number) {
    shelf_.wait_for(number);
    auto with_adapter = request({1, 2, 3}, 3);
    with_adapter.adapter = AdapterShelf::digest(number);
    answers.push_back(add(with_adapter));
  }
  while (core_->num_requests() > 0) {
    ASSERT_TRUE(step());
    EXPECT_LE(backend_->num_adapters(), 2);
  }
  for (Answer& answer : answers) {
    collect(answer);
    EXPECT_EQ(answer.finish->reason, FinishReason::kLength);
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

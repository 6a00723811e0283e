// engine_core_adapters_test.cpp — adapters of requests: waited for, without room, mixed, evicted.
#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine_core.hpp"
#include "tests/engine/engine_core_fixture.hpp"

namespace tessera {
namespace {

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
  const Answer answer = refused(with_adapter);
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

// The same of a device: a dozen adapters one after the other, and then many long requests of the
// base, and then both at once. Four blocks are an adapter's; its share would hold four of them.
TEST_F(EngineCoreTest, AnswersAreTheSameWhicheverSideHasTheDevicesMemory) {
  constexpr std::uint64_t kSeed = 78;
  constexpr int kAdapters = 12;
  constexpr int kAdapterBlocks = 4;
  RecordProperty("seed", std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  const auto draw = [&](bool of_base) {
    std::vector<TokenId> prompt;
    for (std::size_t n = 1 + random() % 60; n > 0; --n) {
      prompt.push_back(static_cast<TokenId>(1 + random() % 9));
    }
    GenerationRequest drawn = request(prompt, static_cast<int>(1 + random() % 60));
    if (!of_base) drawn.adapter = AdapterShelf::digest(static_cast<int>(1 + random() % kAdapters));
    return drawn;
  };
  std::vector<GenerationRequest> of_base;
  std::vector<GenerationRequest> of_all;
  for (int i = 0; i < 30; ++i) of_base.push_back(draw(true));
  for (int i = 0; i < 60; ++i) of_all.push_back(draw(i % 3 == 0));
  std::size_t least_bytes = std::numeric_limits<std::size_t>::max();
  for (int number = 1; number <= kAdapters; ++number) {
    shelf_.wait_for(number);
    const auto pages =
        pack_adapter(random_adapter(spec_, static_cast<std::uint64_t>(number)), PageType::kF32);
    least_bytes = std::min(least_bytes, pages->bytes());
  }
  std::vector<std::vector<TokenId>> expected;
  for (const auto& requests : {of_base, of_all}) {
    for (const GenerationRequest& alone : requests) expected.push_back(run(alone).ids());
  }

  EngineConfig config;
  config.max_context = 128;
  config.backend.block_size = 8;
  config.backend.num_blocks = 48;
  config.backend.max_rows = 16;
  // The smallest adapter counts as as many bytes as are promised of its blocks.
  config.shares = {.block_bytes = least_bytes / 7 * 8 / kAdapterBlocks,
                   .kv_share = 32,
                   .kv_least = 16,
                   .is_of_device = true};
  core_.reset();
  config.on_failure = [this](std::string_view what) { failure_ = what; };
  auto backend =
      std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend);
  backend->share_memory(config.shares.kv_share, kAdapterBlocks, config.shares.block_bytes);
  core_ = std::make_unique<EngineCore>(std::move(backend), spec_, shelf_.cache(), config);
  int least = config.backend.num_blocks;
  int most = 0;
  int most_adapters = 0;
  const auto run_all = [&] {
    for (int idle = 0; core_->num_requests() > 0;) {
      const bool has_stepped = step();
      if (!has_stepped) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // a load
      idle = has_stepped ? 0 : idle + 1;
      ASSERT_LT(idle, 5000) << "nothing runs, and nobody gets what he waits for";
      least = std::min(least, core_->stats().num_blocks);
      most = std::max(most, core_->stats().num_blocks);
      most_adapters = std::max(most_adapters, core_->stats().num_resident_adapters);
    }
  };
  for (int round = 0; round < 3; ++round) {
    for (int number = 1; number <= kAdapters; ++number) {
      auto shortest = request({1}, 1);
      shortest.adapter = AdapterShelf::digest(number);
      add(shortest);
      run_all();
    }
  }
  EXPECT_LT(least, config.shares.kv_share) << "adapters never borrowed";
  EXPECT_GT(most_adapters, 4);

  for (int number = 1; number <= kAdapters; ++number) {
    core_->evict_adapter(AdapterShelf::digest(number));
  }
  std::vector<Answer> answers;
  for (const GenerationRequest& each : of_base) answers.push_back(add(each));
  run_all();
  EXPECT_GT(most, config.shares.kv_share) << "KV never borrowed";
  for (const GenerationRequest& each : of_all) answers.push_back(add(each));
  run_all();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    collect(answers[i]);
    ASSERT_TRUE(answers[i].finish);
    EXPECT_EQ(answers[i].finish->reason, FinishReason::kLength) << answers[i].finish->message;
    EXPECT_EQ(answers[i].ids(), expected[i]) << "request " << i;
  }
  EXPECT_EQ(failure_, "");
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
  const Answer answer = refused(asked);
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

}  // namespace
}  // namespace tessera

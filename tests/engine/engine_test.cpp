#include "engine/engine.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
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

using std::chrono::steady_clock;

constexpr steady_clock::time_point kNever = steady_clock::time_point::max();

// A connection: collects what its stream brings, on the thread that asks.
class Reader {
 public:
  Reader() : stream_(std::make_shared<TokenStream>([this] { wake(); })) {}
  ~Reader() = default;

  const std::shared_ptr<TokenStream>& stream() const { return stream_; }

  // Returns when at least `count` tokens have come, or the stream is finished.
  void wait_for_tokens(std::size_t count) {
    std::unique_lock lock(mutex_);
    news_.wait(lock, [&] {
      collect();
      return finish_ || tokens_.size() >= count;
    });
  }
  Finish wait_for_finish() {
    std::unique_lock lock(mutex_);
    news_.wait(lock, [&] {
      collect();
      return finish_.has_value();
    });
    return *finish_;
  }
  const std::vector<GeneratedToken>& tokens() const { return tokens_; }

 private:
  void wake() {
    std::lock_guard lock(mutex_);
    news_.notify_all();
  }
  void collect() {
    TokenEvents events = stream_->take();
    for (GeneratedToken& token : events.tokens) tokens_.push_back(std::move(token));
    if (events.finished) finish_ = std::move(events.finished);
  }

  std::mutex mutex_;
  std::condition_variable news_;
  std::vector<GeneratedToken> tokens_;
  std::optional<Finish> finish_;
  std::shared_ptr<TokenStream> stream_;
};

class EngineTest : public testing::Test {
 protected:
  EngineTest() { restart({}); }
  ~EngineTest() override {
    shelf_.open_gate();
    engine_.reset();
  }

  void restart(EngineConfig config) {
    engine_.reset();
    engine_ = std::make_unique<Engine>(
        std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend), spec_,
        shelf_.cache(), config);
  }

  static GenerationRequest request(std::vector<TokenId> prompt, int max_tokens) {
    return {.prompt = std::move(prompt),
            .sampling = {.temperature = 0.0F, .max_tokens = max_tokens},
            .tenant = "t"};
  }

  // Waits until its adapter is let through the gate.
  static GenerationRequest stuck_request() {
    auto stuck = request({1, 2, 3}, 2);
    stuck.adapter = AdapterShelf::digest(1);
    return stuck;
  }

  const ModelSpec spec_ = tiny_spec();
  AdapterShelf shelf_{spec_, PageType::kF32};
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, AnswersWhatWasAsked) {
  Reader reader;
  ASSERT_TRUE(engine_->submit(request({1, 2, 3}, 7), reader.stream()));
  EXPECT_EQ(reader.wait_for_finish().reason, FinishReason::kLength);
  EXPECT_EQ(reader.tokens().size(), 7U);
}

TEST_F(EngineTest, SleepsUntilAnAdapterIsLoadedAndWakesForIt) {
  shelf_.close_gate();
  Reader reader;
  ASSERT_TRUE(engine_->submit(stuck_request(), reader.stream()));
  Reader base;
  ASSERT_TRUE(engine_->submit(request({1, 2, 3}, 7), base.stream()));
  base.wait_for_finish();
  shelf_.open_gate();
  EXPECT_EQ(reader.wait_for_finish().reason, FinishReason::kLength);
}

TEST_F(EngineTest, GivesASignOfLifeAlsoWhileThereIsNothingToDo) {
  const auto asked = steady_clock::now();
  const auto has_beaten_since = [&] {
    const auto age = engine_->heartbeat_age();
    return age < steady_clock::now() - asked;
  };
  while (!has_beaten_since()) std::this_thread::yield();
  EXPECT_LT(engine_->heartbeat_age(), 10 * Engine::kHeartbeat);
}

TEST_F(EngineTest, ACancelledRequestIsFinishedEvenWhileItWaits) {
  shelf_.close_gate();
  Reader reader;
  ASSERT_TRUE(engine_->submit(stuck_request(), reader.stream()));
  reader.stream()->cancel();
  engine_->wake();
  EXPECT_EQ(reader.wait_for_finish().reason, FinishReason::kCancelled);
}

TEST_F(EngineTest, ACancelledAnswerStopsEarly) {
  Reader reader;
  ASSERT_TRUE(engine_->submit(request({1, 2, 3}, 253), reader.stream()));
  reader.wait_for_tokens(1);
  reader.stream()->cancel();
  const Finish finish = reader.wait_for_finish();
  EXPECT_EQ(reader.tokens().size(), static_cast<std::size_t>(finish.generated_tokens));
}

TEST_F(EngineTest, AFullQueueRefusesAndLeavesTheStreamAlone) {
  EngineConfig config;
  config.max_requests = 2;
  restart(config);
  shelf_.close_gate();
  Reader first;
  Reader second;
  Reader third;
  ASSERT_TRUE(engine_->submit(stuck_request(), first.stream()));
  ASSERT_TRUE(engine_->submit(stuck_request(), second.stream()));
  const auto refused = engine_->submit(request({1}, 1), third.stream());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kQueueFull);
  EXPECT_FALSE(third.stream()->take().finished);
  shelf_.open_gate();
  first.wait_for_finish();
  second.wait_for_finish();
  while (!engine_->submit(request({1}, 1), third.stream())) std::this_thread::yield();
  EXPECT_EQ(third.wait_for_finish().reason, FinishReason::kLength);
}

TEST_F(EngineTest, AFullQueueLetsALightTenantInAndShedsTheHeavyOnesNewest) {
  EngineConfig config;
  config.max_requests = 3;
  restart(config);
  shelf_.close_gate();
  std::vector<std::unique_ptr<Reader>> heavy;
  for (int i = 0; i < 3; ++i) {
    heavy.push_back(std::make_unique<Reader>());
    ASSERT_TRUE(engine_->submit(stuck_request(), heavy.back()->stream()));
  }
  auto light_request = request({1, 2, 3}, 2);
  light_request.tenant = "light";
  Reader light;
  ASSERT_TRUE(engine_->submit(light_request, light.stream()));
  const Finish shed = heavy[2]->wait_for_finish();
  EXPECT_EQ(shed.reason, FinishReason::kError);
  EXPECT_EQ(shed.code, Code::kQueueFull);
  EXPECT_EQ(light.wait_for_finish().reason, FinishReason::kLength);
  shelf_.open_gate();
  heavy[0]->wait_for_finish();
  heavy[1]->wait_for_finish();
}

TEST_F(EngineTest, ARequestThatCannotBeServedIsRefusedAtTheDoor) {
  Reader reader;
  const auto refused = engine_->submit(request(std::vector<TokenId>(300, 1), 1), reader.stream());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kContextLengthExceeded);
}

TEST_F(EngineTest, DrainFinishesWhatWasAcceptedAndRefusesTheRest) {
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 10; ++i) {
    readers.push_back(std::make_unique<Reader>());
    ASSERT_TRUE(engine_->submit(request({1, 2, 3}, 50), readers.back()->stream()));
  }
  EXPECT_TRUE(engine_->drain(kNever));
  for (auto& reader : readers) {
    EXPECT_EQ(reader->wait_for_finish().reason, FinishReason::kLength);
    EXPECT_EQ(reader->tokens().size(), 50U);
  }
  Reader late;
  const auto refused = engine_->submit(request({1, 2, 3}, 1), late.stream());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kDraining);
}

TEST_F(EngineTest, DrainCancelsWhoIsLeftAtTheDeadline) {
  shelf_.close_gate();
  Reader reader;
  ASSERT_TRUE(engine_->submit(stuck_request(), reader.stream()));
  EXPECT_FALSE(engine_->drain(steady_clock::now()));
  EXPECT_EQ(reader.wait_for_finish().reason, FinishReason::kCancelled);
}

TEST_F(EngineTest, WhoIsLeftWhenTheEngineGoesIsCancelled) {
  shelf_.close_gate();
  Reader reader;
  ASSERT_TRUE(engine_->submit(stuck_request(), reader.stream()));
  shelf_.cache().set_wake({});
  engine_.reset();
  EXPECT_EQ(reader.wait_for_finish().reason, FinishReason::kCancelled);
}

TEST_F(EngineTest, AStoppedEngineHasFinishedAllAndRefusesMore) {
  shelf_.close_gate();
  Reader reader;
  ASSERT_TRUE(engine_->submit(stuck_request(), reader.stream()));
  engine_->stop();
  EXPECT_EQ(reader.stream()->take().finished->reason, FinishReason::kCancelled);
  Reader late;
  const auto refused = engine_->submit(request({1, 2, 3}, 1), late.stream());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kDraining);
  engine_->stop();
  engine_->wake();
}

// An idle adapter has to go for the one that is asked for, and the device fails at that.
TEST_F(EngineTest, AFailureBetweenStepsFailsWhatIsInFlightAndTheThreadGoesOn) {
  const auto bytes = [&](int number) {
    return pack_adapter(random_adapter(spec_, static_cast<std::uint64_t>(number)), PageType::kF32)
        ->bytes();
  };
  AdapterShelf small(spec_, PageType::kF32, {.max_bytes = std::max(bytes(1), bytes(2))});
  EngineConfig config;
  std::string failure;
  config.on_failure = [&](std::string_view what) { failure = what; };
  auto backend =
      std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend);
  backend->throw_at_removal();
  Engine engine(std::move(backend), spec_, small.cache(), config);
  auto with_adapter = request({1, 2, 3}, 2);
  with_adapter.adapter = AdapterShelf::digest(1);
  Reader first;
  ASSERT_TRUE(engine.submit(with_adapter, first.stream()));
  EXPECT_EQ(first.wait_for_finish().reason, FinishReason::kLength);

  with_adapter.adapter = AdapterShelf::digest(2);
  Reader second;
  ASSERT_TRUE(engine.submit(with_adapter, second.stream()));
  const Finish failed = second.wait_for_finish();
  EXPECT_EQ(failed.reason, FinishReason::kError);
  EXPECT_EQ(failed.code, Code::kServerIsOverloaded);
  EXPECT_EQ(failed.message.find("device"), std::string::npos) << "that is for the log";

  Reader base;
  ASSERT_TRUE(engine.submit(request({1, 2, 3}, 3), base.stream()));
  EXPECT_EQ(base.wait_for_finish().reason, FinishReason::kLength);
  Reader again;
  ASSERT_TRUE(engine.submit(with_adapter, again.stream()));
  EXPECT_EQ(again.wait_for_finish().reason, FinishReason::kLength);
  ASSERT_TRUE(engine.drain(kNever));
  engine.stop();
  EXPECT_EQ(failure, "the device is lost");
  EXPECT_EQ(engine.stats().num_failed_steps, 1U);
}

TEST_F(EngineTest, StatsAddUpAfterAStormFromManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kRequests = 100;
  EngineConfig config;
  config.backend.num_blocks = 24;
  config.backend.max_seqs = 8;
  restart(config);
  {
    std::vector<std::jthread> clients;
    for (int client = 0; client < kThreads; ++client) {
      clients.emplace_back([this, client] {
        for (int i = 0; i < kRequests; ++i) {
          auto asked = request(std::vector<TokenId>(static_cast<std::size_t>(1 + i % 30), 2), 12);
          asked.tenant = std::to_string(client);
          if (i % 3 == 0) asked.adapter = AdapterShelf::digest(1 + i % 5);
          Reader reader;
          ASSERT_TRUE(engine_->submit(asked, reader.stream()));
          if (i % 4 == 0) reader.stream()->cancel();
          if (i % 4 == 1) {
            reader.wait_for_tokens(3);
            reader.stream()->cancel();
          }
          reader.wait_for_finish();
        }
      });
    }
  }
  ASSERT_TRUE(engine_->drain(kNever));
  const EngineStats stats = engine_->stats();
  std::uint64_t finished = 0;
  for (const std::uint64_t count : stats.num_finished) finished += count;
  EXPECT_EQ(finished, std::uint64_t{kThreads} * kRequests);
  EXPECT_EQ(stats.num_finished[static_cast<std::size_t>(FinishReason::kError)], 0U);
  EXPECT_EQ(stats.num_running + stats.num_waiting + stats.num_waiting_for_adapter, 0);
  EXPECT_EQ(stats.num_used_blocks, 0);
}

}  // namespace
}  // namespace tessera

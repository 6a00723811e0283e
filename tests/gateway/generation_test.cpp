// Generations over a real engine whose backend computes nothing: what they answer and what they
// cost, however they end.
#include "gateway/inference/generation.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "storage/json.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::Not;

class GenerationTest : public testing::Test {
 protected:
  GenerationTest() { restart({}); }
  ~GenerationTest() override {
    let_go();
    engine_.reset();
    ledger_->finish_waiting();  // its thread may still be about to wake us
  }

  void restart(EngineConfig config) {
    engine_.reset();
    auto backend =
        std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend);
    backend_ = backend.get();
    engine_ = std::make_unique<Engine>(std::move(backend), spec_, cache_, config);
  }

  static GenerationRequest request(std::vector<TokenId> prompt, int max_tokens) {
    return {.prompt = std::move(prompt),
            .sampling = {.temperature = 0.0F, .max_tokens = max_tokens},
            .tenant = "t"};
  }

  // A generation that has reserved what `requests` may use.
  std::unique_ptr<Generation> make(std::vector<GenerationRequest> requests, bool stream = false,
                                   std::shared_ptr<KeyTurn> key_turn = {}) {
    std::int64_t tokens = 0;
    for (const GenerationRequest& one : requests) {
      tokens += static_cast<std::int64_t>(one.prompt.size()) + one.sampling.max_tokens;
    }
    GenerationPlan plan;
    plan.requests = std::move(requests);
    plan.stream = stream;
    plan.format = make_completion_format({"cmpl-1", 0, "bot@1", "fp"}, *tokenizer_,
                                         /*include_usage=*/true, /*records=*/false);
    plan.record.request = RequestId("req_" + std::to_string(++num_made_));
    plan.record.tenant = caller_.tenant;
    plan.record.model = "bot@1";
    plan.permit = admission_.admit(caller_, now_of(clock_)).value();
    EXPECT_TRUE(plan.permit.reserve({.tokens = tokens}, "bot", now_of(clock_)));
    plan.received_at = clock_.steady_now();
    if (key_turn) plan.price = {.input = Money{1}, .cached_input = Money{1}, .output = Money{10}};
    plan.key_turn = std::move(key_turn);
    return std::make_unique<Generation>(GenerationServices{*engine_, *ledger_, metrics_, clock_},
                                        *tokenizer_, std::move(plan));
  }

  Result<void> start(Generation& generation) {
    return generation.start([this] { woken_.release(); });
  }
  void finish(Generation& generation) {
    while (!generation.poll().finished) woken_.acquire();
  }
  std::unique_ptr<Generation> run(GenerationRequest one) {
    auto generation = make({std::move(one)});
    EXPECT_TRUE(start(*generation));
    finish(*generation);
    return generation;
  }
  // Starts one and returns when the engine has made its first token; the engine waits there for
  // let_go().
  void start_and_hold(Generation& generation) {
    is_held_ = true;
    ASSERT_TRUE(generation.start([this] {
      woken_.release();
      is_held_.wait(true);
    }));
    woken_.acquire();
  }
  void let_go() {
    is_held_ = false;
    is_held_.notify_all();
  }

  UsageTotals usage() { return ledger_->totals_by_tenant(caller_.tenant).value(); }
  std::vector<UsageRecord> records() {
    std::vector<UsageRecord> records;
    const auto add = [&](const UsageRecord& record) {
      records.push_back(record);
      return true;
    };
    EXPECT_TRUE(ledger_->scan(WallTime{}, WallTime::max(), add));
    return records;
  }
  // Tokens that the tenant's bucket is short of; the clock stands still, so nothing refills it.
  std::int64_t tokens_taken() {
    const auto tokens = admission_.view(caller_, now_of(clock_)).tokens;
    return tokens.limit - tokens.remaining;
  }
  void expect_nothing_was_charged(const std::string& finish_code) {
    EXPECT_EQ(tokens_taken(), 0);
    EXPECT_EQ(admission_.num_running(), 0);
    EXPECT_EQ(usage().prompt_tokens + usage().completion_tokens + usage().cached_tokens, 0);
    ASSERT_EQ(records().size(), 1U);
    EXPECT_EQ(records().front().finish, finish_code);
  }

  const ModelSpec spec_ = tiny_spec();
  const Caller caller_ = {.tenant = TenantId("t"), .key = KeyId("k")};
  const std::unique_ptr<Tokenizer> tokenizer_ = byte_tokenizer();
  ManualClock clock_;
  Metrics metrics_;
  TempDir directory_;
  std::unique_ptr<Store> store_ = open_rocks_store(directory_.path()).value();
  std::optional<UsageLedger> ledger_{*store_};
  Admission admission_;
  Error load_error_ = {Code::kCorrupt, "a secret of ours"};
  HostCache cache_{
      [this](const AdapterDigest&) -> Result<HostCache::Pin> { return load_error_; }, {}, clock_};
  std::counting_semaphore<> woken_{0};
  std::atomic<bool> is_held_ = false;
  int num_made_ = 0;
  FakeBackend* backend_ = nullptr;
  std::unique_ptr<Engine> engine_;
};

TEST_F(GenerationTest, AnAnswerCostsItsPromptAndWhatWasGenerated) {
  const auto generation = run(request({1, 2, 3}, 5));
  EXPECT_FALSE(generation->failure());
  EXPECT_EQ(generation->whole_answer().status, 200);
  EXPECT_EQ(usage().prompt_tokens, 3);
  EXPECT_EQ(usage().completion_tokens, 5);
  EXPECT_EQ(tokens_taken(), 8);
  EXPECT_EQ(records().front().finish, "length");
}

// More prompts than the engine takes at a time wait for each other, not for a refusal.
TEST_F(GenerationTest, ManyPromptsGoToTheEngineInTurn) {
  EngineConfig config;
  config.max_requests = 2 * kMaxInFlight;
  restart(config);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 3 * kMaxInFlight; ++i) requests.push_back(request({1, 2, 3}, 2));
  const auto generation = make(std::move(requests));
  ASSERT_TRUE(start(*generation));
  finish(*generation);
  EXPECT_FALSE(generation->failure());
  EXPECT_EQ(usage().prompt_tokens, 9 * kMaxInFlight);
  EXPECT_EQ(usage().completion_tokens, 6 * kMaxInFlight);
}

TEST_F(GenerationTest, AStateCostsItsPromptAlone) {
  auto asked = request({1, 2, 3}, 0);
  asked.prompt_output = PromptOutput::kMeanState;
  const auto generation = run(asked);
  EXPECT_FALSE(generation->failure());
  EXPECT_EQ(usage().prompt_tokens, 3);
  EXPECT_EQ(usage().completion_tokens, 0);
  EXPECT_EQ(records().front().finish, "stop");
}

TEST_F(GenerationTest, AnAdapterThatCannotBeLoadedCostsNothingAndTellsNothing) {
  auto with_adapter = request({1, 2, 3}, 5);
  with_adapter.adapter.emplace();
  const auto generation = run(with_adapter);
  const HttpResponse answer = generation->whole_answer();
  EXPECT_EQ(answer.status, 500);
  EXPECT_THAT(answer.body, Not(HasSubstr("secret")));
  expect_nothing_was_charged("corrupt");
}

TEST_F(GenerationTest, AnAdapterThatIsGoneIsAModelThatDoesNotExist) {
  load_error_ = {Code::kNotFound, "no adapter version has the digest 00"};
  auto with_adapter = request({1, 2, 3}, 5);
  with_adapter.adapter.emplace();
  const HttpResponse answer = run(with_adapter)->whole_answer();
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.body, HasSubstr("The model `bot@1` does not exist"));
  expect_nothing_was_charged("model_not_found");
}

TEST_F(GenerationTest, OutputThatIsNotFiniteIsOurErrorAndCostsNothing) {
  const HttpResponse answer = run(request({1, kPoison, 3}, 5))->whole_answer();
  EXPECT_EQ(answer.status, 500);
  EXPECT_THAT(answer.body, HasSubstr("internal_error"));
  EXPECT_THAT(answer.body, Not(HasSubstr("finite")));
  expect_nothing_was_charged("internal_error");
}

TEST_F(GenerationTest, OneFailedChoiceFailsAndFreesTheWhole) {
  const auto generation = make({request({1, 2, 3}, 5), request({1, kPoison, 3}, 5)});
  ASSERT_TRUE(start(*generation));
  finish(*generation);
  EXPECT_TRUE(generation->failure());
  expect_nothing_was_charged("internal_error");
}

TEST_F(GenerationTest, AClientThatLeavesPaysForWhatWasComputed) {
  const auto generation = make({request({1, 2, 3}, 400)}, /*stream=*/true);
  start_and_hold(*generation);
  generation->abandon();
  let_go();
  finish(*generation);
  EXPECT_FALSE(generation->failure());
  EXPECT_EQ(usage().prompt_tokens, 3);
  EXPECT_EQ(usage().completion_tokens, 1);
  EXPECT_EQ(tokens_taken(), 4);
  EXPECT_EQ(records().front().finish, "client_closed_request");
}

TEST_F(GenerationTest, UnderAnIdempotencyKeyItIsPaidOnceAndCountedEachTime) {
  KeyCharges charges(*store_);
  const auto begin = [&] {
    return charges.begin({}, {}, RequestId("req_key"), clock_.wall_now()).value().turn;
  };
  for (int i = 0; i < 2; ++i) {
    const auto generation = make({request({1, 2, 3}, 4)}, false, begin());
    ASSERT_TRUE(start(*generation));
    finish(*generation);
    EXPECT_TRUE(begin()) << "the next one's turn comes before the answer is sent";
  }
  EXPECT_EQ(usage(), (UsageTotals{2, 6, 0, 8, Money{43}}));
  ASSERT_EQ(records().size(), 2U);
  EXPECT_EQ(records()[1].cost, Money{});
  EXPECT_EQ(records()[1].charged_as, records()[0].request);
}

TEST_F(GenerationTest, WhoLeavesUnderAnIdempotencyKeyPaysTheRestLater) {
  KeyCharges charges(*store_);
  const auto begin = [&] {
    return charges.begin({}, {}, RequestId("req_key"), clock_.wall_now()).value().turn;
  };
  const auto left = make({request({1, 2, 3}, 4)}, false, begin());
  start_and_hold(*left);
  left->abandon();
  let_go();
  finish(*left);
  const Money first = records().front().cost;
  EXPECT_GT(first, Money{});
  EXPECT_LT(first, Money{43});
  const auto again = make({request({1, 2, 3}, 4)}, false, begin());
  ASSERT_TRUE(start(*again));
  finish(*again);
  EXPECT_EQ(usage().cost, Money{43});
}

TEST_F(GenerationTest, OneThatCouldNotStartLeavesItsIdempotencyKeyToTheNext) {
  KeyCharges charges(*store_);
  const auto begin = [&] {
    return charges.begin({}, {}, RequestId("req_key"), clock_.wall_now()).value().turn;
  };
  engine_->stop();
  const auto refused = make({request({1, 2, 3}, 4)}, false, begin());
  EXPECT_FALSE(start(*refused));
  EXPECT_TRUE(begin());
}

TEST_F(GenerationTest, AClientThatLeavesTheQueuePaysNothing) {
  EngineConfig config;
  config.backend.max_seqs = 1;
  restart(config);
  const auto running = make({request({1, 2, 3}, 400)}, /*stream=*/true);
  start_and_hold(*running);
  auto waiting = make({request({4, 5, 6}, 400)});
  ASSERT_TRUE(start(*waiting));
  waiting->abandon();
  let_go();
  finish(*waiting);
  ASSERT_EQ(records().size(), 1U);
  EXPECT_EQ(usage().prompt_tokens + usage().completion_tokens, 0);
}

TEST_F(GenerationTest, OneThatIsDestroyedAfterTheEngineStoppedIsSettled) {
  auto generation = make({request({1, 2, 3}, 400)}, /*stream=*/true);
  start_and_hold(*generation);
  let_go();
  engine_->stop();
  generation.reset();
  EXPECT_EQ(usage().prompt_tokens, 3);
  EXPECT_GE(usage().completion_tokens, 1);
  EXPECT_EQ(tokens_taken(), 3 + usage().completion_tokens);
  EXPECT_EQ(admission_.num_running(), 0);
}

TEST_F(GenerationTest, OneThatIsDestroyedWhileItRunsIsCancelledAndSettled) {
  auto generation = make({request({1, 2, 3}, 400)}, /*stream=*/true);
  start_and_hold(*generation);
  generation.reset();
  EXPECT_EQ(records().size(), 1U);
  EXPECT_EQ(usage().prompt_tokens, 3);
  EXPECT_EQ(usage().completion_tokens, 1);
  let_go();
  EXPECT_EQ(admission_.num_running(), 0);
  EXPECT_TRUE(engine_->drain(std::chrono::steady_clock::time_point::max()));
  EXPECT_EQ(engine_->stats().num_finished[static_cast<std::size_t>(FinishReason::kCancelled)], 1U);
}

TEST_F(GenerationTest, OneThatCouldNotStartIsNeitherChargedNorRecorded) {
  EngineConfig config;
  config.max_requests = 1;
  restart(config);
  auto generation = make({request({1, 2, 3}, 400), request({1, 2, 3}, 400)});
  const auto refused = start(*generation);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kQueueFull);
  generation.reset();
  make({request({1, 2, 3}, 400)}).reset();  // nor is one that nobody started
  EXPECT_EQ(tokens_taken(), 0);
  EXPECT_EQ(admission_.num_running(), 0);
  EXPECT_TRUE(records().empty());
}

}  // namespace
}  // namespace tessera

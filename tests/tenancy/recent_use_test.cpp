#include "tenancy/recent_use.hpp"

#include <memory>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

const TenantId kAda{"ada"};

class RecentUseTest : public testing::Test {
 protected:
  void use(std::int64_t tokens, const std::string& key = "k", const std::string& model = "bot@1") {
    const UsageRecord record{.request = RequestId("req_" + std::to_string(++num_requests_)),
                             .tenant = kAda,
                             .key = KeyId(key),
                             .model = model,
                             .prompt_tokens = tokens,
                             .finish = "stop",
                             .started = clock_.wall_now(),
                             .finished = clock_.wall_now()};
    ASSERT_TRUE(ledger_.record(record));
  }
  RecentUses read() { return RecentUses::read(ledger_, now_of(clock_)).value(); }
  Meter meter(const MeterLimits& limits, const std::string& key = {}) {
    PeriodUse before;
    before.recent = read().of(kAda, KeyId(key));
    return {limits, before, now_of(clock_)};
  }

  TempDir folder_;
  std::unique_ptr<Store> store_ = open_rocks_store(folder_.path() / "store").value();
  UsageLedger ledger_{*store_};
  ManualClock clock_;
  int num_requests_ = 0;
};

TEST_F(RecentUseTest, ABucketIsNotFullAgainAfterARestart) {
  for (int i = 0; i < 10; ++i) use(60);
  const MeterLimits limits{.requests_per_minute = 60,
                           .tokens_per_minute = 6000,
                           .burst_requests = 10,
                           .burst_tokens = 1000};
  Meter after = meter(limits);
  EXPECT_EQ(after.request_window(now_of(clock_)).remaining, 0);
  EXPECT_EQ(after.token_window(now_of(clock_)).remaining, 400);
  clock_.advance(3s);
  EXPECT_EQ(after.request_window(now_of(clock_)).remaining, 3);
}

TEST_F(RecentUseTest, OfAllIsTheSumOverTenants) {
  use(60);
  use(40, "another");
  const auto all = read().of_all();
  ASSERT_EQ(all.size(), 2U) << "what nobody knows of before, and one moment";
  EXPECT_EQ(all.back().requests, 2);
  EXPECT_EQ(all.back().tokens, 100);
}

TEST_F(RecentUseTest, WhatDrippedAwayMeanwhileIsGone) {
  for (int i = 0; i < 10; ++i) use(60);
  clock_.advance(4s);
  const MeterLimits limits{.requests_per_minute = 60, .burst_requests = 10};
  EXPECT_EQ(meter(limits).request_window(now_of(clock_)).remaining, 4);
  clock_.advance(10min);
  EXPECT_EQ(meter(limits).request_window(now_of(clock_)).remaining, 10);
}

TEST_F(RecentUseTest, KeysAndModelsHaveTheirOwn) {
  use(1, "a");
  use(1, "b", "bot:canary");
  use(1, "b", "base");
  const MeterLimits limits{.requests_per_minute = 60, .burst_requests = 10};
  const Now now = now_of(clock_);
  EXPECT_EQ(meter(limits, "a").request_window(now).remaining, 9);
  EXPECT_EQ(meter(limits, "b").request_window(now).remaining, 8);
  EXPECT_EQ(meter(limits).request_window(now).remaining, 7);
  EXPECT_EQ(meter(limits, "c").request_window(now).remaining, 10);
  PeriodUse of_model;
  of_model.recent = read().of_model(kAda, "bot");
  EXPECT_EQ(Meter(limits, of_model, now).request_window(now).remaining, 8);
  EXPECT_TRUE(read().of(TenantId("bob"), KeyId()).empty());
}

TEST_F(RecentUseTest, AClockThatWasSetBackForgetsNothing) {
  for (int i = 0; i < 5; ++i) use(60);
  clock_.advance(-1h);
  const MeterLimits limits{.requests_per_minute = 60, .burst_requests = 10};
  EXPECT_EQ(meter(limits).request_window(now_of(clock_)).remaining, 5);
}

// A tenant that has had its burst and goes on at its rate, for longer than the window: a meter that
// only saw the window would think its bucket nearly full.
TEST_F(RecentUseTest, WhoeverUsesAllThatItMayGetsNoSecondBurst) {
  const MeterLimits limits{.requests_per_minute = 60, .burst_requests = 60};
  Meter before(limits, {}, now_of(clock_));
  for (int second = 0; second < 200; ++second) {
    while (!before.refuse_request(now_of(clock_))) {
      auto held = before.take_request(now_of(clock_));
      before.settle(held, {});
      use(1);
    }
    clock_.advance(1s);
  }
  const auto left = before.request_window(now_of(clock_)).remaining;
  EXPECT_LE(left, 1);
  EXPECT_LE(meter(limits).request_window(now_of(clock_)).remaining, left);
}

TEST_F(RecentUseTest, TheRebuiltLevelIsNeverBelowTheOneThatWasLost) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const MeterLimits limits{.requests_per_minute = 120,
                           .tokens_per_minute = 2400,
                           .burst_requests = 40,
                           .burst_tokens = 900};
  Meter before(limits, {}, now_of(clock_));
  for (int i = 0; i < 1500; ++i) {
    clock_.advance(std::chrono::milliseconds(random() % 900));
    const Now now = now_of(clock_);
    const Demand most{.tokens = static_cast<std::int64_t>(random() % 60)};
    if (!before.refuse_request(now) && !before.refuse_demand(most, now)) {
      auto held = before.take_request(now);
      before.take_demand(held, most, now);
      before.settle(held, most);
      use(most.tokens);
    }
    if (i % 50 != 0) continue;
    Meter after = meter(limits);
    ASSERT_LE(after.request_window(now).remaining, before.request_window(now).remaining);
    ASSERT_LE(after.token_window(now).remaining, before.token_window(now).remaining);
  }
}

}  // namespace
}  // namespace tessera

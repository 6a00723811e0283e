#include "gateway/inference/key_charges.hpp"

#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tenancy/calendar.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;
using Refusal = KeyCharges::Refusal;

constexpr WallTime kNow{1'700'000'000s};

ContentDigest digest_of(std::uint8_t first) {
  ContentDigest digest;
  digest.bytes[0] = first;
  return digest;
}

class KeyChargesTest : public testing::Test {
 protected:
  KeyCharges::Outcome begin(WallTime now = kNow, std::uint8_t place = 1, std::uint8_t content = 1) {
    return charges_->begin(digest_of(place), digest_of(content), RequestId("unused"), now).value();
  }

  // One whole request of that cost, or one that was cut short; what it was charged.
  UsageRecord run(std::int64_t cost, bool whole = true, WallTime now = kNow) {
    UsageRecord record{.request = RequestId("req_" + std::to_string(++num_requests_)),
                       .tenant = TenantId("t"),
                       .cost = Money{cost},
                       .finish = "stop",
                       .started = now,
                       .finished = now};
    const auto turn = charges_->begin(digest_of(1), digest_of(1), record.request, now).value().turn;
    EXPECT_NE(turn, nullptr);
    turn->settle(whole, record);
    EXPECT_TRUE(ledger_->record(record));
    turn->end();
    return record;
  }
  void restart() { charges_.emplace(*store_); }

  TempDir folder_;
  std::unique_ptr<Store> store_ = open_rocks_store(folder_.path()).value();
  std::optional<UsageLedger> ledger_{*store_};
  std::optional<KeyCharges> charges_{*store_};
  int num_requests_ = 0;
};

TEST_F(KeyChargesTest, OnceARequestHadItsAnswerTheNextCostsNothing) {
  const UsageRecord first = run(50);
  EXPECT_EQ(first.cost, Money{50});
  EXPECT_EQ(first.charged_as, RequestId());
  restart();
  const UsageRecord second = run(70);
  EXPECT_EQ(second.cost, Money{});
  EXPECT_EQ(second.charged_as, first.request);
  EXPECT_TRUE(begin().turn->is_paid());
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("t")).value().cost, Money{50});
}

TEST_F(KeyChargesTest, WhatACutShortRequestHasCostIsSetAgainstTheNext) {
  EXPECT_EQ(run(20, false).cost, Money{20});
  EXPECT_EQ(run(5, false).cost, Money{});
  const UsageRecord whole = run(50);
  EXPECT_EQ(whole.cost, Money{30});
  EXPECT_EQ(whole.charged_as, RequestId("req_1"));
  EXPECT_EQ(run(90).cost, Money{});
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("t")).value().cost, Money{50});
}

TEST_F(KeyChargesTest, OneThatFailedAndCostNothingIsNotWhatLaterOnesAreChargedAs) {
  run(0, false);
  EXPECT_EQ(run(50).charged_as, RequestId());
  EXPECT_EQ(run(50).charged_as, RequestId("req_2"));
}

TEST_F(KeyChargesTest, WhereNothingHasAPriceARepetitionIsToldAllTheSame) {
  run(0);
  EXPECT_EQ(run(0).charged_as, RequestId("req_1"));
}

TEST_F(KeyChargesTest, WhatWillBeDueIsKnownBeforehand) {
  run(20, false);
  EXPECT_EQ(begin().turn->due(Money{50}), Money{30});
  EXPECT_EQ(begin().turn->due(Money{10}), Money{});
}

TEST_F(KeyChargesTest, OneAtATimeAndOnlyWithTheSameBody) {
  const auto turn = begin().turn;
  ASSERT_TRUE(turn);
  EXPECT_EQ(begin().turn, nullptr);
  EXPECT_EQ(begin().refusal, Refusal::kUnderWay);
  EXPECT_EQ(begin(kNow, 1, 2).refusal, Refusal::kOtherContent);
  EXPECT_TRUE(begin(kNow, 2).turn) << "another place";
  turn->end();
  EXPECT_TRUE(begin(kNow, 1, 2).turn) << "nothing was charged under the first body";
  run(50);
  EXPECT_EQ(begin(kNow, 1, 2).turn, nullptr);
  EXPECT_EQ(begin(kNow, 1, 2).refusal, Refusal::kOtherContent);
}

TEST_F(KeyChargesTest, AKeyIsForAFewRequests) {
  for (int i = 0; i < kMaxRequestsOfKey; ++i) run(50);
  EXPECT_EQ(begin().turn, nullptr);
  EXPECT_EQ(begin().refusal, Refusal::kUsedUp);
}

TEST_F(KeyChargesTest, HoldsForADayFromItsFirstRequestOn) {
  run(50);
  EXPECT_EQ(run(50, true, kNow + 20h).cost, Money{});
  EXPECT_EQ(run(50, true, kNow + 24h - 1us).cost, Money{});
  EXPECT_EQ(run(50, true, kNow + 24h).cost, Money{50});
}

TEST_F(KeyChargesTest, HoldsWhereTheClockIsSetBackOverMidnight) {
  const WallTime midnight = day_of(kNow) + std::chrono::days(1);
  const UsageRecord first = run(50, true, midnight + 1s);
  EXPECT_EQ(run(50, true, midnight - 1s).charged_as, first.request);
  EXPECT_EQ(run(50, true, midnight + 2s).cost, Money{});
}

// The one that came to nothing is of the day on which it is looked for.
TEST_F(KeyChargesTest, OfSeveralThatHoldWhereTheClockWasSetThePaidOneCounts) {
  const WallTime midnight = day_of(kNow) + std::chrono::days(1);
  run(0, false, midnight - 20h);
  const UsageRecord paid = run(50, true, midnight + 5h);
  EXPECT_EQ(paid.cost, Money{50});
  EXPECT_EQ(run(50, true, midnight - 1h).charged_as, paid.request);
}

TEST_F(KeyChargesTest, WhatCouldNotBeWrittenYetIsRemembered) {
  UsageRecord record{.request = RequestId("req_1"), .cost = Money{50}};
  {
    const auto turn = begin().turn;
    turn->settle(true, record);
    turn->hold();
  }
  EXPECT_EQ(begin().turn->due(Money{50}), Money{});
  EXPECT_FALSE(begin(kNow + 24h).turn->is_paid());
}

TEST_F(KeyChargesTest, WhatHoldsNoMoreGoesFromTheStore) {
  run(50);
  run(50, true, kNow + 24h);
  const auto num_stored = [&] {
    int count = 0;
    EXPECT_TRUE(store_->scan(Family::kLedger, keys::key_charges(), {},
                             [&](std::string_view, std::string_view) { return ++count > 0; }));
    return count;
  };
  EXPECT_EQ(num_stored(), 2);
  begin(kNow + 48h, 2);
  EXPECT_EQ(num_stored(), 1);
  begin(kNow + 72h, 2);
  EXPECT_EQ(num_stored(), 0);
}

}  // namespace
}  // namespace tessera

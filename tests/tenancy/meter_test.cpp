#include "tenancy/meter.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {
using namespace std::chrono_literals;
using std::chrono::sys_days;

constexpr WallTime kNoon = WallTime(sys_days(std::chrono::year(2026) / 11 / 30)) + 12h;

Now after(std::chrono::nanoseconds passed) {
  return {SteadyTime(1h) + passed, kNoon + std::chrono::floor<std::chrono::microseconds>(passed)};
}

const Now kStart = after(0s);

TEST(Calendar, PeriodsEndAtMidnightUtc) {
  EXPECT_EQ(start_of(Period::kDay, kNoon), kNoon - 12h);
  EXPECT_EQ(end_of(Period::kDay, kNoon), kNoon + 12h);
  EXPECT_EQ(start_of(Period::kMonth, kNoon), WallTime(sys_days(std::chrono::year(2026) / 11 / 1)));
  EXPECT_EQ(end_of(Period::kMonth, kNoon), kNoon + 12h);
  const WallTime december = kNoon + 12h;
  EXPECT_EQ(start_of(Period::kMonth, december), december);
  EXPECT_EQ(end_of(Period::kMonth, december), WallTime(sys_days(std::chrono::year(2027) / 1 / 1)));
}

TEST(Meter, WithoutLimitsRefusesNothing) {
  Meter meter({}, {}, kStart);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(meter.refuse_request(kStart));
    Meter::Held held = meter.take_request(kStart);
    const Demand demand{.tokens = 100'000, .cost = Money::of_cents(100)};
    ASSERT_FALSE(meter.refuse_demand(demand, kStart));
    meter.take_demand(held, demand, kStart);
    meter.settle(held, demand);
  }
}

TEST(Meter, DailyRequestsAreGivenOutAgainAtMidnight) {
  Meter meter({.requests_per_day = 2}, {.requests_today = 1}, kStart);
  ASSERT_FALSE(meter.refuse_request(kStart));
  Meter::Held held = meter.take_request(kStart);
  const auto refused = meter.refuse_request(kStart);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->policy, RatePolicy::kRequestsPerDay);
  EXPECT_EQ(refused->limit, 2);
  EXPECT_EQ(refused->remaining, 0);
  EXPECT_EQ(refused->retry_after, 12h);
  EXPECT_TRUE(meter.refuse_request(after(12h - 1us)));
  EXPECT_FALSE(meter.refuse_request(after(12h)));
  meter.settle(held, {});
}

TEST(Meter, ReleasedRequestWasNever) {
  Meter meter({.max_concurrent_requests = 1, .requests_per_minute = 1, .requests_per_day = 1}, {},
              kStart);
  Meter::Held held = meter.take_request(kStart);
  EXPECT_TRUE(meter.refuse_request(kStart));
  meter.release(held);
  EXPECT_FALSE(meter.refuse_request(kStart));
  EXPECT_EQ(meter.use(kStart).requests_today, 0);
}

TEST(Meter, TokensByDayAndMonthAreSettled) {
  Meter meter({.tokens_per_day = 1000, .tokens_per_month = 1500}, {.tokens_this_month = 800},
              kStart);
  Meter::Held held = meter.take_request(kStart);
  ASSERT_FALSE(meter.refuse_demand({.tokens = 700}, kStart));
  meter.take_demand(held, {.tokens = 700}, kStart);
  const auto refused = meter.refuse_demand({.tokens = 1}, kStart);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->policy, RatePolicy::kTokensPerMonth);
  EXPECT_EQ(refused->retry_after, 12h);
  meter.settle(held, {.tokens = 100});
  EXPECT_FALSE(meter.refuse_demand({.tokens = 600}, kStart));
  EXPECT_TRUE(meter.refuse_demand({.tokens = 601}, kStart));
}

TEST(Meter, WhatIsMoreThanTheLimitIsNever) {
  Meter meter({.tokens_per_day = 1000}, {}, kStart);
  const auto refused = meter.refuse_demand({.tokens = 1001}, kStart);
  ASSERT_TRUE(refused);
  EXPECT_TRUE(refused->is_never);
}

TEST(Meter, MoneyIsReservedAtMostAndSettledExactly) {
  Meter meter({.spend_cents_per_month = 100}, {.spend_this_month = Money::of_cents(40)}, kStart);
  Meter::Held held = meter.take_request(kStart);
  const Demand most{.tokens = 10, .cost = Money::of_cents(60)};
  ASSERT_FALSE(meter.refuse_demand(most, kStart));
  meter.take_demand(held, most, kStart);
  const auto refused = meter.refuse_demand({.cost = Money{1}}, kStart);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->policy, RatePolicy::kSpendPerMonth);
  EXPECT_EQ(refused->limit, 100);
  EXPECT_EQ(refused->requested, 1);
  meter.settle(held, {.tokens = 5, .cost = Money{12'345}});
  EXPECT_EQ(meter.use(kStart).spend_this_month, Money::of_cents(40) + Money{12'345});
}

TEST(Meter, RequestThatOutlivesItsDayIsChargedToIt) {
  Meter meter({.tokens_per_day = 1000}, {}, kStart);
  Meter::Held held = meter.take_request(kStart);
  meter.take_demand(held, {.tokens = 900}, kStart);
  const Now tomorrow = after(13h);
  EXPECT_FALSE(meter.refuse_demand({.tokens = 1000}, tomorrow));
  Meter::Held next = meter.take_request(tomorrow);
  meter.take_demand(next, {.tokens = 500}, tomorrow);
  meter.settle(held, {.tokens = 1});
  EXPECT_EQ(meter.use(tomorrow).tokens_today, 500);
  meter.settle(next, {.tokens = 500});
}

TEST(Meter, ClockThatIsSetBackGivesNoPeriodOutTwice) {
  Meter meter({.tokens_per_day = 1000}, {}, after(13h));
  Meter::Held held = meter.take_request(after(13h));
  meter.take_demand(held, {.tokens = 1000}, after(13h));
  meter.settle(held, {.tokens = 1000});
  const Now set_back{after(14h).steady, kNoon};
  EXPECT_TRUE(meter.refuse_demand({.tokens = 1}, set_back));
}

TEST(Meter, LongestRefusalIsTold) {
  Meter meter({.tokens_per_minute = 60, .tokens_per_day = 100}, {.tokens_today = 90}, kStart);
  Meter::Held held = meter.take_request(kStart);
  meter.take_demand(held, {.tokens = 10}, kStart);
  const auto refused = meter.refuse_demand({.tokens = 60}, kStart);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->policy, RatePolicy::kTokensPerDay);
  meter.settle(held, {.tokens = 10});
}

TEST(Meter, LimitsThatComeLaterFindWhatIsInUse) {
  Meter meter({}, {}, kStart);
  Meter::Held held = meter.take_request(kStart);
  meter.take_demand(held, {.tokens = 50}, kStart);
  meter.set_limits({.max_concurrent_requests = 1, .tokens_per_minute = 60}, kStart);
  EXPECT_EQ(meter.refuse_request(kStart)->policy, RatePolicy::kConcurrency);
  EXPECT_TRUE(meter.refuse_demand({.tokens = 11}, kStart));
  meter.settle(held, {.tokens = 50});
  EXPECT_FALSE(meter.refuse_request(kStart));
}

}  // namespace
}  // namespace tessera

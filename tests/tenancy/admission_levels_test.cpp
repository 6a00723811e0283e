// Limits of tenant, key and model together: all or nothing, never overshot.
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "tenancy/admission.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kNoon = WallTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 21)) + 12h;

Now after(std::chrono::nanoseconds passed) {
  return {SteadyTime(1h) + passed, kNoon + std::chrono::floor<std::chrono::microseconds>(passed)};
}
const Now kStart = after(0s);

Caller caller_of(const std::string& key, const MeterLimits& key_limits = {},
                 const std::map<std::string, MeterLimits, std::less<>>& models = {}) {
  Caller caller{.tenant = TenantId("proj_a"), .key = KeyId(key), .limits = {}};
  caller.key_policy = std::make_shared<KeyPolicy>(KeyPolicy{.limits = key_limits});
  caller.tenant_policy = std::make_shared<TenantPolicy>(TenantPolicy{.model_limits = models});
  return caller;
}

TEST(AdmissionLevels, KeysLimitHoldsBesideItsTenants) {
  Admission admission;
  const Caller small = caller_of("small", {.max_concurrent_requests = 1});
  const Caller other = caller_of("other");
  const auto first = admission.admit(small, kStart);
  ASSERT_TRUE(first);
  const auto second = admission.admit(small, kStart);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().level, Level::kKey);
  EXPECT_EQ(second.error().policy, RatePolicy::kConcurrency);
  EXPECT_TRUE(admission.admit(other, kStart));
  EXPECT_EQ(admission.num_running(), 1);
}

TEST(AdmissionLevels, RefusalByOneLevelTakesNothingFromTheOthers) {
  Admission admission;
  const Caller caller = caller_of("key", {.tokens_per_minute = 100});
  auto permit = admission.admit(caller, kStart);
  const auto refused = permit->reserve({.tokens = 101}, "m", kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRequestExceedsLimit);
  EXPECT_EQ(refused.error().level, Level::kKey);
  const Caller fresh = caller_of("fresh");
  EXPECT_EQ(admission.view(fresh, kStart).tokens.remaining, fresh.limits.tokens_per_minute);
  EXPECT_EQ(admission.view(fresh, kStart).requests.remaining, fresh.limits.requests_per_minute);
  EXPECT_EQ(admission.use(fresh, kStart).requests_today, 0);
}

TEST(AdmissionLevels, ModelsLimitIsSharedByTheTenantsKeys) {
  Admission admission;
  const std::map<std::string, MeterLimits, std::less<>> models{{"m", {.requests_per_minute = 1}}};
  auto first = admission.admit(caller_of("one", {}, models), kStart);
  ASSERT_TRUE(first->reserve({.tokens = 1}, "m", kStart));
  auto second = admission.admit(caller_of("two", {}, models), kStart);
  const auto refused = second->reserve({.tokens = 1}, "m", kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().level, Level::kModel);
  EXPECT_EQ(refused.error().retry_after, 60s);
  auto third = admission.admit(caller_of("two", {}, models), kStart);
  EXPECT_TRUE(third->reserve({.tokens = 1}, "another", kStart));
}

TEST(AdmissionLevels, ViewIsOfWhoeverLeavesLess) {
  Admission admission;
  const Caller caller = caller_of("key", {.max_concurrent_requests = 3, .requests_per_minute = 5});
  const auto permit = admission.admit(caller, kStart);
  const LimitsView view = admission.view(caller, kStart);
  EXPECT_EQ(view.requests.limit, 5);
  EXPECT_EQ(view.requests.remaining, 4);
  EXPECT_EQ(view.tokens.limit, caller.limits.tokens_per_minute);
  EXPECT_EQ(view.max_concurrent_requests, 3);
  EXPECT_EQ(view.concurrent_requests, 1);
}

TEST(AdmissionLevels, ExhaustedBudgetIsAHardStop) {
  Admission admission;
  Caller caller = caller_of("key");
  caller.limits.spend_cents_per_month = 100;
  auto permit = admission.admit(caller, kStart);
  ASSERT_TRUE(permit->reserve({.tokens = 1, .cost = Money::of_cents(100)}, "m", kStart));
  auto second = admission.admit(caller, kStart);
  const auto refused = second->reserve({.tokens = 1, .cost = Money{1}}, "m", kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kBillingHardLimitReached);
  EXPECT_EQ(to_error(refused.error()).message,
            "You exceeded the project's spend limit of $1.00 a month: the request may cost $0.01, "
            "$0.00 are left. An admin can raise the limit.");
}

TEST(AdmissionLevels, WhatTheLedgerRemembersIsUsedUp) {
  Admission admission([](const TenantId&, const KeyId& key, WallTime) {
    return PeriodUse{.tokens_today = key.empty() ? 90 : 0};
  });
  Caller caller = caller_of("key");
  caller.limits.tokens_per_day = 100;
  auto permit = admission.admit(caller, kStart);
  EXPECT_FALSE(permit->reserve({.tokens = 11}, "m", kStart));
  permit = admission.admit(caller, kStart);
  EXPECT_TRUE(permit->reserve({.tokens = 10}, "m", kStart));
}

TEST(AdmissionLevels, OlderCallerDoesNotBringOldLimitsBack) {
  Admission admission;
  const Caller old = caller_of("key", {.max_concurrent_requests = 5});
  Caller changed = caller_of("key", {.max_concurrent_requests = 1});
  changed.limits_revision = 1;
  const auto first = admission.admit(changed, kStart);
  ASSERT_TRUE(first);
  EXPECT_FALSE(admission.admit(old, kStart));
}

// Random requests of several keys and models; a plain account of what was granted is kept beside.
TEST(AdmissionLevels, NoLimitIsEverOvershot) {
  constexpr std::uint64_t kSeed = 7;
  std::mt19937_64 random(kSeed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  Admission admission;
  const std::map<std::string, MeterLimits, std::less<>> models{
      {"m0", {.max_concurrent_requests = 2}}};
  const MeterLimits key_limits{.max_concurrent_requests = 3, .tokens_per_day = 50'000};
  struct Running {
    Permit permit;
    std::size_t key;
    bool is_m0;
    std::int64_t day;
    Demand reserved;
  };
  std::vector<Running> running;
  std::map<std::pair<std::size_t, std::int64_t>, std::int64_t> used;  // (key, day) → tokens
  Money spent;
  const Money budget = Money::of_cents(9'000);
  auto now = 0us;
  int granted = 0;
  std::set<RatePolicy> refused_by;
  for (int step = 0; step < 20'000; ++step) {
    now += std::chrono::microseconds(below(20'000'000));
    const std::int64_t day = day_of(after(now).wall).time_since_epoch().count();
    if (below(2) == 0 && !running.empty()) {
      const auto index = static_cast<std::size_t>(below(static_cast<std::int64_t>(running.size())));
      Running& ended = running[index];
      const Demand came_to{.tokens = below(ended.reserved.tokens + 1),
                           .cost = Money{below(ended.reserved.cost.pico_dollars + 1)}};
      ended.permit.settle(came_to);
      used[{ended.key, ended.day}] += came_to.tokens;
      spent += came_to.cost;
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
      continue;
    }
    const auto key = static_cast<std::size_t>(below(4));
    Caller caller = caller_of("k" + std::to_string(key), key_limits, models);
    caller.limits.spend_cents_per_month = 9'000;
    auto permit = admission.admit(caller, after(now));
    if (!permit) {
      refused_by.insert(permit.error().policy);
      continue;
    }
    const bool is_m0 = below(2) == 0;
    const Demand most{.tokens = below(900), .cost = Money::of_cents(below(40))};
    const auto reserved = permit->reserve(most, is_m0 ? "m0" : "m1", after(now));
    if (!reserved) {
      refused_by.insert(reserved.error().policy);
      continue;
    }
    ++granted;
    running.push_back({*std::move(permit), key, is_m0, day, most});
    // All that runs may yet come to all that it reserved.
    std::int64_t of_key = used[{key, day}];
    std::int64_t on_m0 = 0;
    std::int64_t by_key = 0;
    Money worst = spent;
    for (const Running& one : running) {
      if (one.key == key && one.day == day) of_key += one.reserved.tokens;
      by_key += one.key == key;
      on_m0 += one.is_m0;
      worst += one.reserved.cost;
    }
    ASSERT_LE(of_key, 50'000) << "seed " << kSeed << " step " << step;
    ASSERT_LE(by_key, 3) << step;
    ASSERT_LE(on_m0, 2) << step;
    ASSERT_LE(worst, budget) << step;
  }
  EXPECT_GT(granted, 500);
  EXPECT_TRUE(refused_by.contains(RatePolicy::kConcurrency));
  EXPECT_TRUE(refused_by.contains(RatePolicy::kTokensPerDay));
  EXPECT_TRUE(refused_by.contains(RatePolicy::kSpendPerMonth));
  running.clear();
  EXPECT_EQ(admission.num_running(), 0);
}

}  // namespace
}  // namespace tessera

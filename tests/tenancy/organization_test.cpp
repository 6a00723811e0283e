// Limits of all tenants together, above those that each has.
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

std::shared_ptr<const OrganizationLimits> limits(const MeterLimits& limits,
                                                 std::uint64_t revision = 0) {
  return std::make_shared<OrganizationLimits>(OrganizationLimits{limits, revision});
}

Caller caller_of(const std::string& tenant,
                 const std::shared_ptr<const OrganizationLimits>& organization) {
  Caller caller{.tenant = TenantId(tenant), .key = KeyId("key of " + tenant), .limits = {}};
  caller.organization = organization;
  return caller;
}

TEST(Organization, WhatOneTenantHoldsAnotherLacks) {
  Admission admission;
  const auto one = limits({.max_concurrent_requests = 1});
  const auto first = admission.admit(caller_of("ada", one), kStart);
  ASSERT_TRUE(first);
  const auto second = admission.admit(caller_of("bob", one), kStart);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().level, Level::kOrganization);
  EXPECT_EQ(second.error().policy, RatePolicy::kConcurrency);
}

TEST(Organization, ItsRefusalTakesNothingFromAnyLevel) {
  Admission admission;
  const auto organization = limits({.tokens_per_minute = 100});
  const Caller ada = caller_of("ada", organization);
  auto permit = admission.admit(ada, kStart);
  const auto refused = permit->reserve({.tokens = 101}, "m", kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRequestExceedsLimit);
  EXPECT_EQ(refused.error().level, Level::kOrganization);
  EXPECT_EQ(admission.view(ada, kStart).requests.remaining, ada.limits.requests_per_minute);
  EXPECT_EQ(admission.use_of_all(kStart)->requests_today, 0);
  EXPECT_EQ(admission.num_running(), 0);
}

TEST(Organization, ARefusalBelowTakesNothingFromIt) {
  Admission admission;
  Caller ada = caller_of("ada", limits({.requests_per_day = 5}));
  ada.limits.max_concurrent_requests = 1;
  const auto held = admission.admit(ada, kStart);
  ASSERT_TRUE(held);
  EXPECT_FALSE(admission.admit(ada, kStart));
  EXPECT_EQ(admission.use_of_all(kStart)->requests_today, 1);
  ada.limits.tokens_per_minute = 10;
  auto bob = caller_of("bob", ada.organization);
  bob.limits.tokens_per_minute = 10;
  auto permit = admission.admit(bob, kStart);
  EXPECT_FALSE(permit->reserve({.tokens = 11}, "m", kStart));
  EXPECT_EQ(admission.use_of_all(kStart)->requests_today, 1);
}

TEST(Organization, TheLongestWaitIsTold) {
  Admission admission;
  const auto organization = limits({.requests_per_minute = 1});
  Caller ada = caller_of("ada", organization);
  ada.limits.requests_per_minute = 60;
  ada.limits.burst_requests = 1;
  ASSERT_TRUE(admission.admit(ada, kStart)->reserve({.tokens = 1}, "m", kStart));
  const auto refused = admission.admit(ada, kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().level, Level::kOrganization);
  EXPECT_EQ(refused.error().retry_after, 60s);
}

TEST(Organization, MoneyIsAHardStopForAll) {
  Admission admission;
  const auto organization = limits({.spend_cents_per_month = 100});
  auto permit = admission.admit(caller_of("ada", organization), kStart);
  ASSERT_TRUE(permit->reserve({.tokens = 1, .cost = Money::of_cents(100)}, "m", kStart));
  auto other = admission.admit(caller_of("bob", organization), kStart);
  const auto refused = other->reserve({.tokens = 1, .cost = Money{1}}, "m", kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kBillingHardLimitReached);
  permit->settle({.tokens = 1, .cost = Money::of_cents(40)});
  other = admission.admit(caller_of("bob", organization), kStart);
  EXPECT_TRUE(other->reserve({.tokens = 1, .cost = Money::of_cents(60)}, "m", kStart));
}

// What is left of it is what others have used.
TEST(Organization, ItsNumbersAreNotTold) {
  Admission admission;
  const auto organization = limits({.tokens_per_minute = 77'777});
  auto first = admission.admit(caller_of("ada", organization), kStart);
  ASSERT_TRUE(first->reserve({.tokens = 77'000}, "m", kStart));
  auto second = admission.admit(caller_of("bob", organization), kStart);
  const auto refused = second->reserve({.tokens = 1'000}, "m", kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().limit, 0);
  EXPECT_EQ(refused.error().remaining, 0);
  EXPECT_EQ(to_error(refused.error()).message.find("777"), std::string::npos);
  EXPECT_EQ(refused.error().view.tokens.limit, Caller().limits.tokens_per_minute);
}

TEST(Organization, BeginsWithWhatTheLedgerRemembers) {
  Admission admission({}, {}, [](WallTime) { return PeriodUse{.tokens_today = 90}; });
  const auto organization = limits({.tokens_per_day = 100});
  auto permit = admission.admit(caller_of("ada", organization), kStart);
  EXPECT_FALSE(permit->reserve({.tokens = 11}, "m", kStart));
  permit = admission.admit(caller_of("ada", organization), kStart);
  EXPECT_TRUE(permit->reserve({.tokens = 10}, "m", kStart));
}

TEST(Organization, NewerLimitsCountWhoeverBringsThemAndOlderOnesDoNot) {
  Admission admission;
  const auto old = limits({.max_concurrent_requests = 5}, 1);
  const auto next = limits({.max_concurrent_requests = 1}, 2);
  const auto first = admission.admit(caller_of("ada", old), kStart);
  ASSERT_TRUE(first);
  EXPECT_FALSE(admission.admit(caller_of("bob", next), kStart));
  EXPECT_FALSE(admission.admit(caller_of("ada", old), kStart));
}

TEST(Organization, WithoutLimitsThereIsNone) {
  Admission admission;
  auto permit = admission.admit(caller_of("ada", nullptr), kStart);
  ASSERT_TRUE(permit->reserve({.tokens = 1}, "m", kStart));
  EXPECT_EQ(admission.use_of_all(kStart), std::nullopt);
  // One that begins meanwhile asks nothing of who is running, at his end neither.
  admission.set_organization(limits({.max_concurrent_requests = 1}), kStart);
  permit->settle({.tokens = 1});
  EXPECT_EQ(admission.use_of_all(kStart)->tokens_today, 0);
}

}  // namespace
}  // namespace tessera

#include "tenancy/admission.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr SteadyTime kStart{1h};

// The wall clock goes along.
Now at(SteadyTime steady) {
  const auto since = std::chrono::floor<std::chrono::microseconds>(steady.time_since_epoch());
  return {steady, WallTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 21)) + since};
}

Caller caller_of(const TenantLimits& limits, const std::string& tenant = "proj_a") {
  return {.tenant = TenantId(tenant), .key = KeyId("key"), .limits = limits};
}

// 60 requests a minute in bursts of 3, 600 tokens a minute in bursts of 100, 2 at a time.
const TenantLimits kLimits{.requests_per_minute = 60,
                           .tokens_per_minute = 600,
                           .burst_requests = 3,
                           .burst_tokens = 100,
                           .max_concurrent_requests = 2};

// As read by a request that arrives after an admin's change.
Caller caller_after(const Caller& earlier, const TenantLimits& limits) {
  Caller caller = earlier;
  caller.limits = limits;
  ++caller.limits_revision;
  return caller;
}

class AdmissionTest : public testing::Test {
 protected:
  std::int64_t remaining_requests(SteadyTime now = kStart) {
    return admission_.view(caller_, at(now)).requests.remaining;
  }
  std::int64_t remaining_tokens(SteadyTime now = kStart) {
    return admission_.view(caller_, at(now)).tokens.remaining;
  }

  Admission admission_;
  Caller caller_ = caller_of(kLimits);
};

TEST_F(AdmissionTest, GrantsWithinTheLimitsAndReportsThem) {
  auto permit = admission_.admit(caller_, at(kStart));
  ASSERT_TRUE(permit);
  ASSERT_TRUE(permit->reserve({.tokens = 40}, "", at(kStart)));
  const LimitsView view = permit->view(at(kStart));
  EXPECT_EQ(view.requests.limit, 60);
  EXPECT_EQ(view.requests.remaining, 2);
  EXPECT_EQ(view.requests.reset, 1s);
  EXPECT_EQ(view.tokens.limit, 600);
  EXPECT_EQ(view.tokens.remaining, 60);
  EXPECT_EQ(view.tokens.reset, 4s);
  EXPECT_EQ(view.max_concurrent_requests, 2);
  EXPECT_EQ(view.concurrent_requests, 1);
}

TEST_F(AdmissionTest, SettlingFreesTheSlotAndGivesBackUnusedTokens) {
  auto permit = admission_.admit(caller_, at(kStart));
  ASSERT_TRUE(permit->reserve({.tokens = 90}, "", at(kStart)));
  permit->settle({.tokens = 15});
  EXPECT_FALSE(*permit);
  EXPECT_EQ(admission_.num_running(), 0);
  EXPECT_EQ(remaining_tokens(), 85);
  EXPECT_EQ(remaining_requests(), 2);
  permit->settle({.tokens = 90});  // once only
  EXPECT_EQ(remaining_tokens(), 85);
}

TEST_F(AdmissionTest, DroppedPermitChargesWhatItWasToldWasUsed) {
  {
    auto permit = admission_.admit(caller_, at(kStart));
    ASSERT_TRUE(permit->reserve({.tokens = 90}, "", at(kStart)));
    permit->note_used({.tokens = 20});
    permit->note_used({.tokens = 33});
  }
  EXPECT_EQ(remaining_tokens(), 67);
  EXPECT_EQ(admission_.num_running(), 0);
}

TEST_F(AdmissionTest, MoreThanReservedCountsAsAll) {
  auto permit = admission_.admit(caller_, at(kStart));
  ASSERT_TRUE(permit->reserve({.tokens = 10}, "", at(kStart)));
  permit->settle({.tokens = 1000});
  EXPECT_EQ(remaining_tokens(), 90);
}

TEST_F(AdmissionTest, MovedPermitHoldsOnceAndAssignmentEndsTheOld) {
  auto first = admission_.admit(caller_, at(kStart));
  auto second = admission_.admit(caller_, at(kStart));
  Permit held = std::move(*first);
  EXPECT_EQ(admission_.num_running(), 2);
  held = std::move(*second);
  EXPECT_EQ(admission_.num_running(), 1);
  held = Permit();
  EXPECT_EQ(admission_.num_running(), 0);
}

TEST_F(AdmissionTest, RequestWithoutReservationCountsAsOne) {
  { const auto malformed = admission_.admit(caller_, at(kStart)); }
  EXPECT_EQ(remaining_requests(), 2);
  EXPECT_EQ(remaining_tokens(), 100);
}

TEST_F(AdmissionTest, ConcurrencyIsRefusedFirstAndTakesNoRequest) {
  const auto first = admission_.admit(caller_, at(kStart));
  const auto second = admission_.admit(caller_, at(kStart));
  const auto third = admission_.admit(caller_, at(kStart));
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().policy, RatePolicy::kConcurrency);
  EXPECT_EQ(third.error().limit, 2);
  EXPECT_EQ(third.error().retry_after, Meter::kConcurrencyRetryAfter);
  EXPECT_EQ(third.error().view.concurrent_requests, 2);
  EXPECT_EQ(remaining_requests(), 1);
}

TEST_F(AdmissionTest, RequestRefusalNamesTheExactWait) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(admission_.admit(caller_, at(kStart)));
  const auto refused = admission_.admit(caller_, at(kStart + 300ms));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().policy, RatePolicy::kRequests);
  EXPECT_EQ(refused.error().code, Code::kRateLimitExceeded);
  EXPECT_EQ(refused.error().retry_after, 700ms);
  EXPECT_EQ(refused.error().remaining, 0);
  EXPECT_FALSE(admission_.admit(caller_, at(kStart + 1s - 1us)));
  EXPECT_TRUE(admission_.admit(caller_, at(kStart + 1s)));
}

TEST_F(AdmissionTest, TokenRefusalGivesBackSlotAndRequestAndNamesTheExactWait) {
  auto first = admission_.admit(caller_, at(kStart));
  ASSERT_TRUE(first->reserve({.tokens = 95}, "", at(kStart)));
  auto second = admission_.admit(caller_, at(kStart));
  const auto refused = second->reserve({.tokens = 20}, "", at(kStart));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().policy, RatePolicy::kTokens);
  EXPECT_EQ(refused.error().requested, 20);
  EXPECT_EQ(refused.error().remaining, 5);
  EXPECT_EQ(refused.error().retry_after, 1500ms);
  EXPECT_EQ(refused.error().view.requests.remaining, 2);
  EXPECT_FALSE(*second);
  EXPECT_EQ(admission_.num_running(), 1);
  EXPECT_EQ(remaining_requests(), 2);
  auto again = admission_.admit(caller_, at(kStart + 1500ms));
  EXPECT_TRUE(again->reserve({.tokens = 20}, "", at(kStart + 1500ms)));
}

TEST_F(AdmissionTest, MoreThanTheBurstIsRefusedForGoodEvenWhenFull) {
  auto permit = admission_.admit(caller_, at(kStart));
  const auto refused = permit->reserve({.tokens = 101}, "", at(kStart));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRequestExceedsLimit);
  EXPECT_EQ(refused.error().limit, 100);
  EXPECT_EQ(refused.error().retry_after, 0ns);
  EXPECT_EQ(remaining_requests(), 3);
  EXPECT_EQ(remaining_tokens(), 100);
}

TEST_F(AdmissionTest, RefusalsReadAsClientsKnowThem) {
  auto first = admission_.admit(caller_, at(kStart));
  ASSERT_TRUE(first->reserve({.tokens = 95}, "", at(kStart)));
  auto second = admission_.admit(caller_, at(kStart));
  const Error error = to_error(second->reserve({.tokens = 20}, "", at(kStart)).error());
  EXPECT_EQ(error.code, Code::kRateLimitExceeded);
  EXPECT_EQ(error.message,
            "Rate limit reached for tokens per min (TPM): limit 600, requested 20, remaining 5. "
            "Retry in 1.500s.");
}

TEST_F(AdmissionTest, ChangedLimitsApplyToTheNextRequestAndForgetNothing) {
  auto first = admission_.admit(caller_, at(kStart));
  ASSERT_TRUE(first->reserve({.tokens = 80}, "", at(kStart)));
  TenantLimits limits = kLimits;
  limits.burst_tokens = 1000;
  limits.max_concurrent_requests = 5;
  caller_ = caller_after(caller_, limits);
  auto second = admission_.admit(caller_, at(kStart));
  ASSERT_TRUE(second->reserve({.tokens = 900}, "", at(kStart)));
  EXPECT_EQ(remaining_tokens(), 20);
  limits.max_concurrent_requests = 1;
  caller_ = caller_after(caller_, limits);
  EXPECT_EQ(admission_.admit(caller_, at(kStart)).error().policy, RatePolicy::kConcurrency);
  EXPECT_EQ(admission_.num_running(), 2) << "those running are left alone";
}

// A request that began before a change of limits reads them for its headers when it ends.
TEST_F(AdmissionTest, ViewOfAnOlderCallerLeavesRaisedLimitsInForce) {
  const Caller old_caller = caller_of({.tokens_per_minute = 60});
  const Caller new_caller = caller_after(old_caller, {.tokens_per_minute = 6000});
  const auto first = admission_.admit(old_caller, at(kStart));
  auto second = admission_.admit(new_caller, at(kStart));
  EXPECT_EQ(admission_.view(old_caller, at(kStart)).tokens.limit, 6000);
  EXPECT_TRUE(second->reserve({.tokens = 500}, "", at(kStart)));
}

TEST_F(AdmissionTest, ViewOfAnOlderCallerLeavesLoweredLimitsInForce) {
  const Caller old_caller = caller_of({.tokens_per_minute = 6000});
  const Caller new_caller = caller_after(old_caller, {.tokens_per_minute = 60});
  const auto first = admission_.admit(old_caller, at(kStart));
  auto second = admission_.admit(new_caller, at(kStart));
  EXPECT_EQ(admission_.view(old_caller, at(kStart)).tokens.limit, 60);
  const auto refused = second->reserve({.tokens = 500}, "", at(kStart));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRequestExceedsLimit);
  EXPECT_EQ(refused.error().limit, 60);
}

TEST_F(AdmissionTest, OlderCallerAdmittedLateIsHeldToTheNewerLimits) {
  TenantLimits raised = kLimits;
  raised.burst_tokens = 1000;
  TenantLimits lowered = raised;
  lowered.max_concurrent_requests = 1;
  lowered.burst_tokens = 10;
  const Caller newer = caller_after(caller_, raised);
  const Caller newest = caller_after(newer, lowered);

  auto first = admission_.admit(newer, at(kStart));
  auto late = admission_.admit(caller_, at(kStart));
  EXPECT_TRUE(late->reserve({.tokens = 500}, "", at(kStart)))
      << "the burst was raised before it was admitted";
  late->settle({.tokens = 0});
  EXPECT_TRUE(first->reserve({.tokens = 500}, "", at(kStart)));

  EXPECT_FALSE(admission_.admit(newest, at(kStart)));
  const auto later = admission_.admit(newer, at(kStart));
  ASSERT_FALSE(later) << "one at a time is the newest limit, and one is running";
  EXPECT_EQ(later.error().limit, 1);
}

TEST_F(AdmissionTest, ViewAppliesNoLimits) {
  const auto first = admission_.admit(caller_, at(kStart));
  TenantLimits raised = kLimits;
  raised.max_concurrent_requests = 5;
  const Caller newer = caller_after(caller_, raised);
  EXPECT_EQ(admission_.view(newer, at(kStart)).max_concurrent_requests, 2);
  const auto second = admission_.admit(newer, at(kStart));
  EXPECT_EQ(admission_.view(caller_, at(kStart)).max_concurrent_requests, 5);
}

TEST_F(AdmissionTest, TenantsDoNotShareLimits) {
  const auto first = admission_.admit(caller_, at(kStart));
  const auto second = admission_.admit(caller_, at(kStart));
  EXPECT_FALSE(admission_.admit(caller_, at(kStart)));
  EXPECT_TRUE(admission_.admit(caller_of(kLimits, "proj_b"), at(kStart)));
}

TEST_F(AdmissionTest, PermitMayOutliveItsAdmission) {
  auto admission = std::make_unique<Admission>();
  auto permit = admission->admit(caller_, at(kStart));
  ASSERT_TRUE(permit->reserve({.tokens = 10}, "", at(kStart)));
  admission.reset();
  permit->settle({.tokens = 5});
}

// What the tenant got, against the rule: over any time from `start` on, at most the burst and what
// drips in since.
TEST(AdmissionProperty, NoSequenceOfRequestsGetsMoreThanTheLimits) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto in = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  struct Charge {
    SteadyTime time;
    std::int64_t tokens;
  };
  struct Running {
    Permit permit;
    std::size_t charge;
    std::int64_t reserved;
  };
  for (int run = 0; run < 20; ++run) {
    const TenantLimits limits{.requests_per_minute = in(1, 600),
                              .tokens_per_minute = in(1, 6000),
                              .burst_requests = in(1, 20),
                              .burst_tokens = in(1, 500),
                              .max_concurrent_requests = in(1, 8)};
    const Caller caller = caller_of(limits);
    Admission admission;
    std::vector<Charge> charges;
    std::vector<Running> running;
    SteadyTime now = kStart;
    const auto charge_and_drop = [&](std::size_t index) {
      Running& ending = running[index];
      const std::int64_t used = in(0, ending.reserved);
      charges[ending.charge].tokens = used;
      if (in(0, 1) == 0) {
        ending.permit.settle({.tokens = used});
      } else {
        ending.permit.note_used({.tokens = used});
      }
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
    };
    for (int step = 0; step < 300; ++step) {
      now += std::chrono::microseconds(in(0, 500'000));
      if (!running.empty() && in(0, 2) == 0) {
        charge_and_drop(static_cast<std::size_t>(in(0, std::ssize(running) - 1)));
        continue;
      }
      const LimitsView before = admission.view(caller, at(now));
      auto permit = admission.admit(caller, at(now));
      const std::int64_t wanted = in(0, limits.token_burst() + 10);
      if (permit && permit->reserve({.tokens = wanted}, "", at(now))) {
        charges.push_back({now, wanted});
        running.push_back({std::move(*permit), charges.size() - 1, wanted});
      } else {  // a refusal takes nothing
        const LimitsView after = admission.view(caller, at(now));
        ASSERT_EQ(after.requests.reset, before.requests.reset);
        ASSERT_EQ(after.tokens.reset, before.tokens.reset);
        ASSERT_EQ(after.concurrent_requests, before.concurrent_requests);
      }
      ASSERT_EQ(admission.num_running(), std::ssize(running));
      ASSERT_LE(std::ssize(running), limits.max_concurrent_requests);
    }
    while (!running.empty()) charge_and_drop(0);
    EXPECT_EQ(admission.num_running(), 0);

    for (std::size_t from = 0; from < charges.size(); ++from) {
      std::int64_t tokens = 0;
      for (std::size_t to = from; to < charges.size(); ++to) {
        tokens += charges[to].tokens;
        const std::int64_t micros = (charges[to].time - charges[from].time) / 1us;
        const auto requests = static_cast<std::int64_t>(to - from + 1);
        ASSERT_LE(tokens * 60'000'000,
                  limits.token_burst() * 60'000'000 + micros * limits.tokens_per_minute);
        ASSERT_LE(requests * 60'000'000,
                  limits.request_burst() * 60'000'000 + micros * limits.requests_per_minute);
      }
    }
  }
}

TEST(AdmissionProperty, ThreadsTogetherGetExactlyTheBurstAndLeakNothing) {
  const TenantLimits limits{.requests_per_minute = 1,
                            .tokens_per_minute = 1,
                            .burst_requests = 1000,
                            .burst_tokens = 10'000,
                            .max_concurrent_requests = 3};
  Admission admission;
  const Caller caller = caller_of(limits);
  std::atomic<int> running = 0;
  std::atomic<int> most_running = 0;
  std::atomic<std::int64_t> used = 0;
  std::atomic<std::int64_t> granted = 0;
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 2000; ++i) {
        auto permit = admission.admit(caller, at(kStart));  // time stands still
        if (!permit || !permit->reserve({.tokens = static_cast<std::int64_t>(1 + random() % 50)},
                                        "", at(kStart)))
          continue;
        const int now_running = ++running;
        for (int seen = most_running; seen < now_running;) {
          if (most_running.compare_exchange_weak(seen, now_running)) break;
        }
        ++granted;
        used += 1;
        --running;
        permit->settle({.tokens = 1});
      }
    });
  }
  threads.clear();
  EXPECT_LE(most_running, 3);
  EXPECT_EQ(admission.num_running(), 0);
  const LimitsView view = admission.view(caller, at(kStart));
  EXPECT_EQ(view.tokens.remaining, 10'000 - used);
  EXPECT_EQ(view.requests.remaining, 1000 - granted);
}

// Two generations of callers at once, as while an admin's change spreads: once a newer one has been
// admitted, none of the older ones' calls is answered by the older limits.
TEST(AdmissionProperty, NoThreadEverSeesOlderLimitsAfterNewer) {
  constexpr std::int64_t kNumRevisions = 200;
  Admission admission;
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Caller caller = caller_of({});
      std::int64_t newest_seen = 1;
      for (std::int64_t revision = 1; revision <= kNumRevisions; ++revision) {
        const Caller older = caller;
        caller = caller_after(caller, {.max_concurrent_requests = revision});
        static_cast<void>(admission.admit(caller, at(kStart)));
        static_cast<void>(admission.admit(older, at(kStart)));
        const std::int64_t seen = admission.view(older, at(kStart)).max_concurrent_requests;
        ASSERT_GE(seen, std::max(newest_seen, revision));
        newest_seen = seen;
      }
    });
  }
}

}  // namespace
}  // namespace tessera

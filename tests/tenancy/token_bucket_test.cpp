#include "tenancy/token_bucket.hpp"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr TokenBucket::Limit kSixtyPerMinute{.per_minute = 60, .burst = 10};
constexpr SteadyTime kStart{1h};

// Takes and settles at once: the plain use, as of a limit of requests.
void take(TokenBucket& bucket, std::int64_t tokens, SteadyTime now) {
  bucket.settle(bucket.reserve(tokens, now), tokens);
}

TEST(TokenBucket, NewBucketGrantsTheWholeBurstAtOnce) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  EXPECT_EQ(bucket.wait_for(10, kStart), 0s);
  take(bucket, 10, kStart);
  EXPECT_EQ(bucket.remaining(kStart), 0);
  EXPECT_EQ(bucket.wait_for(1, kStart), 1s);
}

TEST(TokenBucket, WaitIsExactToTheMicrosecond) {
  TokenBucket bucket({.per_minute = 7, .burst = 5}, kStart);  // a token in 8.571428…s
  take(bucket, 5, kStart);
  const auto wait = bucket.wait_for(3, kStart);
  EXPECT_EQ(wait, 25'714'286us);  // rounded up
  EXPECT_EQ(bucket.wait_for(3, kStart + wait - 1us), 1us);
  EXPECT_EQ(bucket.wait_for(3, kStart + wait), 0us);
}

TEST(TokenBucket, AskingTakesNothing) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  take(bucket, 10, kStart);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(bucket.wait_for(4, kStart), 4s);
  EXPECT_EQ(bucket.wait_for(4, kStart + 4s), 0s);
}

TEST(TokenBucket, ResetAndRemainingFollowTheDrip) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  take(bucket, 4, kStart);
  EXPECT_EQ(bucket.remaining(kStart), 6);
  EXPECT_EQ(bucket.time_to_full(kStart), 4s);
  EXPECT_EQ(bucket.remaining(kStart + 999ms), 6);
  EXPECT_EQ(bucket.remaining(kStart + 1s), 7);
  EXPECT_EQ(bucket.remaining(kStart + 1h), 10);
  EXPECT_EQ(bucket.time_to_full(kStart + 1h), 0s);
}

TEST(TokenBucket, SettlingGivesBackTheRest) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  const auto reservation = bucket.reserve(10, kStart);
  EXPECT_EQ(bucket.remaining(kStart), 0);
  bucket.settle(reservation, 3);
  EXPECT_EQ(bucket.remaining(kStart), 7);
}

TEST(TokenBucket, ReservationsMayBeSettledInAnyOrder) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  const auto first = bucket.reserve(4, kStart);
  const auto second = bucket.reserve(6, kStart);
  bucket.settle(second, 1);
  EXPECT_EQ(bucket.remaining(kStart), 5);
  bucket.settle(first, 1);
  EXPECT_EQ(bucket.remaining(kStart), 8);
}

TEST(TokenBucket, LateRefundDoesNotPayBackWhatHasDrippedAway) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  const auto first = bucket.reserve(10, kStart);
  take(bucket, 5, kStart + 20s);  // the ten have dripped away, five are in use
  bucket.settle(first, 5);
  EXPECT_EQ(bucket.remaining(kStart + 20s), 5);
}

TEST(TokenBucket, RefundCountsWhatTheUnusedPartKeptFromDripping) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  const auto first = bucket.reserve(10, kStart);
  take(bucket, 5, kStart + 5s);
  bucket.settle(first, 1);  // one would have dripped by the first second; the five are in use
  EXPECT_EQ(bucket.remaining(kStart + 5s), 5);
}

TEST(TokenBucket, NewLimitKeepsWhatIsInUse) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  take(bucket, 8, kStart);
  bucket.set_limit({.per_minute = 120, .burst = 20}, kStart + 2s);  // six are left in use
  EXPECT_EQ(bucket.remaining(kStart + 2s), 14);
  EXPECT_EQ(bucket.time_to_full(kStart + 2s), 3s);
  bucket.set_limit({.per_minute = 60, .burst = 2}, kStart + 2s);
  EXPECT_EQ(bucket.remaining(kStart + 2s), 0);
  EXPECT_EQ(bucket.wait_for(2, kStart + 2s), 6s);
}

TEST(TokenBucket, TimeThatRunsBackwardsCountsAsStandingStill) {
  TokenBucket bucket(kSixtyPerMinute, kStart);
  take(bucket, 10, kStart);
  EXPECT_EQ(bucket.wait_for(1, kStart - 1h), 1s);
  EXPECT_EQ(bucket.wait_for(1, kStart + 1s), 0s);
}

TEST(TokenBucket, LargestLimitsAndLongestPausesDoNotOverflow) {
  constexpr std::int64_t kMost = 1'000'000'000;
  TokenBucket fast({.per_minute = kMost, .burst = kMost}, kStart);
  take(fast, kMost, kStart);
  EXPECT_EQ(fast.wait_for(kMost, kStart), 1min);
  EXPECT_EQ(fast.remaining(kStart + 24h * 365 * 100), kMost);
  TokenBucket slow({.per_minute = 1, .burst = kMost}, kStart);
  take(slow, kMost, kStart);
  EXPECT_EQ(slow.wait_for(kMost, kStart), 1min * kMost);
  EXPECT_EQ(slow.remaining(kStart + 1min), 1);
}

// The specification: the level is replayed from the whole history, in which each settled
// reservation has taken, when it was made, what it was settled with.
class Model {
 public:
  Model(TokenBucket::Limit limit, SteadyTime now) : start_(now) {
    events_.push_back({now, 0, limit});
  }

  void set_limit(TokenBucket::Limit limit, SteadyTime now) { events_.push_back({now, 0, limit}); }

  std::size_t reserve(std::int64_t tokens, SteadyTime now) {
    events_.push_back({now, tokens, events_.back().limit});
    return events_.size() - 1;
  }

  void settle(std::size_t reservation, std::int64_t used) { events_[reservation].tokens = used; }

  // In 1/6e7 of a token.
  std::int64_t level(SteadyTime now) const {
    std::int64_t level = 0;
    SteadyTime at = start_;
    std::int64_t rate = events_.front().limit.per_minute;
    const auto drip = [&](SteadyTime until) {
      level = std::max<std::int64_t>(0, level - (until - at) / 1us * rate);
      at = until;
    };
    for (const Event& event : events_) {
      drip(event.time);
      level += event.tokens * 60'000'000;
      rate = event.limit.per_minute;
    }
    drip(now);
    return level;
  }

  TokenBucket::Limit limit() const { return events_.back().limit; }

 private:
  struct Event {
    SteadyTime time;
    std::int64_t tokens;
    TokenBucket::Limit limit;
  };
  SteadyTime start_;
  std::vector<Event> events_;
};

TEST(TokenBucket, AgreesWithAReplayOfItsHistory) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto in = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  for (int run = 0; run < 30; ++run) {
    const auto limit = [&] {
      return TokenBucket::Limit{.per_minute = in(1, 600), .burst = in(1, 100)};
    };
    const auto first = limit();
    SteadyTime now = kStart;
    TokenBucket bucket(first, now);
    Model model(first, now);
    struct Open {
      TokenBucket::Reservation reservation;
      std::size_t modelled;
      std::int64_t tokens;
    };
    std::vector<Open> open;
    for (int step = 0; step < 200; ++step) {
      now += std::chrono::microseconds(in(0, 3) == 0 ? 0 : in(0, 2'000'000));
      const std::int64_t room = model.limit().burst * 60'000'000 - model.level(now);
      ASSERT_EQ(bucket.remaining(now), std::max<std::int64_t>(0, room) / 60'000'000);
      const std::int64_t wanted = in(0, model.limit().burst);
      const std::int64_t missing = wanted * 60'000'000 - room;
      const std::int64_t rate = model.limit().per_minute;
      ASSERT_EQ(bucket.wait_for(wanted, now).count(), missing <= 0 ? 0 : (missing - 1) / rate + 1);
      if (missing <= 0 && in(0, 1) == 0) {
        open.push_back({bucket.reserve(wanted, now), model.reserve(wanted, now), wanted});
      } else if (!open.empty() && in(0, 2) != 0) {
        const auto chosen = open.begin() + in(0, std::ssize(open) - 1);
        const std::int64_t used = in(0, chosen->tokens);
        bucket.settle(chosen->reservation, used);
        model.settle(chosen->modelled, used);
        open.erase(chosen);
      } else if (in(0, 9) == 0) {
        const auto next = limit();
        bucket.set_limit(next, now);
        model.set_limit(next, now);
      }
    }
  }
}

}  // namespace
}  // namespace tessera

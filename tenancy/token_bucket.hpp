// token_bucket.hpp — a rate limit that answers "yes" or "not before", and takes reservations.
//
// The bucket keeps its level: how much of the burst is in use. It drips down at the sustained rate;
// a demand is granted if it still fits under the burst. (The leaky-bucket form of the generic cell
// rate algorithm, ITU-T I.371. The level and not a time is kept, because a level means the same
// after an admin has changed the rate.) Integers only, so a run with a ManualClock is repeatable.
//
// What a request will use is not known when it is admitted, so it takes a reservation of the most
// it can use and settles it later. The invariant that makes this exact:
//
//     the level is always what it would be if each settled reservation had taken, at the moment it
//     was made, just what it was settled with.
//
// Subtracting the rest at settling time would break that: while the bucket stood at zero, nothing
// dripped, and a late refund would pay back what had dripped away already. So every open
// reservation keeps `level_since`, the level of a bucket that was empty when the reservation was
// made and has seen all that came later: the true level is never below it.
#pragma once

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstdint>
#include <list>

#include "storage/clock.hpp"

namespace tessera {

// Not thread-safe: a bucket is owned by the tenant's entry in Admission, under its lock. A `now`
// earlier than one seen before counts as that one. Operations are linear in the open reservations,
// which the tenant's concurrency limit bounds.
class TokenBucket {
 public:
  struct Limit {
    std::int64_t per_minute;  // sustained rate, in [1, 1e9]
    std::int64_t burst;       // tokens a full bucket holds, in [1, 1e9]

    bool operator==(const Limit&) const = default;
  };

 private:
  struct Open {
    std::int64_t tokens;
    std::int64_t level_since;
  };

 public:
  using Reservation = std::list<Open>::iterator;

  TokenBucket(Limit limit, SteadyTime now) : limit_(limit), at_(now) { check(limit); }

  // From now on. What is in use stays in use, even if that is more than the new burst.
  void set_limit(Limit limit, SteadyTime now) {
    check(limit);
    drip(now);
    limit_ = limit;
  }

  // How long to wait until `tokens` would be granted; zero if they would be now. It is sooner if
  // reservations are settled meanwhile. `tokens` must not exceed the burst.
  std::chrono::microseconds wait_for(std::int64_t tokens, SteadyTime now) {
    assert(0 <= tokens && tokens <= limit_.burst);
    drip(now);
    return time_to_drip(level_ + (tokens - limit_.burst) * kUnits);
  }

  // Takes `tokens`, for which wait_for() has just said zero.
  Reservation reserve(std::int64_t tokens, SteadyTime now) {
    assert(wait_for(tokens, now).count() == 0);
    drip(now);
    level_ += tokens * kUnits;
    for (Open& open : open_) open.level_since += tokens * kUnits;
    return open_.insert(open_.end(), Open{tokens, 0});
  }

  // Takes what has been used already, whether it would have been granted or not, and at most what a
  // full bucket holds. With no reservation open.
  void charge(std::int64_t tokens, SteadyTime now) {
    assert(tokens >= 0 && open_.empty());
    drip(now);
    const std::int64_t most = limit_.burst * kUnits;
    level_ = tokens >= limit_.burst ? most : std::min(level_ + tokens * kUnits, most);
  }

  // Ends a reservation of which `used` tokens were used, at most those reserved.
  void settle(Reservation reservation, std::int64_t used) {
    assert(0 <= used && used <= reservation->tokens);
    const std::int64_t unused = (reservation->tokens - used) * kUnits;
    const auto give_back = [&](std::int64_t level) {
      return std::max(level - unused, reservation->level_since);
    };
    level_ = give_back(level_);
    for (auto earlier = open_.begin(); earlier != reservation; ++earlier) {
      earlier->level_since = give_back(earlier->level_since);
    }
    open_.erase(reservation);
  }

  // Whole tokens that would be granted now.
  std::int64_t remaining(SteadyTime now) {
    drip(now);
    return std::max(limit_.burst * kUnits - level_, std::int64_t{0}) / kUnits;
  }

  // Time until nothing is in use.
  std::chrono::microseconds time_to_full(SteadyTime now) {
    drip(now);
    return time_to_drip(level_);
  }

  Limit limit() const { return limit_; }

 private:
  // Levels are in units of which a token has 6e7 and the rate drips `per_minute` a microsecond. At
  // the largest burst a level is 6e16: sums of a few stay within 64 bits.
  static constexpr std::int64_t kUnits = 60'000'000;
  static constexpr std::int64_t kMaxLevel = 1'000'000'000 * kUnits;

  static void check([[maybe_unused]] Limit limit) {
    assert(1 <= limit.per_minute && limit.per_minute <= 1'000'000'000);
    assert(1 <= limit.burst && limit.burst <= 1'000'000'000);
  }

  std::chrono::microseconds time_to_drip(std::int64_t units) const {
    if (units <= 0) return std::chrono::microseconds::zero();
    return std::chrono::microseconds((units - 1) / limit_.per_minute + 1);
  }

  // Lets pass what drips in the whole microseconds since the last call.
  void drip(SteadyTime now) {
    if (now <= at_) return;
    const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(now - at_);
    at_ += elapsed;
    const std::int64_t enough = kMaxLevel / limit_.per_minute + 1;  // empties any bucket
    const std::int64_t units = std::min<std::int64_t>(elapsed.count(), enough) * limit_.per_minute;
    level_ = std::max(level_ - units, std::int64_t{0});
    for (Open& open : open_) open.level_since = std::max(open.level_since - units, std::int64_t{0});
  }

  Limit limit_;
  SteadyTime at_;           // when the levels were as they are here
  std::int64_t level_ = 0;  // in units, >= 0
  std::list<Open> open_;    // reservations in the order they were made
};

}  // namespace tessera

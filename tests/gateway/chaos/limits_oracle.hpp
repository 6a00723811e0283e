// limits_oracle.hpp — what a tenant's limits allow, computed anew from everything that happened.
//
// It knows nothing of buckets, reservations or meters. A rate is a sum over the history: what has
// been taken drips away at the rate, and what a request turned out to use counts from the moment at
// which it came. A calendar's amount is a sum over those that came in the period.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>

#include "storage/clock.hpp"
#include "tenancy/calendar.hpp"
#include "tenancy/limits.hpp"
#include "tenancy/prices.hpp"

namespace tessera::chaos {

// Of every token: a thousandth of a cent, and three for one that was generated.
inline constexpr Price kPrice{.input = {10'000'000}, .cached_input = {}, .output = {30'000'000}};

// One rate a minute with a burst. Exact: levels are in sixty-millionths of a token.
class RateHistory {
 public:
  RateHistory(std::int64_t per_minute, std::int64_t burst)
      : per_minute_(per_minute), burst_(burst) {}

  bool fits(std::int64_t amount, SteadyTime now) {
    return level(now) + amount * kUnit <= burst_ * kUnit;
  }

  struct Event {
    SteadyTime at;
    std::int64_t amount;
    bool open;
  };
  using Entry = std::deque<Event>::size_type;  // counted from the first of all

  Entry take(std::int64_t amount, SteadyTime now) {
    events_.push_back({now, amount, true});
    return first_ + events_.size() - 1;
  }
  void settle(Entry entry, std::int64_t used) {
    Event& event = events_[entry - first_];
    event.amount = used;
    event.open = false;
    while (!events_.empty() && !events_.front().open) forget_first();
  }

 private:
  static constexpr std::int64_t kUnit = 60'000'000;

  std::int64_t dripped(std::int64_t level, SteadyTime from, SteadyTime to) const {
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(to - from).count();
    return std::max<std::int64_t>(level - micros * per_minute_, 0);
  }
  std::int64_t level(SteadyTime now) const {
    std::int64_t level = base_;
    SteadyTime at = base_at_;
    for (const Event& event : events_) {
      level = dripped(level, at, event.at) + event.amount * kUnit;
      at = event.at;
    }
    return dripped(level, at, now);
  }
  void forget_first() {
    const Event& event = events_.front();
    base_ = dripped(base_, base_at_, event.at) + event.amount * kUnit;
    base_at_ = event.at;
    events_.pop_front();
    ++first_;
  }

  const std::int64_t per_minute_;
  const std::int64_t burst_;
  std::deque<Event> events_;
  Entry first_ = 0;
  std::int64_t base_ = 0;
  SteadyTime base_at_{};
};

// One amount a period. Time that is set back stays in the period that it was in.
class PeriodHistory {
 public:
  PeriodHistory(Period period, std::optional<std::int64_t> limit, std::int64_t used, WallTime now)
      : period_(period), limit_(limit), start_(start_of(period, now)), used_(used) {}

  bool fits(std::int64_t amount, WallTime now) {
    advance(now);
    return !limit_ || used_ + amount <= *limit_;
  }
  WallTime take(std::int64_t amount, WallTime now) {
    advance(now);
    used_ += amount;
    return start_;
  }
  void give_back(WallTime start, std::int64_t amount) {
    if (start == start_) used_ -= amount;
  }

 private:
  void advance(WallTime now) {
    if (start_of(period_, now) <= start_) return;
    start_ = start_of(period_, now);
    used_ = 0;
  }

  const Period period_;
  const std::optional<std::int64_t> limit_;
  WallTime start_;
  std::int64_t used_;
};

class LimitsOracle {
 public:
  struct Held {
    RateHistory::Entry request;
    RateHistory::Entry tokens;
    WallTime request_day;
    WallTime token_day;
    WallTime token_month;
    WallTime spend_month;
    Demand most;
  };

  LimitsOracle(const TenantLimits& limits, const PeriodUse& use, Now now)
      : max_running_(limits.max_concurrent_requests),
        requests_(limits.requests_per_minute, limits.request_burst()),
        tokens_(limits.tokens_per_minute, limits.token_burst()),
        requests_today_(Period::kDay, limits.requests_per_day, use.requests_today, now.wall),
        tokens_today_(Period::kDay, limits.tokens_per_day, use.tokens_today, now.wall),
        tokens_month_(Period::kMonth, limits.tokens_per_month, use.tokens_this_month, now.wall),
        spend_month_(Period::kMonth, pico_dollars(limits.spend_cents_per_month),
                     use.spend_this_month.pico_dollars, now.wall) {}

  bool allows(const Demand& most, Now now) {
    return running_ < max_running_ && requests_.fits(1, now.steady) &&
           requests_today_.fits(1, now.wall) && tokens_.fits(most.tokens, now.steady) &&
           tokens_today_.fits(most.tokens, now.wall) && tokens_month_.fits(most.tokens, now.wall) &&
           spend_month_.fits(most.cost.pico_dollars, now.wall);
  }
  Held take(const Demand& most, Now now) {
    ++running_;
    return {requests_.take(1, now.steady),
            tokens_.take(most.tokens, now.steady),
            requests_today_.take(1, now.wall),
            tokens_today_.take(most.tokens, now.wall),
            tokens_month_.take(most.tokens, now.wall),
            spend_month_.take(most.cost.pico_dollars, now.wall),
            most};
  }
  void settle(const Held& held, const Demand& used) {
    --running_;
    requests_.settle(held.request, 1);
    tokens_.settle(held.tokens, used.tokens);
    tokens_today_.give_back(held.token_day, held.most.tokens - used.tokens);
    tokens_month_.give_back(held.token_month, held.most.tokens - used.tokens);
    spend_month_.give_back(held.spend_month, held.most.cost.pico_dollars - used.cost.pico_dollars);
  }

 private:
  static std::optional<std::int64_t> pico_dollars(const std::optional<std::int64_t>& cents) {
    if (!cents) return std::nullopt;
    return Money::of_cents(*cents).pico_dollars;
  }

  const std::int64_t max_running_;
  std::int64_t running_ = 0;
  RateHistory requests_;
  RateHistory tokens_;
  PeriodHistory requests_today_;
  PeriodHistory tokens_today_;
  PeriodHistory tokens_month_;
  PeriodHistory spend_month_;
};

}  // namespace tessera::chaos

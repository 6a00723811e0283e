// meter.hpp — what one level of the hierarchy has in use: a tenant, one of its keys, or a model of
// its.
//
// Four kinds of limit: requests at a time, rates a minute (TokenBucket), amounts a calendar day or
// month, and money a month. All of them are taken before a request runs, at the most that it can
// come to, and settled with what it came to, so that none is ever overshot. What is counted by the
// calendar belongs to the period in which the request was admitted, however long it runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "storage/clock.hpp"
#include "storage/result.hpp"
#include "tenancy/calendar.hpp"
#include "tenancy/money.hpp"
#include "tenancy/token_bucket.hpp"

namespace tessera {

// Both clocks at one moment.
struct Now {
  SteadyTime steady;
  WallTime wall;
};
inline Now now_of(const Clock& clock) {
  return {clock.steady_now(), clock.wall_now()};
}

enum class RatePolicy : std::uint8_t {
  kConcurrency,
  kRequests,  // a minute, as the next
  kTokens,
  kRequestsPerDay,
  kTokensPerDay,
  kTokensPerMonth,
  kSpendPerMonth,
};

// "concurrency", "rpm", "tpm", "rpd", "tpd", "tokens_per_month", "spend_per_month"
std::string_view to_string(RatePolicy policy);

// The largest value of any limit but those by calendar, of bytes and of money. Keeps TokenBucket's
// arithmetic within 64 bits.
inline constexpr std::int64_t kMaxLimit = 1'000'000'000;
inline constexpr std::int64_t kMaxCalendarLimit = 1'000'000 * kMaxLimit;

// nullopt: no limit of this level's own.
struct MeterLimits {
  std::optional<std::int64_t> max_concurrent_requests = {};
  std::optional<std::int64_t> requests_per_minute = {};
  std::optional<std::int64_t> tokens_per_minute = {};
  std::optional<std::int64_t> burst_requests = {};  // nullopt: a minute's worth
  std::optional<std::int64_t> burst_tokens = {};
  std::optional<std::int64_t> requests_per_day = {};
  std::optional<std::int64_t> tokens_per_day = {};
  std::optional<std::int64_t> tokens_per_month = {};
  std::optional<std::int64_t> spend_cents_per_month = {};

  bool operator==(const MeterLimits&) const = default;
};

// What was used at about one moment, shortly before a meter begins.
struct RecentUse {
  SteadyTime at = {};
  std::int64_t requests = 0;
  std::int64_t tokens = 0;
};

// What was used when a meter begins, from the ledger.
struct PeriodUse {
  std::int64_t requests_today = 0;
  std::int64_t tokens_today = 0;
  std::int64_t tokens_this_month = 0;
  Money spend_this_month = {};
  std::vector<RecentUse> recent = {};  // of the rates a minute; oldest first
};

// What a request may come to.
struct Demand {
  std::int64_t tokens = 0;
  Money cost = {};
};

// Why not now.
struct MeterRefusal {
  RatePolicy policy = RatePolicy::kRequests;
  std::int64_t limit = 0;  // of money, in cents, as the next two
  std::int64_t requested = 0;
  std::int64_t remaining = 0;
  // Until this policy alone would grant the same; for concurrency, which no clock ends, a hint.
  std::chrono::nanoseconds retry_after{};
  bool is_never = false;  // more than the limit as a whole
};

// An amount counted by calendar period. Periods only go forward: a wall clock that is set back
// does not give a period out twice.
class CalendarCount {
 public:
  CalendarCount(Period period, WallTime now, std::int64_t used)
      : period_(period), end_(end_of(period, now)), used_(used) {}

  void roll(WallTime now) {
    if (now < end_) return;
    end_ = end_of(period_, now);
    used_ = 0;
  }
  // The period that an amount was taken in is told by its end.
  WallTime take(std::int64_t amount) {
    used_ = (Money{used_} + Money{amount}).pico_dollars;  // saturating
    return end_;
  }
  void give_back(WallTime period, std::int64_t amount) {
    if (period == end_) used_ -= amount;
  }
  std::int64_t used() const { return used_; }
  WallTime end() const { return end_; }

 private:
  Period period_;
  WallTime end_;
  std::int64_t used_;
};

// Not thread-safe: owned by a tenant's entry in Admission, under its lock.
class Meter {
 public:
  static constexpr std::chrono::seconds kConcurrencyRetryAfter{1};

  // What one request holds here. Released or settled once, before the meter goes.
  struct Held {
    TokenBucket::Reservation request = {};
    WallTime request_day = {};
    bool has_tokens = false;
    TokenBucket::Reservation tokens = {};
    WallTime token_day = {};
    WallTime token_month = {};
    Demand demand = {};
  };

  Meter(const MeterLimits& limits, const PeriodUse& use, Now now);

  // From now on; what is in use stays so.
  void set_limits(const MeterLimits& limits, Now now);

  // A request passes in two steps: as one, and, once it is known, as so many tokens and so much
  // money. A refusal takes nothing; take_… follows only what was not refused, at the same moment.
  std::optional<MeterRefusal> refuse_request(Now now);
  Held take_request(Now now);
  // The refusal that lasts longest, if several.
  std::optional<MeterRefusal> refuse_demand(const Demand& demand, Now now);
  void take_demand(Held& held, const Demand& demand, Now now);

  // As if it had never come.
  void release(Held& held);
  // It came to `used`, at most what was taken.
  void settle(Held& held, const Demand& used);

  struct Window {
    std::int64_t limit = 0;
    std::int64_t remaining = 0;
    std::chrono::microseconds reset{};  // until nothing is in use
  };
  Window request_window(Now now);
  Window token_window(Now now);
  std::int64_t running() const { return running_; }
  const MeterLimits& limits() const { return limits_; }
  PeriodUse use(Now now);

 private:
  void remember(const std::vector<RecentUse>& recent, Now now);
  void roll(WallTime now);
  void give_back_rest(Held& held, const Demand& used);

  MeterLimits limits_;
  TokenBucket requests_;  // without a limit, of kMaxLimit
  TokenBucket tokens_;
  CalendarCount requests_today_;
  CalendarCount tokens_today_;
  CalendarCount tokens_this_month_;
  CalendarCount spend_this_month_;  // pico-dollars
  std::int64_t running_ = 0;
};

}  // namespace tessera

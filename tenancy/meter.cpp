#include "tenancy/meter.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace tessera {
namespace {

TokenBucket::Limit bucket_limit(std::optional<std::int64_t> per_minute,
                                std::optional<std::int64_t> burst) {
  const std::int64_t rate = per_minute.value_or(kMaxLimit);
  return {.per_minute = rate, .burst = burst.value_or(rate)};
}

TokenBucket::Limit request_limit(const MeterLimits& limits) {
  return bucket_limit(limits.requests_per_minute, limits.burst_requests);
}
TokenBucket::Limit token_limit(const MeterLimits& limits) {
  return bucket_limit(limits.tokens_per_minute, limits.burst_tokens);
}

// The refusal of `amount` by a bucket, if it does not fit.
std::optional<MeterRefusal> refusal_of(TokenBucket& bucket, RatePolicy policy, std::int64_t amount,
                                       Now now) {
  const auto [per_minute, burst] = bucket.limit();
  MeterRefusal refusal{.policy = policy,
                       .limit = per_minute,
                       .requested = amount,
                       .remaining = bucket.remaining(now.steady)};
  if (amount > burst) {
    refusal.limit = burst;
    refusal.is_never = true;
    return refusal;
  }
  refusal.retry_after = bucket.wait_for(amount, now.steady);
  if (refusal.retry_after.count() == 0) return std::nullopt;
  return refusal;
}

// The same by a count of the calendar. `unit`: how much of the count is one of what is told.
std::optional<MeterRefusal> refusal_of(const CalendarCount& count, RatePolicy policy,
                                       std::optional<std::int64_t> limit, std::int64_t amount,
                                       Now now, std::int64_t unit = 1) {
  if (!limit) return std::nullopt;
  const std::int64_t most = *limit * unit;
  if (amount <= most - std::min(count.used(), most)) return std::nullopt;
  return MeterRefusal{.policy = policy,
                      .limit = *limit,
                      .requested = (amount + unit - 1) / unit,
                      .remaining = std::max<std::int64_t>(most - count.used(), 0) / unit,
                      .retry_after = count.end() - now.wall,
                      .is_never = amount > most};
}

void keep_longer(std::optional<MeterRefusal>& kept, const std::optional<MeterRefusal>& other) {
  if (!other) return;
  const auto rank = [](const MeterRefusal& refusal) {
    return std::pair(refusal.is_never, refusal.retry_after);
  };
  if (!kept || rank(*kept) < rank(*other)) kept = other;
}

}  // namespace

std::string_view to_string(RatePolicy policy) {
  switch (policy) {
    case RatePolicy::kConcurrency:
      return "concurrency";
    case RatePolicy::kRequests:
      return "rpm";
    case RatePolicy::kTokens:
      return "tpm";
    case RatePolicy::kRequestsPerDay:
      return "rpd";
    case RatePolicy::kTokensPerDay:
      return "tpd";
    case RatePolicy::kTokensPerMonth:
      return "tokens_per_month";
    case RatePolicy::kSpendPerMonth:
      return "spend_per_month";
  }
  return "rpm";
}

Meter::Meter(const MeterLimits& limits, const PeriodUse& use, Now now)
    : limits_(limits),
      requests_(request_limit(limits), now.steady),
      tokens_(token_limit(limits), now.steady),
      requests_today_(Period::kDay, now.wall, use.requests_today),
      tokens_today_(Period::kDay, now.wall, use.tokens_today),
      tokens_this_month_(Period::kMonth, now.wall, use.tokens_this_month),
      spend_this_month_(Period::kMonth, now.wall, use.spend_this_month.pico_dollars) {
  if (!use.recent.empty()) remember(use.recent, now);
}

// As if it had been used here.
void Meter::remember(const std::vector<RecentUse>& recent, Now now) {
  const SteadyTime first = std::min(recent.front().at, now.steady);
  requests_ = TokenBucket(request_limit(limits_), first);
  tokens_ = TokenBucket(token_limit(limits_), first);
  for (const RecentUse& use : recent) {
    requests_.charge(use.requests, std::min(use.at, now.steady));
    tokens_.charge(use.tokens, std::min(use.at, now.steady));
  }
}

void Meter::set_limits(const MeterLimits& limits, Now now) {
  limits_ = limits;
  requests_.set_limit(request_limit(limits), now.steady);
  tokens_.set_limit(token_limit(limits), now.steady);
}

void Meter::roll(WallTime now) {
  requests_today_.roll(now);
  tokens_today_.roll(now);
  tokens_this_month_.roll(now);
  spend_this_month_.roll(now);
}

std::optional<MeterRefusal> Meter::refuse_request(Now now) {
  roll(now.wall);
  if (running_ >= limits_.max_concurrent_requests.value_or(kMaxLimit)) {
    return MeterRefusal{.policy = RatePolicy::kConcurrency,
                        .limit = *limits_.max_concurrent_requests,
                        .requested = 1,
                        .retry_after = kConcurrencyRetryAfter};
  }
  auto refused = refusal_of(requests_, RatePolicy::kRequests, 1, now);
  keep_longer(refused, refusal_of(requests_today_, RatePolicy::kRequestsPerDay,
                                  limits_.requests_per_day, 1, now));
  return refused;
}

Meter::Held Meter::take_request(Now now) {
  ++running_;
  return {.request = requests_.reserve(1, now.steady), .request_day = requests_today_.take(1)};
}

std::optional<MeterRefusal> Meter::refuse_demand(const Demand& demand, Now now) {
  roll(now.wall);
  auto refused = refusal_of(tokens_, RatePolicy::kTokens, demand.tokens, now);
  keep_longer(refused, refusal_of(tokens_today_, RatePolicy::kTokensPerDay, limits_.tokens_per_day,
                                  demand.tokens, now));
  keep_longer(refused, refusal_of(tokens_this_month_, RatePolicy::kTokensPerMonth,
                                  limits_.tokens_per_month, demand.tokens, now));
  keep_longer(refused, refusal_of(spend_this_month_, RatePolicy::kSpendPerMonth,
                                  limits_.spend_cents_per_month, demand.cost.pico_dollars, now,
                                  Money::kPicoPerCent));
  return refused;
}

void Meter::take_demand(Held& held, const Demand& demand, Now now) {
  assert(!held.has_tokens);
  held.has_tokens = true;
  held.demand = demand;
  held.tokens = tokens_.reserve(demand.tokens, now.steady);
  held.token_day = tokens_today_.take(demand.tokens);
  held.token_month = tokens_this_month_.take(demand.tokens);
  spend_this_month_.take(demand.cost.pico_dollars);
}

void Meter::release(Held& held) {
  requests_.settle(held.request, 0);
  requests_today_.give_back(held.request_day, 1);
  give_back_rest(held, {});
}

void Meter::settle(Held& held, const Demand& used) {
  requests_.settle(held.request, 1);
  give_back_rest(held, used);
}

void Meter::give_back_rest(Held& held, const Demand& used) {
  --running_;
  if (!held.has_tokens) return;
  const std::int64_t rest = held.demand.tokens - used.tokens;
  tokens_.settle(held.tokens, used.tokens);
  tokens_today_.give_back(held.token_day, rest);
  tokens_this_month_.give_back(held.token_month, rest);
  spend_this_month_.give_back(held.token_month, (held.demand.cost - used.cost).pico_dollars);
}

Meter::Window Meter::request_window(Now now) {
  return {.limit = requests_.limit().per_minute,
          .remaining = requests_.remaining(now.steady),
          .reset = requests_.time_to_full(now.steady)};
}

Meter::Window Meter::token_window(Now now) {
  return {.limit = tokens_.limit().per_minute,
          .remaining = tokens_.remaining(now.steady),
          .reset = tokens_.time_to_full(now.steady)};
}

PeriodUse Meter::use(Now now) {
  roll(now.wall);
  return {.requests_today = requests_today_.used(),
          .tokens_today = tokens_today_.used(),
          .tokens_this_month = tokens_this_month_.used(),
          .spend_this_month = {spend_this_month_.used()}};
}

}  // namespace tessera

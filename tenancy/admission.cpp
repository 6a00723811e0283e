#include "tenancy/admission.hpp"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <utility>

#include "tenancy/token_bucket.hpp"

namespace tessera {
namespace {

TokenBucket::Limit request_limit(const TenantLimits& limits) {
  return {.per_minute = limits.requests_per_minute, .burst = limits.request_burst()};
}

TokenBucket::Limit token_limit(const TenantLimits& limits) {
  return {.per_minute = limits.tokens_per_minute, .burst = limits.token_burst()};
}

LimitsView::Window window_of(TokenBucket& bucket, SteadyTime now) {
  return {.limit = bucket.limit().per_minute,
          .remaining = bucket.remaining(now),
          .reset = bucket.time_to_full(now)};
}

// "requests per min (RPM)", as OpenAI's clients are used to read it.
std::string_view description(RatePolicy policy) {
  switch (policy) {
    case RatePolicy::kConcurrency:
      return "concurrent requests";
    case RatePolicy::kRequests:
      return "requests per min (RPM)";
    case RatePolicy::kTokens:
      return "tokens per min (TPM)";
  }
  return "requests";
}

}  // namespace

// What one tenant has in use. Thread-safe. Held by the table and by each permit.
class AdmissionEntry {
 public:
  struct Reservations {
    TokenBucket::Reservation request;
    std::optional<TokenBucket::Reservation> tokens;
  };

  AdmissionEntry(const Caller& caller, SteadyTime now)
      : requests_(request_limit(caller.limits), now),
        tokens_(token_limit(caller.limits), now),
        max_running_(caller.limits.max_concurrent_requests),
        revision_(caller.limits_revision) {}

  // One lock for both steps: the caller is judged by the newest limits, its own or newer ones.
  Admitted<Reservations> admit(const Caller& caller, SteadyTime now) {
    const MutexLock lock(mutex_);
    if (caller.limits_revision > revision_) apply(caller, now);
    if (running_ >= max_running_) {
      return refusal(RatePolicy::kConcurrency, max_running_, 1, 0,
                     Admission::kConcurrencyRetryAfter, now);
    }
    const auto wait = requests_.wait_for(1, now);
    if (wait.count() > 0) {
      return refusal(RatePolicy::kRequests, requests_.limit().per_minute, 1,
                     requests_.remaining(now), wait, now);
    }
    ++running_;
    return Reservations{requests_.reserve(1, now), std::nullopt};
  }

  // On refusal everything in `held` has been given back.
  Admitted<void> reserve(Reservations& held, std::int64_t tokens, SteadyTime now) {
    const MutexLock lock(mutex_);
    auto refused = refusal_of_tokens(tokens, now);
    if (!refused) {
      held.tokens = tokens_.reserve(tokens, now);
      return {};
    }
    requests_.settle(held.request, 0);
    --running_;
    refused->view = locked_view(now);
    return *refused;
  }

  void settle(const Reservations& held, std::int64_t used_tokens) {
    const MutexLock lock(mutex_);
    requests_.settle(held.request, 1);
    if (held.tokens) tokens_.settle(*held.tokens, used_tokens);
    --running_;
  }

  LimitsView view(SteadyTime now) {
    const MutexLock lock(mutex_);
    return locked_view(now);
  }

  std::int64_t num_running() {
    const MutexLock lock(mutex_);
    return running_;
  }

 private:
  void apply(const Caller& caller, SteadyTime now) TESSERA_REQUIRES(mutex_) {
    requests_.set_limit(request_limit(caller.limits), now);
    tokens_.set_limit(token_limit(caller.limits), now);
    max_running_ = caller.limits.max_concurrent_requests;
    revision_ = caller.limits_revision;
  }

  std::optional<RateRefusal> refusal_of_tokens(std::int64_t tokens, SteadyTime now)
      TESSERA_REQUIRES(mutex_) {
    const auto [per_minute, burst] = tokens_.limit();
    if (tokens > burst) {
      RateRefusal never =
          refusal(RatePolicy::kTokens, burst, tokens, tokens_.remaining(now), {}, now);
      never.code = Code::kRequestExceedsLimit;
      return never;
    }
    const auto wait = tokens_.wait_for(tokens, now);
    if (wait.count() == 0) return std::nullopt;
    return refusal(RatePolicy::kTokens, per_minute, tokens, tokens_.remaining(now), wait, now);
  }

  RateRefusal refusal(RatePolicy policy, std::int64_t limit, std::int64_t requested,
                      std::int64_t remaining, std::chrono::nanoseconds retry_after, SteadyTime now)
      TESSERA_REQUIRES(mutex_) {
    return {.policy = policy,
            .limit = limit,
            .requested = requested,
            .remaining = remaining,
            .retry_after = retry_after,
            .view = locked_view(now)};
  }

  LimitsView locked_view(SteadyTime now) TESSERA_REQUIRES(mutex_) {
    return {.requests = window_of(requests_, now),
            .tokens = window_of(tokens_, now),
            .max_concurrent_requests = max_running_,
            .concurrent_requests = running_};
  }

  Mutex mutex_;
  TokenBucket requests_ TESSERA_GUARDED_BY(mutex_);
  TokenBucket tokens_ TESSERA_GUARDED_BY(mutex_);
  std::int64_t max_running_ TESSERA_GUARDED_BY(mutex_);
  std::uint64_t revision_ TESSERA_GUARDED_BY(mutex_);  // of the limits in force
  std::int64_t running_ TESSERA_GUARDED_BY(mutex_) = 0;
};

struct Permit::State {
  std::shared_ptr<AdmissionEntry> entry;
  AdmissionEntry::Reservations held;
  std::int64_t reserved_tokens = 0;
  std::int64_t used_tokens = 0;
};

Permit::Permit() noexcept = default;
Permit::Permit(std::unique_ptr<State> state) : state_(std::move(state)) {}
Permit::Permit(Permit&& other) noexcept = default;

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    if (state_) settle(state_->used_tokens);
    state_ = std::move(other.state_);
  }
  return *this;
}

Permit::~Permit() {
  if (state_) settle(state_->used_tokens);
}

Admitted<void> Permit::reserve(std::int64_t tokens, SteadyTime now) {
  assert(state_ != nullptr && !state_->held.tokens && tokens >= 0);
  auto reserved = state_->entry->reserve(state_->held, tokens, now);
  if (reserved) {
    state_->reserved_tokens = tokens;
  } else {
    state_.reset();
  }
  return reserved;
}

void Permit::note_used(std::int64_t tokens) {
  if (state_) state_->used_tokens = std::clamp(tokens, std::int64_t{0}, state_->reserved_tokens);
}

void Permit::settle(std::int64_t tokens) {
  note_used(tokens);
  if (const auto state = std::exchange(state_, nullptr)) {
    state->entry->settle(state->held, state->used_tokens);
  }
}

LimitsView Permit::view(SteadyTime now) const {
  return state_ ? state_->entry->view(now) : LimitsView();
}

Admission::Admission() = default;
Admission::~Admission() = default;

Admitted<Permit> Admission::admit(const Caller& caller, SteadyTime now) {
  auto entry = entry_of(caller, now);
  auto held = entry->admit(caller, now);
  if (!held) return held.error();
  return Permit(std::make_unique<Permit::State>(Permit::State{std::move(entry), *held}));
}

LimitsView Admission::view(const Caller& caller, SteadyTime now) {
  return entry_of(caller, now)->view(now);
}

std::int64_t Admission::num_running() const {
  const MutexLock lock(mutex_);
  std::int64_t running = 0;
  for (const auto& [tenant, entry] : entries_) running += entry->num_running();
  return running;
}

std::shared_ptr<AdmissionEntry> Admission::entry_of(const Caller& caller, SteadyTime now) {
  assert(!caller.tenant.empty());
  const MutexLock lock(mutex_);
  auto& slot = entries_[caller.tenant];
  if (!slot) slot = std::make_shared<AdmissionEntry>(caller, now);
  return slot;
}

std::string_view to_string(RatePolicy policy) {
  switch (policy) {
    case RatePolicy::kConcurrency:
      return "concurrency";
    case RatePolicy::kRequests:
      return "rpm";
    case RatePolicy::kTokens:
      return "tpm";
  }
  return "rpm";
}

Error to_error(const RateRefusal& refusal) {
  const std::string numbers =
      "limit " + std::to_string(refusal.limit) + ", requested " + std::to_string(refusal.requested);
  if (refusal.code == Code::kRequestExceedsLimit) {
    return {refusal.code, "The request asks for more tokens than may ever be granted at once: " +
                              numbers + ". Shorten the prompt or lower max_tokens."};
  }
  char wait[32];
  std::snprintf(wait, sizeof wait, "%.3fs",
                std::chrono::duration<double>(refusal.retry_after).count());
  return {refusal.code, "Rate limit reached for " + std::string(description(refusal.policy)) +
                            ": " + numbers + ", remaining " + std::to_string(refusal.remaining) +
                            ". Retry in " + wait + "."};
}

void throw_exception_from_error(const RateRefusal& refusal, const boost::source_location& where) {
  throw_exception_from_error(to_error(refusal), where);
}

}  // namespace tessera

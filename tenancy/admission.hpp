// admission.hpp — may this request run now, and if not, when.
//
// A request passes, in this order, its tenant's limit of concurrent requests, of requests a minute
// (admit) and, once the prompt is tokenised, of tokens a minute (Permit::reserve). It passes all or
// takes nothing: a refusal gives back whatever earlier steps took. What it took is held by a
// Permit, whose end, however it comes, frees the slot and settles the tokens: no path leaks a slot,
// none charges twice.
//
// Limits come with the Caller and are applied by admit alone, so a change takes effect with the
// next request; buckets keep their level through it. A caller's limits are as old as its request,
// which may have waited before it was admitted: they are applied only if their revision is newer
// than the one in force, so the tenant's limits never go back. Revisions are counted by the
// process, as the entries are: both begin anew together. An Admission serves the callers of one
// TenantDirectory.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>

#include <boost/system/result.hpp>

#include "storage/clock.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "tenancy/tenant.hpp"

namespace tessera {

enum class RatePolicy : std::uint8_t { kConcurrency, kRequests, kTokens };

// "concurrency", "rpm", "tpm"
std::string_view to_string(RatePolicy policy);

// The numbers of the x-ratelimit-* and RateLimit headers at one moment.
struct LimitsView {
  struct Window {
    std::int64_t limit = 0;  // a minute
    std::int64_t remaining = 0;
    std::chrono::microseconds reset{};  // until nothing is in use
  };
  Window requests;
  Window tokens;
  std::int64_t max_concurrent_requests = 0;
  std::int64_t concurrent_requests = 0;
};

// Why not now.
struct RateRefusal {
  Code code = Code::kRateLimitExceeded;  // or kRequestExceedsLimit: it never will be granted
  RatePolicy policy = RatePolicy::kRequests;
  std::int64_t limit = 0;
  std::int64_t requested = 0;
  std::int64_t remaining = 0;
  // The exact time until the same request would be granted if no other settles or comes before it.
  // For concurrency, which no clock ends, a hint. Zero if code is kRequestExceedsLimit.
  std::chrono::nanoseconds retry_after{};
  LimitsView view;
};

// The refusal as clients are told it.
Error to_error(const RateRefusal& refusal);

[[noreturn]] void throw_exception_from_error(const RateRefusal& refusal,
                                             const boost::source_location& where);

template <class T>
using Admitted = boost::system::result<T, RateRefusal>;

class AdmissionEntry;  // a tenant's counters

// The right to run one request. Move-only; owned by the connection's handler and used by one thread
// at a time. Outlives its Admission safely.
class Permit {
 public:
  Permit() noexcept;  // holds nothing
  Permit(Permit&& other) noexcept;
  Permit& operator=(Permit&& other) noexcept;
  // Frees the slot; settles with what note_used() was last told, if settle() was not called. A
  // permit that never reserved has used its request: a malformed one counts.
  ~Permit();

  // Takes `tokens`, prompt + the most that may be generated; once. A refusal gives back slot and
  // request as well, and the permit holds nothing any more.
  Admitted<void> reserve(std::int64_t tokens, SteadyTime now);

  // Tokens used so far, prompt + generated; more than were reserved counts as all.
  void note_used(std::int64_t tokens);

  // The request is over and has used `tokens`: gives back the rest and frees the slot. Later calls
  // and the destructor do nothing.
  void settle(std::int64_t tokens);

  // For the headers of the answer; all zero if the permit holds nothing.
  LimitsView view(SteadyTime now) const;

  explicit operator bool() const { return state_ != nullptr; }

 private:
  friend class Admission;
  struct State;
  explicit Permit(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

// Thread-safe: one lock for the table, one for each tenant. Owned by the gateway's main.
class Admission {
 public:
  // How long a client that met its concurrency limit is told to wait.
  static constexpr std::chrono::seconds kConcurrencyRetryAfter{1};

  Admission();
  ~Admission();

  // Takes a slot and a request of the caller's tenant, under the newest limits that any caller of
  // its tenant was admitted or refused with, this one included. `caller` must be a tenant's.
  Admitted<Permit> admit(const Caller& caller, SteadyTime now);

  // What is in force and in use, without taking or changing anything: the caller's own limits count
  // only if its tenant was never seen here before. `caller` must be a tenant's.
  LimitsView view(const Caller& caller, SteadyTime now);

  // Requests that hold a permit, over all tenants: for /metrics, and for tests to find leaks.
  std::int64_t num_running() const;

 private:
  // The entry of the caller's tenant, made with the caller's limits if there is none.
  std::shared_ptr<AdmissionEntry> entry_of(const Caller& caller, SteadyTime now);

  mutable Mutex mutex_;
  std::unordered_map<TenantId, std::shared_ptr<AdmissionEntry>> entries_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera

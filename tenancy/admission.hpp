// admission.hpp — may this request run now, and if not, when.
//
// A request passes the organization, its tenant, its key and, once it is known, the model of its
// tenant: each a Meter with limits of its own. It passes in two steps, as one request (admit) and
// as so many tokens and so much money (Permit::reserve), and takes all or nothing: a refusal gives
// back whatever earlier steps took. What it took is held by a Permit, whose end, however it comes,
// frees the slots and settles the tokens: no path leaks a slot, none charges twice.
//
// Limits come with the Caller and are applied by admit and reserve alone, so a change takes effect
// with the next request; meters keep what is in use through it. A caller's limits are as old as its
// request, which may have waited before it was admitted: they are applied only if their revision is
// newer than the one in force, so limits never go back. Revisions are counted by the process, as
// the entries are: both begin anew together. An Admission serves the callers of one
// TenantDirectory.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <boost/system/result.hpp>

#include "storage/clock.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "tenancy/meter.hpp"
#include "tenancy/organization_meter.hpp"
#include "tenancy/tenant.hpp"

namespace tessera {

// The numbers of the x-ratelimit-* and RateLimit headers at one moment.
// Of tenant and key, those that leave less; what the organization has left would tell of others.
struct LimitsView {
  using Window = Meter::Window;
  Window requests;  // a minute
  Window tokens;
  std::int64_t max_concurrent_requests = 0;
  std::int64_t concurrent_requests = 0;
};

// Whose limit it was.
enum class Level : std::uint8_t { kOrganization, kTenant, kKey, kModel };
std::string_view to_string(Level level);  // "organization", "project", "key", "model"

// Why not now.
struct RateRefusal {
  // kRequestExceedsLimit: it never will be granted; kBillingHardLimitReached: for want of money.
  Code code = Code::kRateLimitExceeded;
  RatePolicy policy = RatePolicy::kRequests;
  Level level = Level::kTenant;
  std::int64_t limit = 0;  // zero of the organization's, as `remaining`: they tell of others
  std::int64_t requested = 0;
  std::int64_t remaining = 0;
  // The exact time until the same request would be granted if no other settles or comes before it:
  // the longest of all that refuse it. For concurrency, which no clock ends, a hint. Zero if code
  // is kRequestExceedsLimit.
  std::chrono::nanoseconds retry_after{};
  LimitsView view;
};

// The refusal as clients are told it.
Error to_error(const RateRefusal& refusal);

[[noreturn]] void throw_exception_from_error(const RateRefusal& refusal,
                                             const boost::source_location& where);

template <class T>
using Admitted = boost::system::result<T, RateRefusal>;

class AdmissionEntry;  // a tenant's meters

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

  // Takes what the request may come to, prompt + the most that may be generated, of `model`, which
  // is named without version or alias; once. A refusal gives back slot and request as well, and the
  // permit holds nothing any more.
  Admitted<void> reserve(const Demand& most, std::string_view model, Now now);

  // Used so far; more than was reserved counts as all.
  void note_used(const Demand& used);

  // The request is over and came to `used`: gives back the rest and frees the slots. Later calls
  // and the destructor do nothing.
  void settle(const Demand& used);

  // For the headers of the answer; all zero if the permit holds nothing.
  LimitsView view(Now now) const;

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
  // What was used in the current day and month, of the tenant or (if it is not empty) of its key,
  // when its meter is made: after a restart, what the ledger says. Called under the tenant's lock.
  using Recall = std::function<PeriodUse(const TenantId&, const KeyId&, WallTime)>;
  // The same of a tenant's model, which has rates only.
  using RecallModel =
      std::function<std::vector<RecentUse>(const TenantId&, std::string_view model)>;

  // The same of all tenants together, when the organization first has limits. Called under a lock
  // that every request of an organization with limits takes.
  using RecallAll = OrganizationMeter::Recall;

  explicit Admission(Recall recall = {}, RecallModel recall_model = {}, RecallAll recall_all = {});
  ~Admission();

  // Takes a slot and a request of the caller's tenant, under the newest limits that any caller of
  // its tenant was admitted or refused with, this one included. `caller` must be a tenant's.
  Admitted<Permit> admit(const Caller& caller, Now now);

  // What is in force and in use, without taking or changing anything: the caller's own limits count
  // only if its tenant was never seen here before. `caller` must be a tenant's.
  LimitsView view(const Caller& caller, Now now);
  // What the tenant has used of the calendar's limits, as view().
  PeriodUse use(const Caller& caller, Now now);

  // Puts the organization's limits in force before the first request that brings them, which would
  // have to wait for what was used so far to be read.
  void set_organization(const std::shared_ptr<const OrganizationLimits>& limits, Now now);
  // What all tenants have used of the calendar's limits; nullopt if there never were any.
  std::optional<PeriodUse> use_of_all(Now now);

  // Requests that hold a permit, over all tenants: for /metrics, and for tests to find leaks.
  std::int64_t num_running() const;
  // The same of each tenant that has any.
  std::unordered_map<TenantId, std::int64_t> running_by_tenant() const;

 private:
  // The entry of the caller's tenant, made with the caller's limits if there is none.
  std::shared_ptr<AdmissionEntry> entry_of(const Caller& caller, Now now);

  const Recall recall_;
  const RecallModel recall_model_;
  const std::shared_ptr<OrganizationMeter> organization_;
  mutable Mutex mutex_;
  std::unordered_map<TenantId, std::shared_ptr<AdmissionEntry>> entries_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera

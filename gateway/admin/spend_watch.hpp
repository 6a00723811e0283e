// spend_watch.hpp — finds out when a tenant, or all of them together, have spent what an alert is
// about.
//
// A thread looks every kSpendWatchPeriod at the tenants that have alerts, and at what the ledger
// says of their month; nothing of it is on the path of a request. What all have spent is the sum
// over them, so the thread looks at it less often where that takes long: for a fiftieth of its
// time. An alert is told once a month: to
// webhooks, in the log and, in one write with the mark that it was told, in the audit log
// ("spend_alert.triggered"). One that was told is not told again after a restart. What webhooks are
// to hear is queued before the mark is made, under an id of the alert, the month and the threshold:
// a crash in between tells it again under the same id.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "gateway/webhooks/webhooks.hpp"
#include "storage/clock.hpp"
#include "storage/mutex.hpp"
#include "tenancy/directory.hpp"
#include "tenancy/money.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kSpendWatchPeriod{2};
inline constexpr int kSpendSumShareInverse = 50;

// Thread-safe. What it is made of outlives it; `webhooks` may be null.
class SpendWatch {
 public:
  SpendWatch(TenantDirectory& directory, const UsageLedger& ledger, const Clock& clock,
             Webhooks* webhooks = nullptr);
  ~SpendWatch();
  SpendWatch(const SpendWatch&) = delete;
  SpendWatch& operator=(const SpendWatch&) = delete;

  // Looks once, now; returns how many alerts were told.
  int look();

  // Ends the thread.
  void stop();

 private:
  // An empty tenant is the organization.
  int look_at_tenants(WallTime now);
  int look_at_tenant(const TenantId& tenant, WallTime now);
  int look_at_organization(WallTime now);
  std::optional<Money> spent_by(const TenantId& tenant, WallTime now) const;
  std::optional<Money> spent_by_all(WallTime now) const;
  int tell_due(const TenantId& tenant, const std::vector<SpendAlert>& alerts, Money spent,
               WallTime now);
  bool tell(const TenantId& tenant, const SpendAlert& alert, Money spent, std::int64_t month,
            WallTime now);
  bool mark_told(const TenantId& tenant, const SpendAlert& alert, std::int64_t month, WallTime now);
  void watch(const std::stop_token& stop);

  TenantDirectory& directory_;
  const UsageLedger& ledger_;
  const Clock& clock_;
  Webhooks* const webhooks_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: stops before the rest is destroyed
};

}  // namespace tessera

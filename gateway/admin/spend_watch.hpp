// spend_watch.hpp — finds out when a tenant has spent what one of its alerts is about.
//
// A thread looks every kSpendWatchPeriod at the tenants that have alerts, and at what the ledger
// says of their month; nothing of it is on the path of a request. An alert is told once a month: in
// the log and, in one write with the mark that it was told, in the audit log
// ("spend_alert.triggered"). One that was told is not told again after a restart.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <thread>

#include "storage/clock.hpp"
#include "storage/mutex.hpp"
#include "tenancy/directory.hpp"
#include "tenancy/money.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kSpendWatchPeriod{2};

// Thread-safe. What it is made of outlives it.
class SpendWatch {
 public:
  SpendWatch(TenantDirectory& directory, const UsageLedger& ledger, const Clock& clock);
  ~SpendWatch();
  SpendWatch(const SpendWatch&) = delete;
  SpendWatch& operator=(const SpendWatch&) = delete;

  // Looks once, now; returns how many alerts were told.
  int look();

  // Ends the thread.
  void stop();

 private:
  int look_at(const TenantId& tenant, WallTime now);
  void watch(const std::stop_token& stop);

  TenantDirectory& directory_;
  const UsageLedger& ledger_;
  const Clock& clock_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: stops before the rest is destroyed
};

}  // namespace tessera

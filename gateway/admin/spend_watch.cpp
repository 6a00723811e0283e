#include "gateway/admin/spend_watch.hpp"

#include <algorithm>
#include <string>

#include <nlohmann/json.hpp>

#include "storage/log.hpp"
#include "tenancy/calendar.hpp"

namespace tessera {
namespace {

// The server acts for itself: an admin without a key.
Caller the_server() {
  return Caller{.tenant = {}, .key = {}, .scopes = kAdminScopes, .is_admin = true, .limits = {}};
}

std::int64_t month_of(WallTime now) {
  return std::chrono::floor<std::chrono::seconds>(start_of(Period::kMonth, now))
      .time_since_epoch()
      .count();
}

bool is_due(const SpendAlert& alert, Money spent, std::int64_t month) {
  return alert.told_month != month && spent >= Money::of_cents(alert.threshold_cents);
}

}  // namespace

SpendWatch::SpendWatch(TenantDirectory& directory, const UsageLedger& ledger, const Clock& clock,
                       Webhooks* webhooks)
    : directory_(directory),
      ledger_(ledger),
      clock_(clock),
      webhooks_(webhooks),
      thread_([this](const std::stop_token& stop) { watch(stop); }) {}

SpendWatch::~SpendWatch() {
  stop();
}

void SpendWatch::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void SpendWatch::watch(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      const MutexLock lock(mutex_);
      wake_.wait_for(mutex_, stop, kSpendWatchPeriod, [] { return false; });
    }
    if (!stop.stop_requested()) look();
  }
}

int SpendWatch::look() {
  const WallTime now = clock_.wall_now();
  int told = 0;
  for (const TenantId& tenant : directory_.snapshot()->tenants_with_alerts()) {
    told += look_at(tenant, now);
  }
  return told;
}

// False if it could not be queued: the next look tries again.
bool SpendWatch::tell(const TenantId& tenant, const SpendAlert& alert, Money spent,
                      std::int64_t month, WallTime now) {
  if (!webhooks_) return true;
  nlohmann::ordered_json data;
  data["id"] = alert.id;
  data["object"] = "project.spend_alert";
  data["threshold_amount"] = alert.threshold_cents;
  data["spent_amount"] = spent.whole_cents();
  data["currency"] = "USD";
  data["interval"] = "month";
  data["month"] = month;
  const std::string id =
      "evt_" + alert.id + '_' + std::to_string(month) + '_' + std::to_string(alert.threshold_cents);
  const auto told =
      webhooks_->tell(make_webhook_event(id, "spend_alert.triggered", tenant, data, now), now);
  if (!told) log_error("spend_alert_not_queued", {{"reason", told.error().message}});
  return told.has_value();
}

int SpendWatch::look_at(const TenantId& tenant, WallTime now) {
  const auto use = ledger_.period_use(tenant, KeyId(), now);
  if (!use) {
    log_error("spend_not_read", {{"tenant", tenant.str()}, {"reason", use.error().message}});
    return 0;
  }
  const std::int64_t month = month_of(now);
  const auto snapshot = directory_.snapshot();
  const TenantEntry* entry = snapshot->find(tenant);
  if (entry == nullptr || !entry->policy) return 0;
  int told = 0;
  for (const SpendAlert& due : entry->policy->spend_alerts) {
    if (!is_due(due, use->spend_this_month, month)) continue;
    if (!tell(tenant, due, use->spend_this_month, month, now)) continue;
    const auto marked = directory_.modify_policy(
        the_server(), tenant, "spend_alert.triggered",
        [&](TenantPolicy& policy) -> Result<void> {
          const auto alert = std::ranges::find(policy.spend_alerts, due.id, &SpendAlert::id);
          if (alert == policy.spend_alerts.end()) return Error{Code::kNotFound, "it is gone"};
          alert->told_month = month;
          return {};
        },
        now, {}, due.id);
    if (!marked) continue;  // deleted meanwhile, or the next look tries again
    ++told;
    log_warn("spend_alert", {{"tenant", tenant.str()},
                             {"alert", due.id},
                             {"threshold_cents", due.threshold_cents},
                             {"spent_cents", use->spend_this_month.whole_cents()}});
  }
  return told;
}

}  // namespace tessera

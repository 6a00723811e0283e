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
  using SteadyClock = std::chrono::steady_clock;
  auto next_sum = SteadyClock::now();
  while (!stop.stop_requested()) {
    {
      const MutexLock lock(mutex_);
      wake_.wait_for(mutex_, stop, kSpendWatchPeriod, [] { return false; });
    }
    if (stop.stop_requested()) return;
    const WallTime now = clock_.wall_now();
    look_at_tenants(now);
    const auto begun = SteadyClock::now();
    if (begun < next_sum) continue;
    look_at_organization(now);
    const auto ended = SteadyClock::now();
    next_sum = ended + (ended - begun) * kSpendSumShareInverse;
  }
}

int SpendWatch::look() {
  const WallTime now = clock_.wall_now();
  return look_at_tenants(now) + look_at_organization(now);
}

int SpendWatch::look_at_tenants(WallTime now) {
  int told = 0;
  for (const TenantId& tenant : directory_.snapshot()->tenants_with_alerts()) {
    told += look_at_tenant(tenant, now);
  }
  return told;
}

// Nullopt if it cannot be read; the log then says so.
std::optional<Money> SpendWatch::spent_by(const TenantId& tenant, WallTime now) const {
  const auto use = ledger_.period_use(tenant, KeyId(), now);
  if (use) return use->spend_this_month;
  log_error("spend_not_read", {{"tenant", tenant.str()}, {"reason", use.error().message}});
  return std::nullopt;
}

std::optional<Money> SpendWatch::spent_by_all(WallTime now) const {
  Money all;
  for (const Tenant& tenant : directory_.snapshot()->tenants()) {
    const auto spent = spent_by(tenant.id, now);
    if (!spent) return std::nullopt;
    all += *spent;
  }
  return all;
}

int SpendWatch::look_at_tenant(const TenantId& tenant, WallTime now) {
  const auto spent = spent_by(tenant, now);
  const auto snapshot = directory_.snapshot();
  const TenantEntry* entry = snapshot->find(tenant);
  if (!spent || entry == nullptr || !entry->policy) return 0;
  return tell_due(tenant, entry->policy->spend_alerts, *spent, now);
}

int SpendWatch::look_at_organization(WallTime now) {
  const auto snapshot = directory_.snapshot();
  const std::vector<SpendAlert>& alerts = snapshot->organization_alerts();
  const std::int64_t month = month_of(now);
  const auto is_told = [month](const SpendAlert& alert) { return alert.told_month == month; };
  if (std::ranges::all_of(alerts, is_told)) return 0;
  const auto spent = spent_by_all(now);
  return spent ? tell_due(TenantId(), alerts, *spent, now) : 0;
}

int SpendWatch::tell_due(const TenantId& tenant, const std::vector<SpendAlert>& alerts, Money spent,
                         WallTime now) {
  const std::int64_t month = month_of(now);
  int told = 0;
  for (const SpendAlert& due : alerts) {
    if (!is_due(due, spent, month)) continue;
    if (!tell(tenant, due, spent, month, now)) continue;
    if (!mark_told(tenant, due, month, now)) continue;  // deleted meanwhile, or the next look tries
    ++told;
    log_warn("spend_alert", {{"tenant", tenant.str()},
                             {"alert", due.id},
                             {"threshold_cents", due.threshold_cents},
                             {"spent_cents", spent.whole_cents()}});
  }
  return told;
}

// False if it could not be queued: the next look tries again.
bool SpendWatch::tell(const TenantId& tenant, const SpendAlert& alert, Money spent,
                      std::int64_t month, WallTime now) {
  if (!webhooks_) return true;
  nlohmann::ordered_json data;
  data["id"] = alert.id;
  data["object"] = tenant.empty() ? "organization.spend_alert" : "project.spend_alert";
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

bool SpendWatch::mark_told(const TenantId& tenant, const SpendAlert& due, std::int64_t month,
                           WallTime now) {
  const auto mark = [&](std::vector<SpendAlert>& alerts) -> Result<void> {
    const auto alert = std::ranges::find(alerts, due.id, &SpendAlert::id);
    if (alert == alerts.end()) return Error{Code::kNotFound, "it is gone"};
    alert->told_month = month;
    return {};
  };
  constexpr const char* kEvent = "spend_alert.triggered";
  if (tenant.empty()) {
    return directory_
        .modify_organization_alerts(
            the_server(), kEvent,
            [&](OrganizationAlerts& alerts) { return mark(alerts.spend_alerts); }, now, {}, due.id)
        .has_value();
  }
  return directory_
      .modify_policy(
          the_server(), tenant, kEvent,
          [&](TenantPolicy& policy) { return mark(policy.spend_alerts); }, now, {}, due.id)
      .has_value();
}

}  // namespace tessera

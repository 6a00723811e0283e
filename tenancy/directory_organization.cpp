// directory_organization.cpp — TenantDirectory: the limits of all tenants together, and alerts
// about what they spend.

#include <utility>

#include "storage/keys.hpp"
#include "tenancy/directory.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

Result<void> check_may_change(const Caller& actor, const Guard& guard,
                              const DirectorySnapshot& current) {
  if (!actor.may(Scope::kAdmin)) {
    return Error{Code::kInsufficientScope, "This takes an admin key."};
  }
  return guard ? guard(current) : Result<void>();
}

}  // namespace

Result<void> TenantDirectory::load_organization(DirectorySnapshot& loaded) const {
  const auto alerts_text = store_.get(Family::kMeta, keys::organization_alerts());
  if (!alerts_text) return alerts_text.error();
  if (*alerts_text) {
    auto alerts = decode<OrganizationAlerts>(**alerts_text);
    if (!alerts) return alerts.error();
    loaded.put_organization_alerts(*std::move(alerts));
  }
  const auto text = store_.get(Family::kMeta, keys::organization_limits());
  if (!text) return text.error();
  if (!*text) return {};
  const auto limits = decode<MeterLimits>(**text);
  if (!limits) return limits.error();
  loaded.put_organization({.limits = *limits});
  return {};
}

Result<MeterLimits> TenantDirectory::modify_organization(
    const Caller& actor, const std::string& event,
    const std::function<Result<void>(MeterLimits&)>& change, WallTime now, const Guard& guard) {
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check_may_change(actor, guard, next); !checked) return checked.error();
  OrganizationLimits changed;
  if (const auto& current = next.organization()) changed = *current;
  if (auto edited = change(changed.limits); !edited) return edited.error();
  if (auto checked = check_limits(changed.limits); !checked) return checked.error();
  ++changed.revision;
  next.put_organization(changed);
  Batch batch;
  batch.put(Family::kMeta, keys::organization_limits(), encode(changed.limits));
  const auto audit = new_audit_record(event, actor.key, TenantId(), "organization", now);
  if (auto done = commit(std::move(batch), audit, std::move(next)); !done) return done.error();
  return changed.limits;
}

Result<OrganizationAlerts> TenantDirectory::modify_organization_alerts(
    const Caller& actor, const std::string& event,
    const std::function<Result<void>(OrganizationAlerts&)>& change, WallTime now,
    const Guard& guard, const std::string& target) {
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check_may_change(actor, guard, next); !checked) return checked.error();
  OrganizationAlerts changed{next.organization_alerts()};
  if (auto edited = change(changed); !edited) return edited.error();
  next.put_organization_alerts(changed);
  Batch batch;
  batch.put(Family::kMeta, keys::organization_alerts(), encode(changed));
  const auto audit = new_audit_record(event, actor.key, TenantId(), target, now);
  if (auto done = commit(std::move(batch), audit, std::move(next)); !done) return done.error();
  return changed;
}

}  // namespace tessera

// spend_alerts_api.cpp — spend alerts of a project, and of the whole organization, in OpenAI's
// shapes. Where a tenant is wanted below, an empty one is the organization.
//
// OpenAI tells them by mail. Nothing here sends mail: recipients are kept and shown, an alert is
// told to webhooks, in the log and the audit log (spend_watch.hpp), and whoever hears of it may
// write to them.
#include <algorithm>
#include <functional>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/etags.hpp"
#include "gateway/admin/meter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

Error no_such_alert() {
  return {Code::kNotFound, "There is no such spend alert."};
}

std::string object_word(const TenantId& tenant) {
  return tenant.empty() ? "organization.spend_alert" : "project.spend_alert";
}

ordered_json alert_json(const SpendAlert& alert, const TenantId& tenant) {
  ordered_json json;
  json["id"] = alert.id;
  json["object"] = object_word(tenant);
  json["threshold_amount"] = alert.threshold_cents;
  json["currency"] = "USD";
  json["interval"] = "month";
  json["notification_channel"]["type"] = "email";
  json["notification_channel"]["recipients"] = alert.recipients;
  json["notification_channel"]["subject_prefix"] = nullptr;
  if (!alert.subject_prefix.empty()) {
    json["notification_channel"]["subject_prefix"] = alert.subject_prefix;
  }
  json["last_triggered_month"] = nullptr;  // the month's first second
  if (alert.told_month != 0) json["last_triggered_month"] = alert.told_month;
  return json;
}

void read_channel(Fields& fields, SpendAlert& alert) {
  const ordered_json* const channel = fields.required_any("notification_channel");
  if (!channel) return;
  std::string type;
  Fields nested(*channel, "notification_channel.");
  nested.required("type", type);
  if (type != "email" && !type.empty()) {
    nested.fail(Code::kUnsupportedParameter, "type",
                "'notification_channel.type' can only be 'email'.");
  }
  nested.required_any("recipients");
  read_texts(*channel, nested, "recipients", kMaxAlertRecipients, kMaxAlertTextChars,
             alert.recipients);
  nested.text("subject_prefix", kMaxAlertTextChars, alert.subject_prefix);
  fields.absorb(nested.finish());
}

// What the body says of an alert; its id and history are the caller's business.
Result<SpendAlert> read_alert(const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  SpendAlert alert;
  std::optional<std::int64_t> cents;
  Fields fields(*body);
  fields.required_any("threshold_amount");
  fields.integer("threshold_amount", {0, Money::kMaxCents}, cents);
  fields.unsupported("currency", {"USD"});
  fields.unsupported("interval", {"month"});
  read_channel(fields, alert);
  if (auto read = fields.finish(); !read) return read.error();
  alert.threshold_cents = cents.value_or(0);
  return alert;
}

using Alerts = std::vector<SpendAlert>;

SpendAlert* find(Alerts& alerts, const std::string& id) {
  const auto found = std::ranges::find(alerts, id, &SpendAlert::id);
  return found == alerts.end() ? nullptr : &*found;
}

Result<Alerts> alerts_of(const DirectorySnapshot& snapshot, const TenantId& tenant) {
  if (tenant.empty()) return snapshot.organization_alerts();
  const auto* entry = snapshot.find(tenant);
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  return entry->policy ? entry->policy->spend_alerts : Alerts();
}

Result<ordered_json> shown_alert(const DirectorySnapshot& snapshot, const TenantId& tenant,
                                 const std::string& id) {
  const auto alerts = alerts_of(snapshot, tenant);
  if (!alerts) return alerts.error();
  const auto found = std::ranges::find(*alerts, id, &SpendAlert::id);
  if (found == alerts->end()) return no_such_alert();
  return Result<ordered_json>(boost::system::in_place_value, alert_json(*found, tenant));
}

TenantId project_argument(const Call& call) {
  return TenantId(call.arguments.at(0));
}
const std::string& alert_argument(const Call& call) {
  return call.arguments.back();
}

// What is done to whose alerts; `id` is that of the one it is about.
struct Change {
  TenantId tenant;
  std::string event;
  std::string id;
  std::function<Result<void>(Alerts&)> edit;
};

Result<void> apply(Platform& platform, const Call& call, const Change& change,
                   const Guard& guard = {}) {
  TenantDirectory& directory = *platform.directory;
  if (change.tenant.empty()) {
    const auto changed = directory.modify_organization_alerts(
        call.caller, change.event,
        [&](OrganizationAlerts& all) { return change.edit(all.spend_alerts); }, call.received_wall,
        guard, change.id);
    if (!changed) return changed.error();
    return {};
  }
  const auto changed = directory.modify_policy(
      call.caller, change.tenant, change.event,
      [&](TenantPolicy& policy) { return change.edit(policy.spend_alerts); }, call.received_wall,
      guard, change.id);
  if (!changed) return changed.error();
  return {};
}

// Changes the alert that the call names, or refuses as its If-Match says.
Result<void> change_alert(Platform& platform, const Call& call, const TenantId& tenant,
                          const std::string& event,
                          const std::function<void(Alerts&, SpendAlert&)>& edit) {
  const std::string& id = alert_argument(call);
  const auto guard = guard_of(call, [tenant, id](const DirectorySnapshot& snapshot) {
    return shown_alert(snapshot, tenant, id);
  });
  if (!guard) return guard.error();
  const auto edit_one = [&](Alerts& alerts) -> Result<void> {
    SpendAlert* const alert = find(alerts, id);
    if (alert == nullptr) return no_such_alert();
    edit(alerts, *alert);
    return {};
  };
  return apply(platform, call, {tenant, event, id, edit_one}, *guard);
}

Result<Reply> list_alerts(Platform& platform, const Call& call, const TenantId& tenant) {
  const auto alerts = alerts_of(*platform.directory->snapshot(), tenant);
  if (!alerts) return alerts.error();
  std::vector<ordered_json> objects;
  for (const SpendAlert& alert : *alerts) objects.push_back(alert_json(alert, tenant));
  return list_reply(call.target, std::move(objects));
}

Result<Reply> create_alert(Platform& platform, const Call& call, const TenantId& tenant) {
  auto alert = read_alert(call);
  if (!alert) return alert.error();
  alert->id = "alert_" + new_ulid(call.received_wall);
  const auto add = [&](Alerts& alerts) -> Result<void> {
    if (alerts.size() >= kMaxSpendAlerts) {
      return Error{Code::kInvalidValue,
                   "There may be " + std::to_string(kMaxSpendAlerts) + " spend alerts at most."};
    }
    alerts.push_back(*alert);
    return {};
  };
  const auto added = apply(platform, call, {tenant, "spend_alert.created", alert->id, add});
  if (!added) return added.error();
  return tagged_reply(alert_json(*alert, tenant));
}

Result<Reply> get_alert(Platform& platform, const Call& call, const TenantId& tenant) {
  const auto alert = shown_alert(*platform.directory->snapshot(), tenant, alert_argument(call));
  if (!alert) return alert.error();
  return tagged_reply(*alert);
}

// A threshold that was moved may be reached again in the same month.
Result<Reply> modify_alert(Platform& platform, const Call& call, const TenantId& tenant) {
  auto wanted = read_alert(call);
  if (!wanted) return wanted.error();
  const auto changed =
      change_alert(platform, call, tenant, "spend_alert.updated", [&](Alerts&, SpendAlert& alert) {
        wanted->id = alert.id;
        wanted->told_month =
            alert.threshold_cents == wanted->threshold_cents ? alert.told_month : 0;
        alert = *wanted;
      });
  if (!changed) return changed.error();
  return tagged_reply(alert_json(*wanted, tenant));
}

Result<Reply> delete_alert(Platform& platform, const Call& call, const TenantId& tenant) {
  const std::string& id = alert_argument(call);
  const auto changed =
      change_alert(platform, call, tenant, "spend_alert.deleted", [&](Alerts& alerts, SpendAlert&) {
        std::erase_if(alerts, [&](const SpendAlert& alert) { return alert.id == id; });
      });
  if (!changed) return changed.error();
  ordered_json json;
  json["id"] = id;
  json["object"] = object_word(tenant) + ".deleted";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace

Result<Reply> list_spend_alerts(Platform& platform, Call& call) {
  return list_alerts(platform, call, project_argument(call));
}
Result<Reply> list_organization_spend_alerts(Platform& platform, Call& call) {
  return list_alerts(platform, call, TenantId());
}

Result<Reply> create_spend_alert(Platform& platform, Call& call) {
  return create_alert(platform, call, project_argument(call));
}
Result<Reply> create_organization_spend_alert(Platform& platform, Call& call) {
  return create_alert(platform, call, TenantId());
}

Result<Reply> get_spend_alert(Platform& platform, Call& call) {
  return get_alert(platform, call, project_argument(call));
}
Result<Reply> get_organization_spend_alert(Platform& platform, Call& call) {
  return get_alert(platform, call, TenantId());
}

Result<Reply> modify_spend_alert(Platform& platform, Call& call) {
  return modify_alert(platform, call, project_argument(call));
}
Result<Reply> modify_organization_spend_alert(Platform& platform, Call& call) {
  return modify_alert(platform, call, TenantId());
}

Result<Reply> delete_spend_alert(Platform& platform, Call& call) {
  return delete_alert(platform, call, project_argument(call));
}
Result<Reply> delete_organization_spend_alert(Platform& platform, Call& call) {
  return delete_alert(platform, call, TenantId());
}

}  // namespace tessera

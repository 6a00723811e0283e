// spend_alerts_api.cpp — a project's spend alerts, in OpenAI's shapes.
//
// OpenAI tells them by mail. Nothing here sends mail: recipients are kept and shown, an alert is
// told to webhooks, in the log and the audit log (spend_watch.hpp), and whoever hears of it may
// write to them.
#include <algorithm>
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

ordered_json alert_json(const SpendAlert& alert) {
  ordered_json json;
  json["id"] = alert.id;
  json["object"] = "project.spend_alert";
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

SpendAlert* find(TenantPolicy& policy, const std::string& id) {
  const auto found = std::ranges::find(policy.spend_alerts, id, &SpendAlert::id);
  return found == policy.spend_alerts.end() ? nullptr : &*found;
}

Result<std::vector<SpendAlert>> alerts_of(const DirectorySnapshot& snapshot,
                                          const TenantId& tenant) {
  const auto* entry = snapshot.find(tenant);
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  return entry->policy ? entry->policy->spend_alerts : std::vector<SpendAlert>();
}

Result<ordered_json> shown_alert(const DirectorySnapshot& snapshot, const TenantId& tenant,
                                 const std::string& id) {
  const auto alerts = alerts_of(snapshot, tenant);
  if (!alerts) return alerts.error();
  const auto found = std::ranges::find(*alerts, id, &SpendAlert::id);
  if (found == alerts->end()) return no_such_alert();
  return Result<ordered_json>(boost::system::in_place_value, alert_json(*found));
}

TenantId project_argument(const Call& call) {
  return TenantId(call.arguments.at(0));
}

// Changes the alert that the call names, or refuses as its If-Match says.
Result<void> change_alert(Platform& platform, const Call& call, const std::string& event,
                          const std::function<void(TenantPolicy&, SpendAlert&)>& change) {
  const TenantId tenant = project_argument(call);
  const std::string& id = call.arguments.at(1);
  const auto guard = guard_of(call, [tenant, id](const DirectorySnapshot& snapshot) {
    return shown_alert(snapshot, tenant, id);
  });
  if (!guard) return guard.error();
  const auto changed = platform.directory->modify_policy(
      call.caller, tenant, event,
      [&](TenantPolicy& policy) -> Result<void> {
        SpendAlert* const alert = find(policy, id);
        if (alert == nullptr) return no_such_alert();
        change(policy, *alert);
        return {};
      },
      call.received_wall, *guard, id);
  if (!changed) return changed.error();
  return {};
}

}  // namespace

Result<Reply> list_spend_alerts(Platform& platform, Call& call) {
  const auto alerts = alerts_of(*platform.directory->snapshot(), project_argument(call));
  if (!alerts) return alerts.error();
  std::vector<ordered_json> objects;
  for (const SpendAlert& alert : *alerts) objects.push_back(alert_json(alert));
  return list_reply(call.target, std::move(objects));
}

Result<Reply> create_spend_alert(Platform& platform, Call& call) {
  auto alert = read_alert(call);
  if (!alert) return alert.error();
  alert->id = "alert_" + new_ulid(call.received_wall);
  const auto changed = platform.directory->modify_policy(
      call.caller, project_argument(call), "spend_alert.created",
      [&](TenantPolicy& policy) -> Result<void> {
        if (policy.spend_alerts.size() >= kMaxSpendAlerts) {
          return Error{
              Code::kInvalidValue,
              "A project may have " + std::to_string(kMaxSpendAlerts) + " spend alerts at most."};
        }
        policy.spend_alerts.push_back(*alert);
        return {};
      },
      call.received_wall, {}, alert->id);
  if (!changed) return changed.error();
  return tagged_reply(alert_json(*alert));
}

Result<Reply> get_spend_alert(Platform& platform, Call& call) {
  const auto alert =
      shown_alert(*platform.directory->snapshot(), project_argument(call), call.arguments.at(1));
  if (!alert) return alert.error();
  return tagged_reply(*alert);
}

// A threshold that was moved may be reached again in the same month.
Result<Reply> modify_spend_alert(Platform& platform, Call& call) {
  auto wanted = read_alert(call);
  if (!wanted) return wanted.error();
  const auto changed =
      change_alert(platform, call, "spend_alert.updated", [&](TenantPolicy&, SpendAlert& alert) {
        wanted->id = alert.id;
        wanted->told_month =
            alert.threshold_cents == wanted->threshold_cents ? alert.told_month : 0;
        alert = *wanted;
      });
  if (!changed) return changed.error();
  return tagged_reply(alert_json(*wanted));
}

Result<Reply> delete_spend_alert(Platform& platform, Call& call) {
  const std::string& id = call.arguments.at(1);
  const auto changed =
      change_alert(platform, call, "spend_alert.deleted", [&](TenantPolicy& policy, SpendAlert&) {
        std::erase_if(policy.spend_alerts, [&](const SpendAlert& alert) { return alert.id == id; });
      });
  if (!changed) return changed.error();
  ordered_json json;
  json["id"] = id;
  json["object"] = "project.spend_alert.deleted";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera

#include "gateway/webhooks/webhooks.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/registry_changes.hpp"
#include "storage/json.hpp"
#include "storage/keys.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

constexpr std::string_view kTest = "webhook.test";

Error no_such_webhook() {
  return {Code::kNotFound, "There is no such webhook."};
}

Result<void> check_events(const std::vector<std::string>& events) {
  const auto& known = webhook_event_types();
  for (const std::string& event : events) {
    if (std::ranges::find(known, event) != known.end()) continue;
    return Error{Code::kInvalidValue, "'" + event.substr(0, 64) + "' is no event to hear of.",
                 "events"};
  }
  return {};
}

}  // namespace

const std::vector<std::string>& webhook_event_types() {
  using Kind = RegistryChange::Kind;
  static const std::vector<std::string> types = [] {
    std::vector<std::string> all = {"spend_alert.triggered"};
    for (const Kind kind : {Kind::kAdapterCreated, Kind::kAdapterUpdated, Kind::kAdapterDeleted,
                            Kind::kVersionCreated, Kind::kVersionUpdated, Kind::kVersionDeleted,
                            Kind::kAliasUpdated, Kind::kAliasDeleted}) {
      all.emplace_back(event_name(kind));
    }
    return all;
  }();
  return types;
}

WebhookEvent make_webhook_event(std::string id, std::string type, const TenantId& tenant,
                                const nlohmann::ordered_json& data, WallTime now) {
  if (id.empty()) id = "evt_" + new_ulid(now);
  nlohmann::ordered_json json;
  json["id"] = id;
  json["object"] = "event";
  json["type"] = type;
  json["created_at"] = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  json["project_id"] = nullptr;
  if (!tenant.empty()) json["project_id"] = tenant.str();
  json["data"] = data;
  return {.id = std::move(id), .type = std::move(type), .tenant = tenant, .body = to_text(json)};
}

Webhooks::Webhooks(const Services& services, Settings settings)
    : services_(services), settings_(std::move(settings)) {}

Webhooks::~Webhooks() {
  stop();
}

Result<std::unique_ptr<Webhooks>> Webhooks::open(const Services& services, Settings settings) {
  std::unique_ptr<Webhooks> webhooks(new Webhooks(services, std::move(settings)));
  if (auto loaded = webhooks->load(); !loaded) return loaded.error();
  for (int i = 0; i < webhooks->settings_.num_threads; ++i) {
    webhooks->threads_.emplace_back(
        [raw = webhooks.get()](const std::stop_token& stop) { raw->send(stop); });
  }
  return webhooks;
}

// What waits for a webhook that was deleted meanwhile is found by whoever sends it, and goes.
Result<void> Webhooks::load() {
  const MutexLock lock(mutex_);
  Result<void> decoded;
  const auto take = [&](const auto& record, const auto& keep) {
    if (!record) {
      decoded = record.error();
      return false;
    }
    keep(*record);
    return true;
  };
  auto scanned = services_.store.scan(
      Family::kMeta, keys::all_webhooks(), {}, [&](std::string_view, std::string_view value) {
        return take(decode_webhook(value),
                    [&](const Webhook& webhook) { hooks_[webhook.id].webhook = webhook; });
      });
  if (!decoded) return decoded;
  if (!scanned) return scanned;
  scanned = services_.store.scan(
      Family::kMeta, keys::all_webhook_events(), {}, [&](std::string_view, std::string_view value) {
        return take(decode_webhook_delivery(value), [&](const WebhookDelivery& delivery) {
          schedule(delivery.webhook, delivery.event, delivery.due);
        });
      });
  return decoded ? scanned : decoded;
}

void Webhooks::stop() {
  client_.stop();
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();  // joins
}

// ---- what there is

Webhooks::State Webhooks::state_of(const Hook& hook) {
  return {.webhook = hook.webhook,
          .num_pending = hook.pending.size(),
          .num_lost = hook.num_lost,
          .last = hook.last};
}

std::vector<Webhooks::State> Webhooks::list(const TenantId& tenant) const {
  const MutexLock lock(mutex_);
  std::vector<State> found;
  for (const auto& [id, hook] : hooks_) {
    if (hook.webhook.tenant == tenant) found.push_back(state_of(hook));
  }
  return found;
}

Result<Webhooks::State> Webhooks::find(const TenantId& tenant, const std::string& id) const {
  const MutexLock lock(mutex_);
  const Hook* const hook = owned(tenant, id);
  if (hook == nullptr) return no_such_webhook();
  return state_of(*hook);
}

const Webhooks::Hook* Webhooks::owned(const TenantId& tenant, const std::string& id) const {
  const auto found = hooks_.find(id);
  return found != hooks_.end() && found->second.webhook.tenant == tenant ? &found->second : nullptr;
}
Webhooks::Hook* Webhooks::owned(const TenantId& tenant, const std::string& id) {
  return const_cast<Hook*>(std::as_const(*this).owned(tenant, id));
}

// ---- changes

Result<Webhooks::Secret> Webhooks::create(const Caller& actor, const TenantId& tenant,
                                          const std::string& url, std::vector<std::string> events,
                                          WallTime now) {
  if (auto parsed = parse_webhook_url(url, settings_.egress); !parsed) return parsed.error();
  if (auto checked = check_events(events); !checked) return checked.error();
  const MutexLock change(change_);
  if (list(tenant).size() >= kMaxWebhooksOfTenant) {
    return Error{Code::kInvalidValue,
                 "There may be " + std::to_string(kMaxWebhooksOfTenant) + " webhooks at most."};
  }
  const Webhook webhook{.id = "whk_" + new_ulid(now),
                        .tenant = tenant,
                        .url = url,
                        .events = std::move(events),
                        .created_at = now,
                        .created_by = actor.key,
                        .secret = {.pepper_version = services_.peppers.current_version()}};
  Batch batch;
  batch.put(Family::kMeta, keys::webhook(tenant.str(), webhook.id), encode(webhook));
  const auto audit = new_audit_record("webhook.created", actor.key, tenant, webhook.id, now);
  if (auto written = services_.directory.write_audited(std::move(batch), {&audit, 1}); !written) {
    return written.error();
  }
  const MutexLock lock(mutex_);
  Hook& hook = hooks_[webhook.id];
  hook.webhook = webhook;
  return Secret{state_of(hook),
                secret_text(secret_of(services_.peppers, webhook.id, webhook.secret))};
}

Result<void> Webhooks::remove(const Caller& actor, const TenantId& tenant, const std::string& id,
                              WallTime now) {
  const MutexLock change(change_);
  Batch batch;
  {
    const MutexLock lock(mutex_);
    const Hook* const hook = owned(tenant, id);
    if (hook == nullptr) return no_such_webhook();
    for (const auto& [event, due] : hook->pending) {
      batch.erase(Family::kMeta, keys::webhook_event(id, event));
    }
  }
  batch.erase(Family::kMeta, keys::webhook(tenant.str(), id));
  const auto audit = new_audit_record("webhook.deleted", actor.key, tenant, id, now);
  if (auto written = services_.directory.write_audited(std::move(batch), {&audit, 1}); !written) {
    return written;
  }
  const MutexLock lock(mutex_);
  Hook& hook = hooks_.at(id);
  while (!hook.pending.empty()) unschedule(hook, hook.pending.begin()->first);
  hooks_.erase(id);
  return {};
}

Result<Webhooks::Secret> Webhooks::rotate(const Caller& actor, const TenantId& tenant,
                                          const std::string& id, std::chrono::seconds grace,
                                          WallTime now) {
  const MutexLock change(change_);
  const auto current = find(tenant, id);
  if (!current) return current.error();
  Webhook webhook = current->webhook;
  webhook.retired = {.version = webhook.secret, .valid_until = now + grace};
  webhook.secret = {.pepper_version = services_.peppers.current_version(),
                    .generation = webhook.secret.generation + 1};
  webhook.disabled = false;
  Batch batch;
  batch.put(Family::kMeta, keys::webhook(tenant.str(), id), encode(webhook));
  const auto audit = new_audit_record("webhook.rotated", actor.key, tenant, id, now);
  if (auto written = services_.directory.write_audited(std::move(batch), {&audit, 1}); !written) {
    return written.error();
  }
  const MutexLock lock(mutex_);
  Hook& hook = hooks_.at(id);
  hook.webhook = webhook;
  return Secret{state_of(hook), secret_text(secret_of(services_.peppers, id, webhook.secret))};
}

// ---- events

bool Webhooks::has_room(Hook& hook) {
  if (hook.pending.size() < kMaxPendingOfWebhook && schedule_.size() < kMaxPendingWebhookEvents) {
    return true;
  }
  if (hook.num_lost++ % kMaxPendingOfWebhook == 0) {
    log_warn("webhook_queue_full",
             {{"webhook", hook.webhook.id}, {"tenant", hook.webhook.tenant.str()}});
  }
  return false;
}

void Webhooks::schedule(const std::string& webhook, const std::string& event, WallTime due) {
  const auto found = hooks_.find(webhook);
  if (found != hooks_.end()) {
    unschedule(found->second, event);
    found->second.pending[event] = due;
  }
  schedule_.insert({due, webhook, event});
}

void Webhooks::unschedule(Hook& hook, const std::string& event) {
  const auto found = hook.pending.find(event);
  if (found == hook.pending.end()) return;
  schedule_.erase({found->second, hook.webhook.id, event});
  hook.pending.erase(found);
}

Result<std::string> Webhooks::test(const TenantId& tenant, const std::string& id, WallTime now) {
  const auto state = find(tenant, id);
  if (!state) return state.error();
  const auto event = make_webhook_event({}, std::string(kTest), tenant, {{"webhook", id}}, now);
  const WebhookDelivery delivery{.webhook = id, .event = event.id, .body = event.body, .due = now};
  {
    const MutexLock lock(mutex_);
    Hook* const hook = owned(tenant, id);
    if (hook == nullptr) return no_such_webhook();
    if (!has_room(*hook)) {
      return Error{Code::kRateLimitExceeded, "As many events wait for this webhook as may."};
    }
  }
  Batch batch;
  batch.put(Family::kMeta, keys::webhook_event(id, event.id), encode(delivery));
  if (auto written = services_.store.write(batch); !written) return written.error();
  commit({delivery});
  return event.id;
}

Webhooks::Queued Webhooks::prepare(Batch& batch, const WebhookEvent& event, WallTime now) {
  const MutexLock lock(mutex_);
  Queued queued;
  for (auto& [id, hook] : hooks_) {
    if (!hook.webhook.hears(event.tenant, event.type) || hook.pending.contains(event.id) ||
        !has_room(hook)) {
      continue;
    }
    queued.push_back({.webhook = id, .event = event.id, .body = event.body, .due = now});
    batch.put(Family::kMeta, keys::webhook_event(id, event.id), encode(queued.back()));
  }
  return queued;
}

void Webhooks::commit(const Queued& queued) {
  if (queued.empty()) return;
  {
    const MutexLock lock(mutex_);
    for (const WebhookDelivery& delivery : queued) {
      schedule(delivery.webhook, delivery.event, delivery.due);
    }
  }
  wake_.notify_all();
}

Result<void> Webhooks::tell(const WebhookEvent& event, WallTime now) {
  Batch batch;
  const Queued queued = prepare(batch, event, now);
  if (queued.empty()) return {};
  if (auto written = services_.store.write(batch); !written) return written;
  commit(queued);
  return {};
}

}  // namespace tessera

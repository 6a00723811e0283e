// webhooks_api.cpp — /v1/tenant/webhooks and /v1/organization/webhooks: who is told of what
// happens.
//
// A tenant's webhooks hear of the tenant, the platform's of all tenants. Another tenant's is
// answered like one that never was.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/meter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/api/rotation_grace.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxEventChars = 64;

ordered_json last_json(const std::optional<WebhookAttempt>& last) {
  if (!last) return nullptr;
  ordered_json json;
  json["at"] = unix_seconds(last->at);
  json["status"] = last->status == 0 ? ordered_json(nullptr) : ordered_json(last->status);
  json["error"] = last->error.empty() ? ordered_json(nullptr) : ordered_json(last->error);
  return json;
}

ordered_json webhook_json(const Webhooks::State& state) {
  const Webhook& webhook = state.webhook;
  ordered_json json;
  json["id"] = webhook.id;
  json["object"] = "webhook";
  json["url"] = webhook.url;
  json["events"] = webhook.events;
  json["status"] = webhook.disabled ? "disabled" : "enabled";
  json["created_at"] = unix_seconds(webhook.created_at);
  json["previous_secret_valid_until"] = nullptr;
  if (webhook.retired) {
    json["previous_secret_valid_until"] = unix_seconds(webhook.retired->valid_until);
  }
  json["events_waiting"] = state.num_pending;
  json["events_lost"] = state.num_lost;
  json["last_attempt"] = last_json(state.last);
  return json;
}

Reply secret_reply(const Webhooks::Secret& secret) {
  ordered_json json = webhook_json(secret.state);
  json["signing_secret"] = secret.text;
  return json_reply(json);
}

Result<Reply> list(Platform& platform, const Call& call, const TenantId& tenant) {
  std::vector<ordered_json> objects;
  for (const Webhooks::State& state : platform.webhooks->list(tenant)) {
    objects.push_back(webhook_json(state));
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> create(Platform& platform, const Call& call, const TenantId& tenant) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  std::string url;
  std::vector<std::string> events;
  Fields fields(*body);
  fields.required("url", url);
  read_texts(*body, fields, "events", webhook_event_types().size(), kMaxEventChars, events);
  if (auto read = fields.finish(); !read) return read.error();
  const auto created =
      platform.webhooks->create(call.caller, tenant, url, std::move(events), call.received_wall);
  if (!created) return created.error();
  return secret_reply(*created);
}

Result<Reply> get(Platform& platform, const Call& call, const TenantId& tenant) {
  const auto state = platform.webhooks->find(tenant, call.arguments.at(0));
  if (!state) return state.error();
  return json_reply(webhook_json(*state));
}

Result<Reply> remove(Platform& platform, const Call& call, const TenantId& tenant) {
  const std::string& id = call.arguments.at(0);
  const auto removed = platform.webhooks->remove(call.caller, tenant, id, call.received_wall);
  if (!removed) return removed.error();
  ordered_json json;
  json["id"] = id;
  json["object"] = "webhook.deleted";
  json["deleted"] = true;
  return json_reply(json);
}

Result<Reply> rotate(Platform& platform, const Call& call, const TenantId& tenant) {
  const auto grace = read_rotation_grace(call.request.body);
  if (!grace) return grace.error();
  const auto rotated = platform.webhooks->rotate(call.caller, tenant, call.arguments.at(0), *grace,
                                                 call.received_wall);
  if (!rotated) return rotated.error();
  return secret_reply(*rotated);
}

// Queued as any other event is; what came of it is told as the webhook's last attempt.
Result<Reply> test(Platform& platform, const Call& call, const TenantId& tenant) {
  const std::string& id = call.arguments.at(0);
  const auto event = platform.webhooks->test(tenant, id, call.received_wall);
  if (!event) return event.error();
  ordered_json json;
  json["object"] = "webhook.test";
  json["webhook"] = id;
  json["event"] = *event;
  return json_reply(json, 202);
}

}  // namespace

Result<Reply> list_own_webhooks(Platform& platform, Call& call) {
  return list(platform, call, call.caller.tenant);
}
Result<Reply> create_own_webhook(Platform& platform, Call& call) {
  return create(platform, call, call.caller.tenant);
}
Result<Reply> get_own_webhook(Platform& platform, Call& call) {
  return get(platform, call, call.caller.tenant);
}
Result<Reply> delete_own_webhook(Platform& platform, Call& call) {
  return remove(platform, call, call.caller.tenant);
}
Result<Reply> rotate_own_webhook(Platform& platform, Call& call) {
  return rotate(platform, call, call.caller.tenant);
}
Result<Reply> test_own_webhook(Platform& platform, Call& call) {
  return test(platform, call, call.caller.tenant);
}

Result<Reply> list_webhooks(Platform& platform, Call& call) {
  return list(platform, call, TenantId());
}
Result<Reply> create_webhook(Platform& platform, Call& call) {
  return create(platform, call, TenantId());
}
Result<Reply> get_webhook(Platform& platform, Call& call) {
  return get(platform, call, TenantId());
}
Result<Reply> delete_webhook(Platform& platform, Call& call) {
  return remove(platform, call, TenantId());
}
Result<Reply> rotate_webhook(Platform& platform, Call& call) {
  return rotate(platform, call, TenantId());
}
Result<Reply> test_webhook(Platform& platform, Call& call) {
  return test(platform, call, TenantId());
}

}  // namespace tessera

#include "gateway/webhooks/webhook_records.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "gateway/api/stored_json.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json secret_json(const SecretVersion& version) {
  return {{"pepper_version", version.pepper_version}, {"generation", version.generation}};
}
SecretVersion secret_at(const Json& json) {
  return {.pepper_version = json.at("pepper_version").get<std::uint32_t>(),
          .generation = json.at("generation").get<std::int64_t>()};
}

Webhook webhook_of(const Json& json) {
  Webhook webhook{.id = json.at("id").get<std::string>(),
                  .tenant = TenantId(json.at("tenant").get<std::string>()),
                  .url = json.at("url").get<std::string>(),
                  .events = json.at("events").get<std::vector<std::string>>(),
                  .created_at = stored_time_at(json, "created_at"),
                  .created_by = KeyId(json.at("created_by").get<std::string>()),
                  .disabled = json.at("disabled").get<bool>(),
                  .secret = secret_at(json.at("secret"))};
  if (json.contains("retired")) {
    const Json& retired = json.at("retired");
    webhook.retired = {.version = secret_at(retired),
                       .valid_until = stored_time_at(retired, "valid_until")};
  }
  return webhook;
}

WebhookDelivery delivery_of(const Json& json) {
  return {.webhook = json.at("webhook").get<std::string>(),
          .event = json.at("event").get<std::string>(),
          .body = json.at("body").get<std::string>(),
          .attempts = json.at("attempts").get<std::int64_t>(),
          .due = stored_time_at(json, "due")};
}

}  // namespace

bool Webhook::hears(const TenantId& of, std::string_view event) const {
  if (disabled || (!tenant.empty() && tenant != of)) return false;
  return events.empty() || std::ranges::find(events, event) != events.end();
}

std::string encode(const Webhook& webhook) {
  Json json;
  json["id"] = webhook.id;
  json["tenant"] = webhook.tenant.str();
  json["url"] = webhook.url;
  json["events"] = webhook.events;
  json["created_at"] = stored_time(webhook.created_at);
  json["created_by"] = webhook.created_by.str();
  json["disabled"] = webhook.disabled;
  json["secret"] = secret_json(webhook.secret);
  if (webhook.retired) {
    json["retired"] = secret_json(webhook.retired->version);
    json["retired"]["valid_until"] = stored_time(webhook.retired->valid_until);
  }
  return to_text(json);
}

std::string encode(const WebhookDelivery& delivery) {
  Json json;
  json["webhook"] = delivery.webhook;
  json["event"] = delivery.event;
  json["body"] = delivery.body;
  json["attempts"] = delivery.attempts;
  json["due"] = stored_time(delivery.due);
  return to_text(json);
}

Result<Webhook> decode_webhook(std::string_view text) {
  return read_stored(text, "a record of a webhook", webhook_of);
}
Result<WebhookDelivery> decode_webhook_delivery(std::string_view text) {
  return read_stored(text, "a record of a webhook", delivery_of);
}

// No API key's secret looks like the text that is hashed here: those have no blanks.
WebhookSecret secret_of(const PepperFile& peppers, const std::string& webhook,
                        const SecretVersion& version) {
  return peppers.hmac(version.pepper_version,
                      "webhook secret " + webhook + ' ' + std::to_string(version.generation));
}

}  // namespace tessera

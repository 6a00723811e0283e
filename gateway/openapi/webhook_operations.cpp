// webhook_operations.cpp — the shapes of webhooks, a tenant's and the platform's.
#include "gateway/openapi/operations.hpp"
#include "gateway/webhooks/webhooks.hpp"

namespace tessera::openapi {
namespace {

Json event_types() {
  Json types = text();
  types["enum"] = webhook_event_types();
  return types;
}

void add_schemas(Json& schemas) {
  const Json last =
      object({{"at", unix_time()}, {"status", nullable(integer())}, {"error", nullable(text())}});
  const Members members = {{"id", text()},
                           {"object", constant("webhook")},
                           {"url", text()},
                           {"events", array(event_types())},
                           {"status", words({"enabled", "disabled"})},
                           {"created_at", unix_time()},
                           {"previous_secret_valid_until", nullable(unix_time())},
                           {"events_waiting", integer()},
                           {"events_lost", integer()},
                           {"last_attempt", nullable(last)}};
  schemas["Webhook"] = object(members);
  schemas["WebhookList"] = list_of("Webhook");
  schemas["WebhookWithSecret"] = object(joined(members, {{"signing_secret", text()}}));
  schemas["NewWebhook"] =
      request({{"url", text(1, kMaxWebhookUrlChars)},
               optional("events", array(event_types(), 0, webhook_event_types().size()))});
  schemas["WebhookTest"] =
      object({{"object", constant("webhook.test")}, {"webhook", text()}, {"event", text()}});
}

struct Patterns {
  std::string_view all;
  std::string_view one;
  std::string_view rotate;
  std::string_view test;
};

void add_operations(const Patterns& patterns, std::vector<Operation>& operations) {
  operations.push_back({.method = "GET",
                        .pattern = patterns.all,
                        .summary = "Lists webhooks.",
                        .answers = {{200, ref("WebhookList")}},
                        .query = page_parameters()});
  operations.push_back({.method = "POST",
                        .pattern = patterns.all,
                        .summary = "Makes one, whose signing secret is shown this once.",
                        .answers = {{200, ref("WebhookWithSecret")}},
                        .body = ref("NewWebhook")});
  operations.push_back({.method = "GET",
                        .pattern = patterns.one,
                        .summary = "One webhook.",
                        .answers = {{200, ref("Webhook")}}});
  operations.push_back({.method = "DELETE",
                        .pattern = patterns.one,
                        .summary = "Deletes it, and what waits for it.",
                        .answers = {{200, deleted("webhook.deleted")}}});
  operations.push_back({.method = "POST",
                        .pattern = patterns.rotate,
                        .summary = "Gives it another signing secret.",
                        .answers = {{200, ref("WebhookWithSecret")}},
                        .body = ref("KeyRotation"),
                        .needs_body = false});
  operations.push_back({.method = "POST",
                        .pattern = patterns.test,
                        .summary = "Sends it an event that means nothing.",
                        .answers = {{202, ref("WebhookTest")}}});
}

}  // namespace

void describe_webhooks(Surface& surface) {
  add_schemas(surface.schemas);
  add_operations({.all = "/v1/tenant/webhooks",
                  .one = "/v1/tenant/webhooks/{webhook}",
                  .rotate = "/v1/tenant/webhooks/{webhook}/rotate",
                  .test = "/v1/tenant/webhooks/{webhook}/test"},
                 surface.operations);
  add_operations({.all = "/v1/organization/webhooks",
                  .one = "/v1/organization/webhooks/{webhook}",
                  .rotate = "/v1/organization/webhooks/{webhook}/rotate",
                  .test = "/v1/organization/webhooks/{webhook}/test"},
                 surface.operations);
}

}  // namespace tessera::openapi

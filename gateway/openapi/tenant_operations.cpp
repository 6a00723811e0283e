// tenant_operations.cpp — the shapes of /v1/tenant and /v1/usage/self: what a tenant may know and
// do about itself, and those of its keys, which admins' routes share.
#include "gateway/api/rotation_grace.hpp"
#include "gateway/config.hpp"
#include "gateway/openapi/operations.hpp"
#include "tenancy/access_policy.hpp"

namespace tessera::openapi {
namespace {

constexpr std::string_view kKeyPath = "/v1/tenant/api_keys/{key}";

Json window() {
  return object({{"limit", integer()}, {"remaining", integer()}, {"reset_ms", integer()}});
}
Json period() {
  return object({{"limit", nullable(integer())}, {"used", integer()}, {"resets_at", unix_time()}});
}
Json used_of_limit() {
  return object({{"limit", integer()}, {"used", integer()}});
}
Json used_of_any_limit() {
  return object({{"limit", nullable(integer())}, {"used", integer()}});
}

Members meter_limits(const Json& limit) {
  Members members;
  for (const std::string_view name :
       {"max_requests_per_1_minute", "max_tokens_per_1_minute", "burst_requests", "burst_tokens",
        "max_concurrent_requests", "max_requests_per_1_day", "max_tokens_per_1_day",
        "max_tokens_per_1_month", "max_spend_cents_per_1_month"}) {
    members.push_back({name, limit});
  }
  return members;
}

Json meter_limits_request() {
  Members members = meter_limits(integer(0, INT64_MAX));
  for (Member& member : members) member.required = false;
  return request(members);
}

// What every form of a key shows.
Members key_members() {
  return {{"id", text()},
          {"name", text()},
          {"redacted_value", text()},
          {"created_at", unix_time()},
          {"last_used_at", nullable(unix_time())},
          {"scopes", array(text())},
          {"expires_at", nullable(unix_time())},
          {"disabled_at", nullable(unix_time())},
          {"previous_value_valid_until", nullable(unix_time())}};
}
Members policy_members() {
  return {{"limits", ref("MeterLimits")},
          {"allowed_models", array(text())},
          {"allowed_ips", array(text())},
          {"allowed_tiers", array(words({"default", "flex", "priority"}))},
          {"compat", words({"strict", "lenient"})}};
}
// What may be asked of a key's policy.
Members policy_request() {
  return {optional("limits", ref("MeterLimitsRequest")),
          optional("allowed_models", array(text(1, kMaxModelNameChars), 0, kMaxPermittedModels)),
          optional("allowed_ips", array(text(1, 64), 0, kMaxIpRanges)),
          optional("allowed_tiers", array(words({"default", "flex", "priority"}), 0, 3)),
          optional("compat", words({"strict", "lenient"}))};
}

void add_key_schemas(Json& schemas) {
  schemas["MeterLimits"] = object(meter_limit_members());
  schemas["MeterLimitsRequest"] = meter_limits_request();
  const Json owner = object(
      {{"type", constant("service_account")}, optional("service_account", ref("ServiceAccount"))});
  const Json owner_of_admin = object({{"type", constant("service_account")},
                                      {"object", constant("organization")},
                                      {"role", constant("owner")}});
  const Members head = {{"object", constant("organization.project.api_key")}};
  const Members admin_head = {{"object", constant("organization.admin_api_key")}};
  const Members admin_tail = {{"owner", owner_of_admin}};
  const Members value = {{"value", text()}};
  const Members access = {{"owner_project_access", words({"active", "inactive"})},
                          {"owner", owner}};
  schemas["ApiKey"] = object(joined(joined(joined(head, key_members()), policy_members()), access));
  schemas["ApiKeyList"] = list_of("ApiKey");
  schemas["CreatedApiKey"] = object(
      joined(joined(joined({{"object", constant("organization.project.service_account.api_key")}},
                           key_members()),
                    policy_members()),
             value));
  schemas["AdminApiKey"] = object(joined(joined(admin_head, key_members()), admin_tail));
  schemas["AdminApiKeyList"] = list_of("AdminApiKey");
  schemas["CreatedAdminApiKey"] =
      object(joined(joined(joined(admin_head, key_members()), admin_tail), value));
  const Members made = {{"name", text(1, 128)},
                        optional("expires_in_seconds", integer(1, 31'536'000))};
  const Json scopes = array(text(1, 64), 1, 8);
  schemas["NewApiKey"] = request(
      joined(joined(made, {optional("scopes", either({text(1, 64), scopes}))}), policy_request()));
  schemas["NewAdminApiKey"] = request(made);
  schemas["ApiKeyPolicy"] = request(policy_request());
  schemas["KeyRotation"] =
      request({optional("grace_seconds", integer(0, kMaxRotationGrace.count()))});
}

void add_schemas(Json& schemas) {
  schemas["Tenant"] = object({{"id", text()},
                              {"object", constant("tenant")},
                              {"name", text()},
                              {"slug", text()},
                              {"created_at", unix_time()},
                              {"base_model", text()}});
  schemas["TenantLimits"] = object({{"object", constant("tenant.limits")},
                                    {"requests_per_minute", window()},
                                    {"tokens_per_minute", window()},
                                    {"concurrent_requests", used_of_limit()},
                                    {"requests_per_day", period()},
                                    {"tokens_per_day", period()},
                                    {"tokens_per_month", period()},
                                    {"spend_cents_per_month", period()},
                                    {"max_output_tokens_per_request", integer()},
                                    {"max_queue", nullable(integer())},
                                    {"key", ref("MeterLimits")}});
  const Members totals = {{"input_tokens", integer()},
                          {"input_cached_tokens", integer()},
                          {"output_tokens", integer()},
                          {"num_model_requests", integer()}};
  schemas["OwnUsage"] = object(
      {{"object", constant("usage")},
       {"project_id", text()},
       {"requests_per_minute", window()},
       {"tokens_per_minute", window()},
       {"concurrent_requests", used_of_limit()},
       {"requests_per_day", period()},
       {"tokens_per_day", period()},
       {"tokens_per_month", period()},
       {"spend_cents_per_month", period()},
       {"adapters", used_of_limit()},
       {"adapter_bytes", used_of_limit()},
       {"resident_adapters", used_of_any_limit()},
       {"resident_adapter_bytes", used_of_any_limit()},
       {"totals", object(totals)},
       {"by_adapter", array(object(joined({{"adapter_sha256", nullable(text())}}, totals)))}});
}

void add_reading(std::vector<Operation>& operations) {
  const auto get = [&](std::string_view pattern, std::string_view summary, std::string_view schema,
                       std::vector<Parameter> query = {}) {
    operations.push_back({.method = "GET",
                          .pattern = pattern,
                          .summary = summary,
                          .answers = {{200, ref(schema)}},
                          .query = std::move(query)});
  };
  get("/v1/usage/self", "What the tenant has used, and what is left.", "OwnUsage");
  get("/v1/tenant", "The tenant itself.", "Tenant");
  operations.push_back({.method = "PATCH",
                        .pattern = "/v1/tenant",
                        .summary = "Renames the tenant.",
                        .answers = {{200, ref("Tenant")}},
                        .body = request({{"name", text(1, 128)}}),
                        .headers = {"If-Match"}});
  get("/v1/tenant/limits", "Limits, what is used of them, and when they begin anew.",
      "TenantLimits");
  get("/v1/tenant/audit_logs", "What was changed in the tenant.", "AuditLogList",
      audit_parameters());
  get("/v1/tenant/usage/completions", "What the tenant used, in buckets of time.",
      "CompletionsUsagePage", usage_parameters());
  add_usage_export("/v1/tenant/usage/export", {}, operations);
  get("/v1/tenant/api_keys", "Lists the tenant's keys.", "ApiKeyList", page_parameters());
  get(kKeyPath, "One key.", "ApiKey");
}

void add_keys(std::vector<Operation>& operations) {
  operations.push_back({.method = "POST",
                        .pattern = "/v1/tenant/api_keys",
                        .summary = "Makes a key, whose value is shown this once.",
                        .answers = {{200, ref("CreatedApiKey")}},
                        .body = ref("NewApiKey")});
  operations.push_back({.method = "POST",
                        .pattern = kKeyPath,
                        .summary = "Changes what a key may do.",
                        .answers = {{200, ref("ApiKey")}},
                        .body = ref("ApiKeyPolicy"),
                        .headers = {"If-Match"}});
  operations.push_back({.method = "DELETE",
                        .pattern = kKeyPath,
                        .summary = "Revokes a key.",
                        .answers = {{200, deleted("organization.project.api_key.deleted")}},
                        .headers = {"If-Match"}});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/tenant/api_keys/{key}/rotate",
                        .summary = "Gives a key another secret.",
                        .answers = {{200, ref("CreatedApiKey")}},
                        .body = ref("KeyRotation"),
                        .headers = {"If-Match"},
                        .needs_body = false});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/tenant/api_keys/{key}/disable",
                        .summary = "Has a key refused until it is enabled.",
                        .answers = {{200, ref("ApiKey")}},
                        .headers = {"If-Match"}});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/tenant/api_keys/{key}/enable",
                        .summary = "Has a disabled key accepted again.",
                        .answers = {{200, ref("ApiKey")}},
                        .headers = {"If-Match"}});
}

}  // namespace

Members meter_limit_members() {
  return meter_limits(nullable(integer()));
}

std::vector<Parameter> audit_parameters() {
  std::vector<Parameter> parameters = {{"limit", integer(1, kMaxPageSize)}, {"after", text()}};
  for (const char* bound :
       {"effective_at[gt]", "effective_at[gte]", "effective_at[lt]", "effective_at[lte]"}) {
    parameters.push_back({bound, integer(0, 253'402'300'799)});
  }
  for (const char* filter : {"event_types[]", "project_ids[]", "actor_ids[]", "resource_ids[]"}) {
    parameters.push_back({filter, array(text())});
  }
  return parameters;
}

void describe_tenant(Surface& surface) {
  add_schemas(surface.schemas);
  add_key_schemas(surface.schemas);
  add_reading(surface.operations);
  add_keys(surface.operations);
}

}  // namespace tessera::openapi

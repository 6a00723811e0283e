// admin_operations.cpp — the shapes of /v1/organization, mostly OpenAI's: projects, keys, limits.
#include "gateway/config.hpp"
#include "gateway/openapi/operations.hpp"
#include "tenancy/access_policy.hpp"
#include "tenancy/money.hpp"

namespace tessera::openapi {
namespace {

constexpr std::size_t kMaxNameChars = 128;

// Adds operations of one project's or the platform's objects, a line each.
class Adder {
 public:
  explicit Adder(std::vector<Operation>& operations) : operations_(operations) {}

  Operation& get(std::string_view pattern, std::string_view summary, Json schema,
                 std::vector<Parameter> query = {}) {
    return operations_.emplace_back(Operation{.method = "GET",
                                              .pattern = pattern,
                                              .summary = summary,
                                              .answers = {{200, std::move(schema)}},
                                              .query = std::move(query)});
  }
  Operation& post(std::string_view pattern, std::string_view summary, Json schema, Json body) {
    return operations_.emplace_back(Operation{.method = "POST",
                                              .pattern = pattern,
                                              .summary = summary,
                                              .answers = {{200, std::move(schema)}},
                                              .body = std::move(body),
                                              .headers = {"If-Match"}});
  }
  Operation& remove(std::string_view pattern, std::string_view summary, Json schema) {
    return operations_.emplace_back(Operation{.method = "DELETE",
                                              .pattern = pattern,
                                              .summary = summary,
                                              .answers = {{200, std::move(schema)}},
                                              .headers = {"If-Match"}});
  }

 private:
  std::vector<Operation>& operations_;
};

// What an object becomes when it is deleted and still told.
Json and_deleted(Members members, std::string_view object_word) {
  Json gone = boolean();
  gone["const"] = true;
  members.push_back({"deleted", gone});
  Json schema = object(members);
  schema["properties"]["object"] = constant(object_word);
  return schema;
}

// Projects and service accounts.

void add_project_schemas(Json& schemas) {
  schemas["Project"] = object({{"id", text()},
                               {"object", constant("organization.project")},
                               {"name", text()},
                               {"slug", text()},
                               {"created_at", unix_time()},
                               {"archived_at", nullable(unix_time())},
                               {"status", words({"active", "archived"})},
                               {"weight", integer(1, kMaxWeight)},
                               {"tier", words({"default", "flex", "priority"})},
                               {"labels", map(text())},
                               {"limits", ref("ProjectLimits")}});
  schemas["ProjectList"] = list_of("Project");
  const Members account = {{"id", text()},
                           {"object", constant("organization.project.service_account")},
                           {"name", text()},
                           {"role", constant("member")},
                           {"created_at", unix_time()}};
  schemas["ServiceAccount"] = object(account);
  schemas["ServiceAccountList"] = list_of("ServiceAccount");
  schemas["CreatedServiceAccount"] =
      object(joined(account, {{"api_key", nullable(ref("CreatedApiKey"))}}));
  schemas["NewServiceAccount"] = request({{"name", text(1, kMaxNameChars)},
                                          optional("create_service_account_only", boolean()),
                                          optional("expires_in_seconds", integer(1, 31'536'000))});
}

// Our own members of a project, as they are set.
Members project_settings() {
  return {optional("weight", integer(1, kMaxWeight)),
          optional("tier", words({"default", "flex", "priority", "fast"})),
          optional("labels", map(nullable(text()))),
          optional("limits", ref("ProjectLimitsRequest"))};
}

void add_projects(Adder add) {
  add.get("/v1/organization/projects", "Lists projects, which are tenants.", ref("ProjectList"),
          page_parameters_and({{"include_archived", words({"true", "false"})}}));
  add.post(
      "/v1/organization/projects", "Makes a project.", ref("Project"),
      request(joined({{"name", text(1, kMaxNameChars)}, optional("slug", text(0, kMaxNameChars))},
                     project_settings())));
  add.get("/v1/organization/projects/{project}", "One project.", ref("Project"));
  const Json change =
      request(joined({optional("name", text(1, kMaxNameChars))}, project_settings()));
  add.post("/v1/organization/projects/{project}", "Changes a project.", ref("Project"), change);
  add.post("/v1/organization/projects/{project}", "The same.", ref("Project"), change).method =
      "PATCH";
  add.post("/v1/organization/projects/{project}/archive", "Ends a project.", ref("Project"),
           nullptr);
  add.get("/v1/organization/projects/{project}/service_accounts", "Lists service accounts.",
          ref("ServiceAccountList"), page_parameters());
  add.post("/v1/organization/projects/{project}/service_accounts",
           "Makes a service account with its first key.", ref("CreatedServiceAccount"),
           ref("NewServiceAccount"));
  constexpr std::string_view kAccount =
      "/v1/organization/projects/{project}/service_accounts/{account}";
  add.get(kAccount, "One service account.", ref("ServiceAccount"));
  add.post(kAccount, "Renames it.", ref("ServiceAccount"),
           request({{"name", text(1, kMaxNameChars)}, optional("role", constant("member"))}));
  add.remove(kAccount, "Deletes it and its keys.",
             deleted("organization.project.service_account.deleted"));
  add.post("/v1/organization/projects/{project}/service_accounts/{account}/api_keys",
           "Makes a key, whose value is shown this once.", ref("CreatedApiKey"), ref("NewApiKey"));
  add.post("/v1/organization/projects/{project}/adapters/{name}/versions/{version}/quarantine",
           "Takes a version out of service.", ref("AdapterVersion"), nullptr);
  add.post("/v1/organization/projects/{project}/adapters/{name}/versions/{version}/release",
           "Puts it back.", ref("AdapterVersion"), nullptr);
}

// Keys.

void add_keys(Adder add) {
  constexpr std::string_view kProjectKey = "/v1/organization/projects/{project}/api_keys/{key}";
  constexpr std::string_view kAdminKey = "/v1/organization/admin_api_keys/{key}";
  add.get("/v1/organization/projects/{project}/api_keys", "Lists keys.", ref("ApiKeyList"),
          page_parameters());
  add.get(kProjectKey, "One key.", ref("ApiKey"));
  add.post(kProjectKey, "Changes what a key may do.", ref("ApiKey"), ref("ApiKeyPolicy"));
  add.remove(kProjectKey, "Revokes a key.", deleted("organization.project.api_key.deleted"));
  add.post("/v1/organization/projects/{project}/api_keys/{key}/rotate",
           "Gives a key another secret.", ref("CreatedApiKey"), ref("KeyRotation"))
      .needs_body = false;
  add.post("/v1/organization/projects/{project}/api_keys/{key}/disable",
           "Has a key refused until it is enabled.", ref("ApiKey"), nullptr);
  add.post("/v1/organization/projects/{project}/api_keys/{key}/enable",
           "Has a disabled key accepted again.", ref("ApiKey"), nullptr);
  add.get("/v1/organization/admin_api_keys", "Lists admins' keys.", ref("AdminApiKeyList"),
          page_parameters());
  add.post("/v1/organization/admin_api_keys", "Makes an admin's key.", ref("CreatedAdminApiKey"),
           ref("NewAdminApiKey"));
  add.get(kAdminKey, "One admin's key.", ref("AdminApiKey"));
  add.remove(kAdminKey, "Revokes it.", deleted("organization.admin_api_key.deleted"));
  add.post("/v1/organization/admin_api_keys/{key}/rotate", "Gives it another secret.",
           ref("CreatedAdminApiKey"), ref("KeyRotation"))
      .needs_body = false;
}

// Limits, money, permissions.

Members rate_limit_head() {
  return {{"object", constant("project.rate_limit")}, {"id", text()}, {"model", text()}};
}
Members rate_limit_tail() {
  return {{"etag", text()}};
}

// Those of a project that are always there, and those that may be.
Members fixed_limits(const Json& limit) {
  return {{"max_requests_per_1_minute", limit},
          {"max_tokens_per_1_minute", limit},
          {"max_concurrent_requests", limit},
          {"max_output_tokens_per_request", limit},
          {"max_adapters", limit},
          {"max_adapter_bytes", limit},
          {"max_adapter_rank", limit},
          {"max_concurrent_uploads", limit},
          {"max_uploads_per_1_day", limit}};
}
Members optional_limits(const Json& limit) {
  return {{"max_requests_per_1_day", limit},
          {"max_tokens_per_1_day", limit},
          {"max_tokens_per_1_month", limit}};
}
Members room_limits(const Json& limit) {
  return {{"max_queue", limit},
          {"max_resident_adapters", limit},
          {"max_resident_adapter_bytes", limit}};
}

Members project_limits() {
  return joined(
      joined(fixed_limits(integer()), {{"burst_requests", integer()}, {"burst_tokens", integer()}}),
      joined(optional_limits(nullable(integer())), room_limits(nullable(integer()))));
}

Json rate_limit() {
  const Json maybe = nullable(integer());
  const Json project =
      object(joined(joined(rate_limit_head(), project_limits()), rate_limit_tail()));
  const Json model =
      object(joined(rate_limit_head(), joined({{"max_requests_per_1_minute", maybe},
                                               {"max_tokens_per_1_minute", maybe},
                                               {"burst_requests", maybe},
                                               {"burst_tokens", maybe},
                                               {"max_concurrent_requests", maybe},
                                               {"max_spend_cents_per_1_month", maybe}},
                                              joined(optional_limits(maybe), rate_limit_tail()))));
  return either({project, model});
}

// A limit of a project that is null stays as it is, one that may be absent goes.
Json limits_request(const Members& more) {
  const Json limit = integer(0, INT64_MAX);
  Members members = joined(joined(fixed_limits(limit), optional_limits(limit)),
                           {{"burst_requests", limit}, {"burst_tokens", limit}});
  members = joined(members, room_limits(limit));
  members = joined(members, more);
  for (Member& member : members) member.required = false;
  return request(members);
}

Members spend_limit_members() {
  return {{"object", constant("project.spend_limit")},
          {"threshold_amount", nullable(integer())},
          {"currency", constant("USD")},
          {"interval", constant("month")},
          {"enforcement", object({{"status", words({"inactive", "enforcing"})}})}};
}
Members permission_members() {
  return {{"object", constant("project.model_permissions")},
          {"mode", words({"all", "allow_list", "deny_list"})},
          {"model_ids", array(text())}};
}
Members address_members() {
  return {{"object", constant("project.ip_allowlist")}, {"allowed_ips", array(text())}};
}

void add_limit_schemas(Json& schemas) {
  schemas["RateLimit"] = rate_limit();
  schemas["RateLimitList"] = list_of("RateLimit");
  schemas["RateLimitRequest"] =
      limits_request({{"max_spend_cents_per_1_month", integer(0, INT64_MAX)}});
  schemas["ProjectLimits"] = object(project_limits());
  schemas["ProjectLimitsRequest"] = limits_request({});
  schemas["SpendLimit"] = object(spend_limit_members());
  const Members channel = {
      {"type", constant("email")},
      {"recipients", array(text(1, kMaxAlertTextChars), 0, kMaxAlertRecipients)}};
  const Members alert = {{"threshold_amount", integer(0, Money::kMaxCents)},
                         {"currency", constant("USD")},
                         {"interval", constant("month")}};
  const auto add_alert = [&](const std::string& name, std::string_view object_word) {
    schemas[name] = object(joined(
        joined({{"id", text()}, {"object", constant(object_word)}}, alert),
        {{"notification_channel", object(joined(channel, {{"subject_prefix", nullable(text())}}))},
         {"last_triggered_month", nullable(unix_time())}}));
    schemas[name + "List"] = list_of(name);
  };
  add_alert("SpendAlert", "project.spend_alert");
  add_alert("OrganizationSpendAlert", "organization.spend_alert");
  schemas["SpendAlertRequest"] = request(joined(
      alert,
      {{"notification_channel",
        request(joined(channel, {optional("subject_prefix", text(0, kMaxAlertTextChars))}))}}));
  schemas["ModelPermissions"] = object(permission_members());
  schemas["IpAllowlist"] = object(address_members());
}

void add_limits(Adder add) {
  constexpr std::string_view kLimit = "/v1/organization/projects/{project}/rate_limits/{limit}";
  add.get("/v1/organization/projects/{project}/rate_limits", "Limits of all and of models.",
          ref("RateLimitList"), page_parameters());
  add.post(kLimit, "Changes limits.", ref("RateLimit"), ref("RateLimitRequest"));
  add.remove(kLimit, "Removes a model's limits.",
             and_deleted(rate_limit_head(), "project.rate_limit"));
  constexpr std::string_view kSpend = "/v1/organization/projects/{project}/spend_limit";
  add.get(kSpend, "What the project may spend a month.", ref("SpendLimit"));
  add.post(kSpend, "Sets it.", ref("SpendLimit"),
           request({{"threshold_amount", integer(0, Money::kMaxCents)},
                    optional("currency", constant("USD")),
                    optional("interval", constant("month"))}));
  add.remove(kSpend, "Removes it.",
             and_deleted(spend_limit_members(), "project.spend_limit.deleted"));
  constexpr std::string_view kAlerts = "/v1/organization/projects/{project}/spend_alerts";
  constexpr std::string_view kAlert = "/v1/organization/projects/{project}/spend_alerts/{alert}";
  add.get(kAlerts, "Lists spend alerts.", ref("SpendAlertList"), page_parameters());
  add.post(kAlerts, "Makes one.", ref("SpendAlert"), ref("SpendAlertRequest"));
  add.get(kAlert, "One spend alert.", ref("SpendAlert"));
  add.post(kAlert, "Changes it.", ref("SpendAlert"), ref("SpendAlertRequest"));
  add.remove(kAlert, "Deletes it.", deleted("project.spend_alert.deleted"));
  constexpr std::string_view kModels = "/v1/organization/projects/{project}/model_permissions";
  add.get(kModels, "Which models the project may use.", ref("ModelPermissions"));
  add.post(
      kModels, "Sets them.", ref("ModelPermissions"),
      request({{"mode", words({"all", "allow_list", "deny_list"})},
               optional("model_ids", array(text(1, kMaxModelNameChars), 0, kMaxPermittedModels))}));
  add.remove(kModels, "Permits all.",
             and_deleted(permission_members(), "project.model_permissions.deleted"));
  constexpr std::string_view kAddresses = "/v1/organization/projects/{project}/ip_allowlist";
  add.get(kAddresses, "From which addresses the project may be used.", ref("IpAllowlist"));
  add.post(kAddresses, "Sets them.", ref("IpAllowlist"),
           request({{"allowed_ips", array(text(1, 64), 0, kMaxIpRanges)}}));
  add.remove(kAddresses, "Allows all.",
             and_deleted(address_members(), "project.ip_allowlist.deleted"));
}

Members organization_spend_members() {
  Members members = spend_limit_members();
  members.front().schema = constant("organization.spend_limit");
  return members;
}

void add_organization_schemas(Json& schemas) {
  const Members head = {
      {"object", constant("organization.rate_limit")}, {"id", text()}, {"model", text()}};
  schemas["OrganizationRateLimit"] =
      object(joined(joined(head, meter_limit_members()), rate_limit_tail()));
  schemas["OrganizationRateLimitList"] = list_of("OrganizationRateLimit");
  schemas["OrganizationSpendLimit"] = object(organization_spend_members());
}

void add_organization(Adder add) {
  add.get("/v1/organization/rate_limits", "Limits of all projects together.",
          ref("OrganizationRateLimitList"), page_parameters());
  add.post("/v1/organization/rate_limits/{limit}", "Changes them.", ref("OrganizationRateLimit"),
           ref("MeterLimitsRequest"));
  constexpr std::string_view kSpend = "/v1/organization/spend_limit";
  add.get(kSpend, "What all projects may spend a month.", ref("OrganizationSpendLimit"));
  add.post(kSpend, "Sets it.", ref("OrganizationSpendLimit"),
           request({{"threshold_amount", integer(0, Money::kMaxCents)},
                    optional("currency", constant("USD")),
                    optional("interval", constant("month"))}));
  add.remove(kSpend, "Removes it.",
             and_deleted(organization_spend_members(), "organization.spend_limit.deleted"));
  constexpr std::string_view kAlerts = "/v1/organization/spend_alerts";
  constexpr std::string_view kAlert = "/v1/organization/spend_alerts/{alert}";
  add.get(kAlerts, "Lists alerts about what all projects spend.", ref("OrganizationSpendAlertList"),
          page_parameters());
  add.post(kAlerts, "Makes one.", ref("OrganizationSpendAlert"), ref("SpendAlertRequest"));
  add.get(kAlert, "One of them.", ref("OrganizationSpendAlert"));
  add.post(kAlert, "Changes it.", ref("OrganizationSpendAlert"), ref("SpendAlertRequest"));
  add.remove(kAlert, "Deletes it.", deleted("organization.spend_alert.deleted"));
}

}  // namespace

void describe_admin(Surface& surface) {
  add_project_schemas(surface.schemas);
  add_limit_schemas(surface.schemas);
  add_organization_schemas(surface.schemas);
  const Adder add(surface.operations);
  add_projects(add);
  add_keys(add);
  add_limits(add);
  add_organization(add);
}

}  // namespace tessera::openapi

// server_operations.cpp — the shapes of /admin/v1: the running server itself.
#include <utility>

#include "gateway/openapi/operations.hpp"

namespace tessera::openapi {
namespace {

Json window() {
  return object({{"limit", integer()}, {"remaining", integer()}, {"reset_ms", integer()}});
}
Json used_of_limit() {
  return object({{"limit", integer()}, {"used", integer()}});
}

Json tenant_state() {
  const Json held = object({{"adapters", integer()}, {"bytes", integer()}});
  const Json use = object({{"requests_today", integer()},
                           {"tokens_today", integer()},
                           {"tokens_this_month", integer()},
                           {"spend_cents_this_month", integer()}});
  return object({{"object", constant("debug.tenant")},
                 {"project_id", text()},
                 {"status", words({"active", "archived"})},
                 {"keys", integer()},
                 {"service_accounts", integer()},
                 {"limits_revision", integer()},
                 {"requests_per_minute", window()},
                 {"tokens_per_minute", window()},
                 {"concurrent_requests", used_of_limit()},
                 {"use", use},
                 {"stored", held},
                 {"in_memory", held}});
}

void add_schemas(Json& schemas) {
  schemas["Config"] = object({{"object", constant("config")},
                              {"log_level", words({"info", "warn", "error"})},
                              {"drain_seconds", integer()},
                              {"settings", map(any())}});
  schemas["Drain"] =
      object({{"object", constant("drain")}, {"draining", boolean()}, {"running", integer()}});
  schemas["ResidentAdapter"] = object({{"id", text()},
                                       {"object", constant("engine.residency")},
                                       {"project_id", nullable(text())},
                                       {"bytes", integer()},
                                       {"pinned", boolean()},
                                       {"in_use", boolean()}});
  schemas["ResidentAdapterList"] = list_of("ResidentAdapter");
  schemas["BackupVerification"] = object({{"object", constant("backup.verification")},
                                          {"id", text()},
                                          {"ok", boolean()},
                                          {"reason", nullable(text())},
                                          {"usage_links", integer()},
                                          {"audit_links", integer()},
                                          {"packages", integer()},
                                          {"package_bytes", integer()}});
  schemas["Pepper"] = object({{"object", constant("pepper")}, {"version", integer()}});
  schemas["TenantState"] = tenant_state();
}

}  // namespace

void describe_server(Surface& surface) {
  add_schemas(surface.schemas);
  const auto add = [&](std::string_view method, std::string_view pattern, std::string_view summary,
                       Answer answer, Json body = {}, std::vector<Parameter> query = {},
                       std::vector<std::string_view> headers = {}) {
    surface.operations.push_back({.method = method,
                                  .pattern = pattern,
                                  .summary = summary,
                                  .answers = {std::move(answer)},
                                  .body = std::move(body),
                                  .query = std::move(query),
                                  .headers = std::move(headers)});
  };
  add("GET", "/admin/v1/config", "How the server was started, and what was changed since.",
      {200, ref("Config")});
  add("PUT", "/admin/v1/config", "Changes what can be changed, until the next start.",
      {200, ref("Config")},
      request({optional("log_level", words({"info", "warn", "error"})),
               optional("drain_seconds", integer(0, 86'400))}),
      {}, {"If-Match"});
  add("POST", "/admin/v1/drain", "Sends new inference elsewhere; what runs goes on.",
      {200, ref("Drain")});
  add("POST", "/admin/v1/undrain", "Takes inference again.", {200, ref("Drain")});
  add("GET", "/admin/v1/engine/residency", "The adapters in memory, the largest first.",
      {200, ref("ResidentAdapterList")}, {}, page_parameters());
  add("POST", "/admin/v1/restore/verify", "Reads all of a backup, as a restore would.",
      {200, ref("BackupVerification")}, request({{"backup", text()}}));
  add("POST", "/admin/v1/peppers/rotate", "Adds a pepper, for keys that are made from now on.",
      {200, ref("Pepper")});
  add("GET", "/admin/v1/debug/tenants/{project}", "What one project has in use.",
      {200, ref("TenantState")});
  for (const char* pattern : {"/admin/v1/metrics/tenants", "/metrics/tenants"}) {
    add("GET", pattern, "What each project has used, for Prometheus.", {200, text(), "text/plain"});
  }
}

}  // namespace tessera::openapi

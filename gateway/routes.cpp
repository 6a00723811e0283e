#include "gateway/routes.hpp"

#include <algorithm>
#include <array>

#include "gateway/adapters/upload_forms.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

constexpr Route get(std::string_view pattern, Access access, Handler handler) {
  return {"GET", pattern, access, Body::kNone, 0, handler};
}
constexpr Route remove(std::string_view pattern, Access access, Handler handler) {
  return {"DELETE", pattern, access, Body::kNone, 0, handler};
}
constexpr Route post(std::string_view pattern, Access access, std::size_t max_body_bytes,
                     Handler handler) {
  return {"POST", pattern, access, Body::kJson, max_body_bytes, handler};
}
constexpr Route put(std::string_view pattern, Access access, std::size_t max_body_bytes,
                    Handler handler) {
  return {"PUT", pattern, access, Body::kJson, max_body_bytes, handler};
}
constexpr Route patch(std::string_view pattern, Access access, std::size_t max_body_bytes,
                      Handler handler) {
  return {"PATCH", pattern, access, Body::kJson, max_body_bytes, handler};
}
// A POST that needs no body; one is tolerated.
constexpr Route command(std::string_view pattern, Access access, Handler handler) {
  return {"POST", pattern, access, Body::kNone, kMaxAdminBytes, handler};
}
// Bodies that go to disk.
constexpr Route package(std::string_view pattern, Handler handler) {
  return {"POST",  pattern,     Access::kAdapterWrite, Body::kPackage, kMaxUploadBodyBytes,
          handler, kAdapterForm};
}
constexpr Route form(std::string_view pattern, std::uint64_t max_file_bytes,
                     std::span<const PartRule> parts, Handler handler) {
  return {"POST",  pattern, Access::kAdapterWrite, Body::kForm, max_file_bytes + kMaxFormBytes,
          handler, parts};
}
constexpr Route file(std::string_view pattern, Handler handler) {
  return {"PUT", pattern, Access::kAdapterWrite, Body::kFile, kMaxUploadBytes, handler};
}

constexpr auto kApiRoutes = std::to_array<Route>({
    get("/openapi.json", Access::kAnyKey, get_openapi),
    // inference
    post("/v1/chat/completions", Access::kInference, kMaxJsonBytes, create_chat_completion),
    post("/v1/completions", Access::kInference, kMaxJsonBytes, create_completion),
    post("/v1/embeddings", Access::kInference, kMaxJsonBytes, create_embeddings),
    post("/v1/responses", Access::kInference, kMaxJsonBytes, create_response),
    post("/v1/tokenize", Access::kInference, kMaxJsonBytes, tokenize),
    post("/v1/detokenize", Access::kInference, kMaxJsonBytes, detokenize),
    get("/v1/models", Access::kInference, list_models),
    get("/v1/models/{model}", Access::kInference, get_model),
    get("/v1/usage/self", Access::kInference, get_own_usage),
    // a tenant's adapters
    package("/v1/adapters", create_adapter),
    package("/v1/adapters/{name}/versions", create_adapter_version),
    command("/v1/adapters/{name}/versions/drafts", Access::kAdapterWrite, create_draft),
    file("/v1/adapters/{name}/versions/{draft}/files/{file}", put_draft_file),
    command("/v1/adapters/{name}/versions/{draft}/complete", Access::kAdapterWrite, complete_draft),
    command("/v1/adapters/{name}/versions/{draft}/cancel", Access::kAdapterWrite, cancel_draft),
    get("/v1/adapters", Access::kAdapterRead, list_adapters),
    get("/v1/adapters/events", Access::kAdapterRead, stream_events),  // no adapter is called so
    get("/v1/adapters/{name}", Access::kAdapterRead, get_adapter),
    patch("/v1/adapters/{name}", Access::kAdapterWrite, kMaxAdminBytes, modify_adapter),
    get("/v1/adapters/{name}/events", Access::kAdapterRead, stream_adapter_events),
    get("/v1/adapters/{name}/versions", Access::kAdapterRead, list_adapter_versions),
    get("/v1/adapters/{name}/versions/{version}", Access::kAdapterRead, get_adapter_version),
    remove("/v1/adapters/{name}", Access::kAdapterWrite, delete_adapter),
    remove("/v1/adapters/{name}/versions/{version}", Access::kAdapterWrite, delete_adapter_version),
    get("/v1/adapters/{name}/versions/{version}/report", Access::kAdapterRead, get_adapter_report),
    get("/v1/adapters/{name}/versions/{version}/files/{file}", Access::kAdapterDownload,
        get_adapter_file),
    command("/v1/adapters/{name}/versions/{version}/preload", Access::kAdapterWrite,
            preload_adapter_version),
    command("/v1/adapters/{name}/versions/{version}/pin", Access::kAdapterWrite,
            pin_adapter_version),
    command("/v1/adapters/{name}/versions/{version}/unpin", Access::kAdapterWrite,
            unpin_adapter_version),
    command("/v1/adapters/{name}/versions/{version}/evict", Access::kAdapterWrite,
            evict_adapter_version),
    get("/v1/adapters/{name}/acceptance", Access::kAdapterRead, get_acceptance),
    put("/v1/adapters/{name}/acceptance", Access::kAdapterWrite, kMaxAcceptanceBytes,
        put_acceptance),
    remove("/v1/adapters/{name}/acceptance", Access::kAdapterWrite, delete_acceptance),
    get("/v1/adapters/{name}/aliases", Access::kAdapterRead, list_adapter_aliases),
    get("/v1/adapters/{name}/aliases/{alias}", Access::kAdapterRead, get_adapter_alias),
    post("/v1/adapters/{name}/aliases/{alias}", Access::kAdapterWrite, kMaxAdminBytes,
         set_adapter_alias),
    put("/v1/adapters/{name}/aliases/{alias}", Access::kAdapterWrite, kMaxAdminBytes,
        set_adapter_alias),
    command("/v1/adapters/{name}/aliases/{alias}/rollback", Access::kAdapterWrite,
            roll_back_adapter_alias),
    remove("/v1/adapters/{name}/aliases/{alias}", Access::kAdapterWrite, delete_adapter_alias),
    remove("/v1/models/{name}", Access::kAdapterWrite, delete_model),
    // files that a tenant puts aside, whole and in parts
    form("/v1/files", kMaxUploadBytes, kFileForm, create_file),
    get("/v1/files", Access::kAdapterRead, list_files),
    get("/v1/files/{file}", Access::kAdapterRead, get_file),
    get("/v1/files/{file}/content", Access::kAdapterRead, get_file_content),
    remove("/v1/files/{file}", Access::kAdapterWrite, delete_file),
    post("/v1/uploads", Access::kAdapterWrite, kMaxAdminBytes, create_upload),
    get("/v1/uploads/{upload}", Access::kAdapterRead, get_upload),
    form("/v1/uploads/{upload}/parts", kMaxUploadPartBytes, kUploadPartForm, add_upload_part),
    post("/v1/uploads/{upload}/complete", Access::kAdapterWrite, kMaxJsonBytes, complete_upload),
    command("/v1/uploads/{upload}/cancel", Access::kAdapterWrite, cancel_upload),
    // a tenant's own numbers
    get("/v1/tenant/usage/completions", Access::kTenantRead, get_own_completions_usage),
    get("/v1/tenant/usage/export", Access::kTenantRead, export_own_usage),
    get("/v1/tenant/audit_logs", Access::kTenantRead, list_own_audit_logs),
    get("/v1/tenant", Access::kTenantRead, get_own_tenant),
    patch("/v1/tenant", Access::kTenantWrite, kMaxAdminBytes, modify_own_tenant),
    get("/v1/tenant/limits", Access::kTenantRead, get_own_limits),
    get("/v1/tenant/webhooks", Access::kTenantRead, list_own_webhooks),
    post("/v1/tenant/webhooks", Access::kTenantWrite, kMaxAdminBytes, create_own_webhook),
    get("/v1/tenant/webhooks/{webhook}", Access::kTenantRead, get_own_webhook),
    remove("/v1/tenant/webhooks/{webhook}", Access::kTenantWrite, delete_own_webhook),
    command("/v1/tenant/webhooks/{webhook}/rotate", Access::kTenantWrite, rotate_own_webhook),
    command("/v1/tenant/webhooks/{webhook}/test", Access::kTenantWrite, test_own_webhook),
    // and its keys
    get("/v1/tenant/api_keys", Access::kTenantRead, list_own_keys),
    post("/v1/tenant/api_keys", Access::kKeyWrite, kMaxAdminBytes, create_own_key),
    get("/v1/tenant/api_keys/{key}", Access::kTenantRead, get_own_key),
    post("/v1/tenant/api_keys/{key}", Access::kKeyWrite, kMaxAdminBytes, modify_own_key),
    remove("/v1/tenant/api_keys/{key}", Access::kKeyWrite, delete_own_key),
    command("/v1/tenant/api_keys/{key}/rotate", Access::kKeyWrite, rotate_own_key),
    command("/v1/tenant/api_keys/{key}/disable", Access::kKeyWrite, disable_own_key),
    command("/v1/tenant/api_keys/{key}/enable", Access::kKeyWrite, enable_own_key),
    // administration
    get("/v1/organization/projects", Access::kAdmin, list_projects),
    post("/v1/organization/projects", Access::kAdmin, kMaxAdminBytes, create_project),
    get("/v1/organization/projects/{project}", Access::kAdmin, get_project),
    post("/v1/organization/projects/{project}", Access::kAdmin, kMaxAdminBytes, modify_project),
    patch("/v1/organization/projects/{project}", Access::kAdmin, kMaxAdminBytes, modify_project),
    command("/v1/organization/projects/{project}/archive", Access::kAdmin, archive_project),
    get("/v1/organization/projects/{project}/service_accounts", Access::kAdmin,
        list_service_accounts),
    post("/v1/organization/projects/{project}/service_accounts", Access::kAdmin, kMaxAdminBytes,
         create_service_account),
    get("/v1/organization/projects/{project}/service_accounts/{account}", Access::kAdmin,
        get_service_account),
    post("/v1/organization/projects/{project}/service_accounts/{account}", Access::kAdmin,
         kMaxAdminBytes, modify_service_account),
    remove("/v1/organization/projects/{project}/service_accounts/{account}", Access::kAdmin,
           delete_service_account),
    post("/v1/organization/projects/{project}/service_accounts/{account}/api_keys", Access::kAdmin,
         kMaxAdminBytes, create_service_account_key),
    get("/v1/organization/projects/{project}/api_keys", Access::kAdmin, list_project_keys),
    get("/v1/organization/projects/{project}/api_keys/{key}", Access::kAdmin, get_project_key),
    post("/v1/organization/projects/{project}/api_keys/{key}", Access::kAdmin, kMaxAdminBytes,
         modify_project_key),
    remove("/v1/organization/projects/{project}/api_keys/{key}", Access::kAdmin,
           delete_project_key),
    command("/v1/organization/projects/{project}/api_keys/{key}/rotate", Access::kAdmin,
            rotate_project_key),
    command("/v1/organization/projects/{project}/api_keys/{key}/disable", Access::kAdmin,
            disable_project_key),
    command("/v1/organization/projects/{project}/api_keys/{key}/enable", Access::kAdmin,
            enable_project_key),
    get("/v1/organization/admin_api_keys", Access::kAdmin, list_admin_keys),
    post("/v1/organization/admin_api_keys", Access::kAdmin, kMaxAdminBytes, create_admin_key),
    get("/v1/organization/admin_api_keys/{key}", Access::kAdmin, get_admin_key),
    remove("/v1/organization/admin_api_keys/{key}", Access::kAdmin, delete_admin_key),
    command("/v1/organization/admin_api_keys/{key}/rotate", Access::kAdmin, rotate_admin_key),
    get("/v1/organization/audit_logs", Access::kAdmin, list_audit_logs),
    command("/v1/organization/projects/{project}/adapters/{name}/versions/{version}/quarantine",
            Access::kAdmin, quarantine_adapter_version),
    command("/v1/organization/projects/{project}/adapters/{name}/versions/{version}/release",
            Access::kAdmin, release_adapter_version),
    get("/v1/organization/projects/{project}/rate_limits", Access::kAdmin, list_rate_limits),
    post("/v1/organization/projects/{project}/rate_limits/{limit}", Access::kAdmin, kMaxAdminBytes,
         modify_rate_limit),
    remove("/v1/organization/projects/{project}/rate_limits/{limit}", Access::kAdmin,
           delete_rate_limit),
    get("/v1/organization/projects/{project}/spend_limit", Access::kAdmin, get_spend_limit),
    post("/v1/organization/projects/{project}/spend_limit", Access::kAdmin, kMaxAdminBytes,
         set_spend_limit),
    remove("/v1/organization/projects/{project}/spend_limit", Access::kAdmin, delete_spend_limit),
    get("/v1/organization/projects/{project}/spend_alerts", Access::kAdmin, list_spend_alerts),
    post("/v1/organization/projects/{project}/spend_alerts", Access::kAdmin, kMaxAdminBytes,
         create_spend_alert),
    get("/v1/organization/projects/{project}/spend_alerts/{alert}", Access::kAdmin,
        get_spend_alert),
    post("/v1/organization/projects/{project}/spend_alerts/{alert}", Access::kAdmin, kMaxAdminBytes,
         modify_spend_alert),
    remove("/v1/organization/projects/{project}/spend_alerts/{alert}", Access::kAdmin,
           delete_spend_alert),
    get("/v1/organization/projects/{project}/model_permissions", Access::kAdmin,
        get_model_permissions),
    post("/v1/organization/projects/{project}/model_permissions", Access::kAdmin, kMaxAdminBytes,
         set_model_permissions),
    remove("/v1/organization/projects/{project}/model_permissions", Access::kAdmin,
           delete_model_permissions),
    get("/v1/organization/projects/{project}/ip_allowlist", Access::kAdmin, get_ip_allowlist),
    post("/v1/organization/projects/{project}/ip_allowlist", Access::kAdmin, kMaxAdminBytes,
         set_ip_allowlist),
    remove("/v1/organization/projects/{project}/ip_allowlist", Access::kAdmin, delete_ip_allowlist),
    get("/v1/organization/rate_limits", Access::kAdmin, list_organization_limits),
    post("/v1/organization/rate_limits/{limit}", Access::kAdmin, kMaxAdminBytes,
         modify_organization_limit),
    get("/v1/organization/spend_limit", Access::kAdmin, get_organization_spend_limit),
    post("/v1/organization/spend_limit", Access::kAdmin, kMaxAdminBytes,
         set_organization_spend_limit),
    remove("/v1/organization/spend_limit", Access::kAdmin, delete_organization_spend_limit),
    get("/v1/organization/spend_alerts", Access::kAdmin, list_organization_spend_alerts),
    post("/v1/organization/spend_alerts", Access::kAdmin, kMaxAdminBytes,
         create_organization_spend_alert),
    get("/v1/organization/spend_alerts/{alert}", Access::kAdmin, get_organization_spend_alert),
    post("/v1/organization/spend_alerts/{alert}", Access::kAdmin, kMaxAdminBytes,
         modify_organization_spend_alert),
    remove("/v1/organization/spend_alerts/{alert}", Access::kAdmin,
           delete_organization_spend_alert),
    get("/v1/organization/webhooks", Access::kAdmin, list_webhooks),
    post("/v1/organization/webhooks", Access::kAdmin, kMaxAdminBytes, create_webhook),
    get("/v1/organization/webhooks/{webhook}", Access::kAdmin, get_webhook),
    remove("/v1/organization/webhooks/{webhook}", Access::kAdmin, delete_webhook),
    command("/v1/organization/webhooks/{webhook}/rotate", Access::kAdmin, rotate_webhook),
    command("/v1/organization/webhooks/{webhook}/test", Access::kAdmin, test_webhook),
    get("/v1/organization/usage/completions", Access::kAdmin, get_completions_usage),
    get("/v1/organization/usage/embeddings", Access::kAdmin, get_embeddings_usage),
    get("/v1/organization/usage/export", Access::kAdmin, export_usage),
    get("/v1/organization/costs", Access::kAdmin, get_costs),
    get("/admin/v1/live", Access::kAdmin, get_live),
    get("/admin/v1/backups", Access::kAdmin, list_backups),
    command("/admin/v1/backups", Access::kAdmin, create_backup),
    command("/admin/v1/backup", Access::kAdmin, create_backup),
    remove("/admin/v1/backups/{backup}", Access::kAdmin, delete_backup),
    post("/admin/v1/restore/verify", Access::kAdmin, kMaxAdminBytes, verify_backup),
    get("/admin/v1/config", Access::kAdmin, get_config),
    put("/admin/v1/config", Access::kAdmin, kMaxAdminBytes, set_config),
    command("/admin/v1/drain", Access::kAdmin, drain_server),
    command("/admin/v1/undrain", Access::kAdmin, undrain_server),
    get("/admin/v1/engine/residency", Access::kAdmin, get_residency),
    command("/admin/v1/peppers/rotate", Access::kAdmin, rotate_pepper),
    get("/admin/v1/debug/tenants/{project}", Access::kAdmin, debug_tenant),
    get("/admin/v1/metrics/tenants", Access::kAdmin, get_tenant_metrics),
});

constexpr auto kOpsRoutes = std::to_array<Route>({
    get("/livez", Access::kPublic, livez),
    get("/readyz", Access::kPublic, readyz),
    get("/startupz", Access::kPublic, startupz),
    get("/version", Access::kPublic, get_version),
    get("/metrics", Access::kPublic, get_metrics),
    get("/metrics/tenants", Access::kAdmin, get_tenant_metrics),
});

// (Not that it has a handler: with -fsanitize=undefined g++ 12 compares no function's address in a
// constant expression. A test looks.)
consteval bool every_route_is_complete(std::span<const Route> routes) {
  return std::ranges::all_of(routes, [](const Route& route) {
    return route.access != Access::kUnset && route.pattern.starts_with('/');
  });
}
consteval bool none_is_public(std::span<const Route> routes) {
  return std::ranges::none_of(routes,
                              [](const Route& route) { return route.access == Access::kPublic; });
}
static_assert(every_route_is_complete(kApiRoutes) && every_route_is_complete(kOpsRoutes));
static_assert(none_is_public(kApiRoutes));

// The segments that the pattern's {…} matched, or nullopt if the path is another.
std::optional<std::vector<std::string>> match_pattern(std::string_view pattern,
                                                      const std::vector<std::string>& segments) {
  std::vector<std::string> arguments;
  for (const std::string& segment : segments) {
    if (!pattern.starts_with('/')) return std::nullopt;
    pattern.remove_prefix(1);
    const std::string_view expected = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(expected.size());
    if (expected.starts_with('{') && !segment.empty()) {
      arguments.push_back(segment);
    } else if (expected != segment) {
      return std::nullopt;
    }
  }
  if (!pattern.empty()) return std::nullopt;
  return arguments;
}

}  // namespace

std::span<const Route> api_routes() {
  return kApiRoutes;
}
std::span<const Route> ops_routes() {
  return kOpsRoutes;
}

std::optional<Scope> scope_of(Access access) {
  switch (access) {
    case Access::kUnset:
    case Access::kPublic:
    case Access::kAnyKey:
      return std::nullopt;
    case Access::kInference:
      return Scope::kModelRequest;
    case Access::kAdapterRead:
      return Scope::kAdapterRead;
    case Access::kAdapterWrite:
      return Scope::kAdapterWrite;
    case Access::kAdapterDownload:
      return Scope::kAdapterDownload;
    case Access::kTenantRead:
      return Scope::kTenantRead;
    case Access::kTenantWrite:
      return Scope::kTenantWrite;
    case Access::kKeyWrite:
      return Scope::kKeyWrite;
    case Access::kAdmin:
      return Scope::kAdmin;
  }
  return std::nullopt;
}

Error nothing_here() {
  return {Code::kNotFound, "There is nothing at this URL."};
}

Result<Match> match_route(std::span<const Route> routes, std::string_view method,
                          const Target& target) {
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  std::string allowed;
  for (const Route& route : routes) {
    auto arguments = match_pattern(route.pattern, target.segments);
    if (!arguments) continue;
    if (route.method == wanted) return Match{&route, *std::move(arguments)};
    if (allowed.find(route.method) != std::string::npos) continue;
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
    if (route.method == "GET") allowed += ", HEAD";
  }
  if (allowed.empty()) return nothing_here();
  return Error{Code::kMethodNotAllowed, "This URL only allows: " + allowed + ".", allowed};
}

Result<void> check_access(Access access, const Caller& caller) {
  if (access == Access::kPublic) return {};
  if (access == Access::kAnyKey && !caller.key.empty()) return {};
  const auto scope = scope_of(access);
  if (scope && caller.may(*scope)) return {};
  const std::string needed(scope ? to_string(*scope) : "");
  return Error{Code::kInsufficientScope, "This key lacks the scope '" + needed + "'."};
}

}  // namespace tessera

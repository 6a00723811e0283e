#include "gateway/routes.hpp"

#include <algorithm>
#include <array>

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
// A POST that needs no body; one is tolerated.
constexpr Route command(std::string_view pattern, Access access, Handler handler) {
  return {"POST", pattern, access, Body::kNone, kMaxAdminBytes, handler};
}
constexpr Route upload(std::string_view pattern, Handler handler) {
  return {"POST", pattern, Access::kAdapterWrite, Body::kMultipart, kMaxUploadBytes, handler};
}

constexpr auto kApiRoutes = std::to_array<Route>({
    // inference
    post("/v1/chat/completions", Access::kInference, kMaxJsonBytes, create_chat_completion),
    post("/v1/completions", Access::kInference, kMaxJsonBytes, create_completion),
    post("/v1/tokenize", Access::kInference, kMaxJsonBytes, tokenize),
    post("/v1/detokenize", Access::kInference, kMaxJsonBytes, detokenize),
    get("/v1/models", Access::kInference, list_models),
    get("/v1/models/{model}", Access::kInference, get_model),
    // a tenant's adapters
    upload("/v1/adapters", create_adapter),
    upload("/v1/adapters/{name}/versions", create_adapter_version),
    get("/v1/adapters", Access::kAdapterRead, list_adapters),
    get("/v1/adapters/{name}", Access::kAdapterRead, get_adapter),
    get("/v1/adapters/{name}/versions", Access::kAdapterRead, list_adapter_versions),
    get("/v1/adapters/{name}/versions/{version}", Access::kAdapterRead, get_adapter_version),
    remove("/v1/adapters/{name}", Access::kAdapterWrite, delete_adapter),
    remove("/v1/adapters/{name}/versions/{version}", Access::kAdapterWrite, delete_adapter_version),
    remove("/v1/models/{name}", Access::kAdapterWrite, delete_adapter),
    // a tenant's own numbers
    get("/v1/usage/self", Access::kTenantRead, get_own_usage),
    get("/v1/tenant/audit_logs", Access::kTenantRead, list_own_audit_logs),
    // and its keys
    get("/v1/tenant/api_keys", Access::kTenantRead, list_own_keys),
    post("/v1/tenant/api_keys", Access::kKeyWrite, kMaxAdminBytes, create_own_key),
    get("/v1/tenant/api_keys/{key}", Access::kTenantRead, get_own_key),
    remove("/v1/tenant/api_keys/{key}", Access::kKeyWrite, delete_own_key),
    command("/v1/tenant/api_keys/{key}/rotate", Access::kKeyWrite, rotate_own_key),
    // administration
    get("/v1/organization/projects", Access::kAdmin, list_projects),
    post("/v1/organization/projects", Access::kAdmin, kMaxAdminBytes, create_project),
    get("/v1/organization/projects/{project}", Access::kAdmin, get_project),
    post("/v1/organization/projects/{project}", Access::kAdmin, kMaxAdminBytes, modify_project),
    command("/v1/organization/projects/{project}/archive", Access::kAdmin, archive_project),
    get("/v1/organization/projects/{project}/service_accounts", Access::kAdmin,
        list_service_accounts),
    post("/v1/organization/projects/{project}/service_accounts", Access::kAdmin, kMaxAdminBytes,
         create_service_account),
    post("/v1/organization/projects/{project}/service_accounts/{account}/api_keys", Access::kAdmin,
         kMaxAdminBytes, create_service_account_key),
    get("/v1/organization/projects/{project}/api_keys", Access::kAdmin, list_project_keys),
    get("/v1/organization/projects/{project}/api_keys/{key}", Access::kAdmin, get_project_key),
    remove("/v1/organization/projects/{project}/api_keys/{key}", Access::kAdmin,
           delete_project_key),
    command("/v1/organization/projects/{project}/api_keys/{key}/rotate", Access::kAdmin,
            rotate_project_key),
    get("/v1/organization/admin_api_keys", Access::kAdmin, list_admin_keys),
    post("/v1/organization/admin_api_keys", Access::kAdmin, kMaxAdminBytes, create_admin_key),
    get("/v1/organization/admin_api_keys/{key}", Access::kAdmin, get_admin_key),
    remove("/v1/organization/admin_api_keys/{key}", Access::kAdmin, delete_admin_key),
    command("/v1/organization/admin_api_keys/{key}/rotate", Access::kAdmin, rotate_admin_key),
    get("/v1/organization/audit_logs", Access::kAdmin, list_audit_logs),
    get("/v1/organization/projects/{project}/rate_limits", Access::kAdmin, list_rate_limits),
    post("/v1/organization/projects/{project}/rate_limits/{limit}", Access::kAdmin, kMaxAdminBytes,
         modify_rate_limit),
    get("/v1/organization/usage/completions", Access::kAdmin, get_completions_usage),
});

constexpr auto kOpsRoutes = std::to_array<Route>({
    get("/livez", Access::kPublic, livez),
    get("/readyz", Access::kPublic, readyz),
    get("/metrics", Access::kPublic, get_metrics),
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

std::optional<Scope> scope_of(Access access) {
  switch (access) {
    case Access::kUnset:
    case Access::kPublic:
      return std::nullopt;
    case Access::kInference:
      return Scope::kModelRequest;
    case Access::kAdapterRead:
      return Scope::kAdapterRead;
    case Access::kAdapterWrite:
      return Scope::kAdapterWrite;
    case Access::kTenantRead:
      return Scope::kTenantRead;
    case Access::kKeyWrite:
      return Scope::kKeyWrite;
    case Access::kAdmin:
      return Scope::kAdmin;
  }
  return std::nullopt;
}

}  // namespace

std::span<const Route> api_routes() {
  return kApiRoutes;
}
std::span<const Route> ops_routes() {
  return kOpsRoutes;
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
  if (allowed.empty()) return Error{Code::kNotFound, "There is nothing at this URL."};
  return Error{Code::kMethodNotAllowed, "This URL only allows: " + allowed + ".", allowed};
}

Result<void> check_access(Access access, const Caller& caller) {
  if (access == Access::kPublic) return {};
  const auto scope = scope_of(access);
  if (scope && caller.may(*scope)) return {};
  const std::string needed(scope ? to_string(*scope) : "");
  return Error{Code::kInsufficientScope, "This key lacks the scope '" + needed + "'."};
}

}  // namespace tessera

// admin_api.cpp — /v1/organization/projects: tenants and their service accounts, in the shapes of
// OpenAI's administration API (http-api.md 2.6).
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/key_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxNameChars = 128;

Error no_such(std::string_view what) {
  return {Code::kNotFound, "There is no such " + std::string(what) + "."};
}

ordered_json project_json(const Tenant& tenant) {
  ordered_json json;
  json["id"] = tenant.id.str();
  json["object"] = "organization.project";
  json["name"] = tenant.name;
  json["slug"] = tenant.slug;
  json["created_at"] = unix_seconds(tenant.created_at);
  json["archived_at"] = nullptr;
  if (tenant.archived_at) json["archived_at"] = unix_seconds(*tenant.archived_at);
  json["status"] = tenant.archived_at ? "archived" : "active";
  return json;
}

TenantId tenant_argument(const Call& call) {
  return TenantId(call.arguments.at(0));
}

// Reads a body whose one field is a name.
Result<std::string> read_name(const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  std::string name;
  Fields fields(*body);
  fields.required("name", name);
  fields.text("name", kMaxNameChars, name);
  if (auto read = fields.finish(); !read) return read.error();
  return name;
}

}  // namespace

Result<Reply> list_projects(Platform& platform, Call& call) {
  const bool archived_too = call.target.parameter("include_archived") == "true";
  std::vector<ordered_json> objects;
  for (const Tenant& tenant : platform.directory->snapshot()->tenants()) {
    if (!tenant.archived_at || archived_too) objects.push_back(project_json(tenant));
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> create_project(Platform& platform, Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  NewTenant request;
  Fields fields(*body);
  fields.required("name", request.name);
  fields.text("name", kMaxNameChars, request.name);
  fields.text("slug", kMaxNameChars, request.slug);
  if (auto read = fields.finish(); !read) return read.error();
  const auto tenant = platform.directory->create_tenant(call.caller, request, call.received_wall);
  if (!tenant) return tenant.error();
  return json_reply(project_json(*tenant));
}

Result<Reply> get_project(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(tenant_argument(call));
  if (!entry) return no_such("project");
  return json_reply(project_json(entry->tenant));
}

Result<Reply> modify_project(Platform& platform, Call& call) {
  const auto name = read_name(call);
  if (!name) return name.error();
  const auto tenant = platform.directory->rename_tenant(call.caller, tenant_argument(call), *name,
                                                        call.received_wall);
  if (!tenant) return tenant.error();
  return json_reply(project_json(*tenant));
}

Result<Reply> archive_project(Platform& platform, Call& call) {
  const auto tenant =
      platform.directory->archive_tenant(call.caller, tenant_argument(call), call.received_wall);
  if (!tenant) return tenant.error();
  return json_reply(project_json(*tenant));
}

Result<Reply> list_service_accounts(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(tenant_argument(call));
  if (!entry) return no_such("project");
  std::vector<ordered_json> objects;
  for (const auto& [id, account] : entry->service_accounts) {
    objects.push_back(account_json(account));
  }
  return list_reply(call.target, std::move(objects));
}

// As OpenAI does, an account comes with its first key.
Result<Reply> create_service_account(Platform& platform, Call& call) {
  const auto name = read_name(call);
  if (!name) return name.error();
  const auto created = platform.directory->create_service_account_with_key(
      call.caller, tenant_argument(call), *name, kDefaultKeyScopes, call.received_wall);
  if (!created) return created.error();
  ordered_json body = account_json(created->account);
  body["api_key"] = created_key_json(created->key);
  return json_reply(body);
}

}  // namespace tessera

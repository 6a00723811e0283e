// admin_api.cpp — /v1/organization/projects: tenants, their service accounts and keys, in the
// shapes of OpenAI's administration API (http-api.md 2.6).
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api_json.hpp"
#include "gateway/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxNameChars = 128;
constexpr std::size_t kMaxScopes = static_cast<std::size_t>(kNumScopes);
constexpr std::size_t kMaxScopeChars = 64;
constexpr std::int64_t kMaxKeySeconds = 31'536'000;  // a year

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

ordered_json account_json(const ServiceAccount& account) {
  ordered_json json;
  json["id"] = account.id.str();
  json["object"] = "organization.project.service_account";
  json["name"] = account.name;
  json["role"] = "member";
  json["created_at"] = unix_seconds(account.created_at);
  return json;
}

// A key with its value: the only time that it is shown.
ordered_json created_key_json(const CreatedApiKey& created) {
  ordered_json json;
  json["object"] = "organization.project.service_account.api_key";
  json["id"] = created.record.id.str();
  json["name"] = created.record.name;
  json["value"] = created.value;
  json["created_at"] = unix_seconds(created.record.created_at);
  json["scopes"] = created.record.scopes.names();
  json["expires_at"] = nullptr;
  if (created.record.expires_at) json["expires_at"] = unix_seconds(*created.record.expires_at);
  return json;
}

ordered_json key_json(const TenantEntry& entry, const ApiKeyRecord& key) {
  ordered_json json;
  json["object"] = "organization.project.api_key";
  json["id"] = key.id.str();
  json["name"] = key.name;
  json["redacted_value"] = redacted(key.kind, key.id);
  json["created_at"] = unix_seconds(key.created_at);
  json["last_used_at"] = nullptr;
  json["scopes"] = key.scopes.names();
  json["expires_at"] = nullptr;
  if (key.expires_at) json["expires_at"] = unix_seconds(*key.expires_at);
  json["owner"]["type"] = "service_account";
  const auto account = entry.service_accounts.find(key.service_account);
  if (account != entry.service_accounts.end()) {
    json["owner"]["service_account"] = account_json(account->second);
  }
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

// Empty for no names at all, which no key may have: the directory refuses it.
Result<ScopeSet> parse_scopes(const std::vector<std::string>& names) {
  ScopeSet scopes;
  for (const std::string& name : names) {
    const auto scope = scope_from_string(name);
    if (!scope) return Error{Code::kInvalidValue, "Unknown scope: '" + name + "'.", "scopes"};
    scopes.insert(*scope);
  }
  return scopes;
}

Result<NewApiKey> read_new_key(const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  NewApiKey key;
  key.tenant = tenant_argument(call);
  key.service_account = ServiceAccountId(call.arguments.at(1));
  std::vector<std::string> scopes;
  std::optional<std::int64_t> seconds;
  Fields fields(*body);
  const bool chosen = fields.any("scopes") != nullptr;
  fields.required("name", key.name);
  fields.text("name", kMaxNameChars, key.name);
  fields.one_or_more("scopes", kMaxScopes, kMaxScopeChars, scopes);
  fields.integer("expires_in_seconds", {1, kMaxKeySeconds}, seconds);
  if (auto read = fields.finish(); !read) return read.error();
  const auto parsed = chosen ? parse_scopes(scopes) : Result<ScopeSet>(kDefaultKeyScopes);
  if (!parsed) return parsed.error();
  key.scopes = *parsed;
  if (seconds) key.expires_at = call.received_wall + std::chrono::seconds(*seconds);
  return key;
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

Result<Reply> create_service_account_key(Platform& platform, Call& call) {
  const auto request = read_new_key(call);
  if (!request) return request.error();
  const auto key = platform.directory->create_key(call.caller, *request, call.received_wall);
  if (!key) return key.error();
  return json_reply(created_key_json(*key));
}

Result<Reply> list_project_keys(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(tenant_argument(call));
  if (!entry) return no_such("project");
  std::vector<ordered_json> objects;
  for (const ApiKeyRecord& key : snapshot->keys_of(entry->tenant.id)) {
    objects.push_back(key_json(*entry, key));
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> get_project_key(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(tenant_argument(call));
  if (!entry) return no_such("project");
  const ApiKeyRecord* key = snapshot->find_key(KeyId(call.arguments.at(1)));
  if (!key || key->tenant != entry->tenant.id) return no_such("key");
  return json_reply(key_json(*entry, *key));
}

Result<Reply> delete_project_key(Platform& platform, Call& call) {
  const KeyId key(call.arguments.at(1));
  auto revoked =
      platform.directory->revoke_key(call.caller, tenant_argument(call), key, call.received_wall);
  if (!revoked) return revoked.error();
  ordered_json body;
  body["id"] = key.str();
  body["object"] = "organization.project.api_key.deleted";
  body["deleted"] = true;
  return json_reply(body);
}

}  // namespace tessera

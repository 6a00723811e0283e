// admin_api.cpp — /v1/organization/projects: tenants and their service accounts, in the shapes of
// OpenAI's administration API (http-api.md 2.6).
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/etags.hpp"
#include "gateway/admin/key_json.hpp"
#include "gateway/admin/project_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMaxKeySeconds = 31'536'000;  // a year

// A JSON value is made from anything, so a Result of one has to be told that it is no error.
Result<ordered_json> made(ordered_json value) {
  return Result<ordered_json>(boost::system::in_place_value, std::move(value));
}

Error no_such(std::string_view what) {
  return {Code::kNotFound, "There is no such " + std::string(what) + "."};
}

TenantId tenant_argument(const Call& call) {
  return TenantId(call.arguments.at(0));
}

// How the call's project looks; and its service account.
Result<Guard> project_guard(const Call& call) {
  return guard_of(
      call,
      [id = tenant_argument(call)](const DirectorySnapshot& snapshot) -> Result<ordered_json> {
        const auto* entry = snapshot.find(id);
        if (!entry) return no_such("project");
        return made(project_json(*entry));
      });
}

Result<ordered_json> shown_account(const DirectorySnapshot& snapshot, const TenantId& tenant,
                                   const ServiceAccountId& id) {
  const auto* entry = snapshot.find(tenant);
  if (!entry) return no_such("project");
  const auto account = entry->service_accounts.find(id);
  if (account == entry->service_accounts.end()) return no_such("service account");
  return made(account_json(account->second));
}

// One that was there a moment ago: projects are never deleted.
ordered_json shown_project(const Platform& platform, const TenantId& id) {
  const auto snapshot = platform.directory->snapshot();
  return project_json(*snapshot->find(id));
}

ServiceAccountId account_argument(const Call& call) {
  return ServiceAccountId(call.arguments.at(1));
}

Result<Guard> account_guard(const Call& call) {
  return guard_of(
      call, [tenant = tenant_argument(call), id = account_argument(call)](
                const DirectorySnapshot& snapshot) { return shown_account(snapshot, tenant, id); });
}

// A service account's name; all have the role "member".
Result<std::string> read_account_change(const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  std::string name;
  Fields fields(*body);
  fields.required("name", name);
  fields.text("name", kMaxProjectNameChars, name);
  fields.unsupported("role", {"member"});
  if (auto read = fields.finish(); !read) return read.error();
  return name;
}

struct NewAccount {
  std::string name = {};
  bool without_key = false;
  std::optional<std::int64_t> key_seconds = {};  // that its key lives
};

Result<NewAccount> read_new_account(const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  NewAccount account;
  Fields fields(*body);
  fields.required("name", account.name);
  fields.text("name", kMaxProjectNameChars, account.name);
  fields.boolean("create_service_account_only", account.without_key);
  fields.integer("expires_in_seconds", {1, kMaxKeySeconds}, account.key_seconds);
  if (account.without_key && account.key_seconds) {
    fields.fail(Code::kInvalidValue, "expires_in_seconds",
                "'expires_in_seconds' is of the key, which 'create_service_account_only' leaves "
                "out.");
  }
  if (auto read = fields.finish(); !read) return read.error();
  return account;
}

std::optional<WallTime> expiry_of(const NewAccount& account, WallTime now) {
  if (!account.key_seconds) return std::nullopt;
  return now + std::chrono::seconds(*account.key_seconds);
}

}  // namespace

Result<Reply> list_projects(Platform& platform, Call& call) {
  const bool archived_too = call.target.parameter("include_archived") == "true";
  const auto snapshot = platform.directory->snapshot();
  std::vector<ordered_json> ids;
  for (const Tenant& tenant : snapshot->tenants()) {
    if (!tenant.archived_at || archived_too) ids.push_back({{"id", tenant.id.str()}});
  }
  return list_reply(call.target, std::move(ids), [&](ordered_json& project) {
    project = project_json(*snapshot->find(TenantId(project["id"].get<std::string>())));
  });
}

Result<Reply> create_project(Platform& platform, Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  TenantSettings settings;
  std::string slug;
  Fields fields(*body);
  fields.required("name", settings.name);
  fields.text("slug", kMaxProjectNameChars, slug);
  read_project(fields, settings);
  if (auto read = fields.finish(); !read) return read.error();
  const auto tenant = platform.directory->create_tenant(
      call.caller, {settings.name, slug, settings.limits, settings.policy}, call.received_wall);
  if (!tenant) return tenant.error();
  return json_reply(shown_project(platform, tenant->id));
}

Result<Reply> get_project(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(tenant_argument(call));
  if (!entry) return no_such("project");
  return tagged_reply(project_json(*entry));
}

Result<Reply> modify_project(Platform& platform, Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  const auto guard = project_guard(call);
  if (!guard) return guard.error();
  const auto changed = platform.directory->modify_tenant(
      call.caller, tenant_argument(call),
      [&](TenantSettings& settings) -> Result<void> {
        Fields fields(*body);
        if (body->is_object() && body->empty()) fields.required("name", settings.name);
        read_project(fields, settings);
        return fields.finish();
      },
      call.received_wall, *guard);
  if (!changed) return changed.error();
  return tagged_reply(project_json(*changed));
}

Result<Reply> archive_project(Platform& platform, Call& call) {
  const auto guard = project_guard(call);
  if (!guard) return guard.error();
  const auto tenant = platform.directory->archive_tenant(call.caller, tenant_argument(call),
                                                         call.received_wall, *guard);
  if (!tenant) return tenant.error();
  return tagged_reply(shown_project(platform, tenant->id));
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

Result<Reply> get_service_account(Platform& platform, Call& call) {
  const auto account =
      shown_account(*platform.directory->snapshot(), tenant_argument(call), account_argument(call));
  if (!account) return account.error();
  return tagged_reply(*account);
}

Result<Reply> modify_service_account(Platform& platform, Call& call) {
  const auto name = read_account_change(call);
  if (!name) return name.error();
  const auto guard = account_guard(call);
  if (!guard) return guard.error();
  const auto account = platform.directory->rename_service_account(
      call.caller, tenant_argument(call), account_argument(call), *name, call.received_wall,
      *guard);
  if (!account) return account.error();
  return tagged_reply(account_json(*account));
}

Result<Reply> delete_service_account(Platform& platform, Call& call) {
  const auto guard = account_guard(call);
  if (!guard) return guard.error();
  const auto deleted = platform.directory->delete_service_account(
      call.caller, tenant_argument(call), account_argument(call), call.received_wall, *guard);
  if (!deleted) return deleted.error();
  ordered_json body;
  body["id"] = account_argument(call).str();
  body["object"] = "organization.project.service_account.deleted";
  body["deleted"] = true;
  return json_reply(body);
}

// As OpenAI does, an account comes with its first key, unless it is wanted without.
Result<Reply> create_service_account(Platform& platform, Call& call) {
  const auto request = read_new_account(call);
  if (!request) return request.error();
  if (request->without_key) {
    const auto account = platform.directory->create_service_account(
        call.caller, tenant_argument(call), request->name, call.received_wall);
    if (!account) return account.error();
    ordered_json body = account_json(*account);
    body["api_key"] = nullptr;
    return json_reply(body);
  }
  const auto created = platform.directory->create_service_account_with_key(
      call.caller, tenant_argument(call), request->name, kDefaultKeyScopes, call.received_wall,
      expiry_of(*request, call.received_wall));
  if (!created) return created.error();
  ordered_json body = account_json(created->account);
  body["api_key"] = created_key_json(created->key);
  return json_reply(body);
}

}  // namespace tessera

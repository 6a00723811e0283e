// keys_api.cpp — API keys: a project's and the platform's own, for admins; a tenant's, for itself.
//
// The three surfaces differ in whose keys they show and in the shapes' names; what may be done is
// decided below, in the directory. Another tenant's key is answered like one that never was.
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/etags.hpp"
#include "gateway/admin/key_json.hpp"
#include "gateway/admin/meter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/api/rotation_grace.hpp"
#include "gateway/handlers.hpp"
#include "gateway/inference/option_fields.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxNameChars = 128;
constexpr std::size_t kMaxScopes = static_cast<std::size_t>(kNumScopes);
constexpr std::size_t kMaxScopeChars = 64;
constexpr std::size_t kMaxIpRangeChars = 64;
constexpr std::size_t kMaxTiers = 3;
constexpr std::size_t kMaxTierChars = 16;
constexpr std::size_t kMaxCompatChars = 16;
constexpr std::int64_t kMaxKeySeconds = 31'536'000;  // a year

Error no_such(std::string_view what) {
  return {Code::kNotFound, "There is no such " + std::string(what) + "."};
}

// Whose key a route is about: the tenant (empty: the platform) and the key's id.
struct KeyPlace {
  TenantId tenant;
  KeyId key;
};

KeyPlace project_key(const Call& call) {
  return {TenantId(call.arguments.at(0)), KeyId(call.arguments.at(1))};
}
KeyPlace admin_key(const Call& call) {
  return {TenantId(), KeyId(call.arguments.at(0))};
}
KeyPlace own_key(const Call& call) {
  return {call.caller.tenant, KeyId(call.arguments.at(0))};
}

// Reading.

using Uses = std::map<KeyId, WallTime>;

void show_last_use(ordered_json& json, Uses::const_iterator use, Uses::const_iterator end) {
  if (use != end) json["last_used_at"] = unix_seconds(use->second);
}

Result<Reply> list_tenants_keys(Platform& platform, const Call& call, const TenantId& tenant) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(tenant);
  if (!entry) return no_such("project");
  const auto uses = platform.key_uses->last_uses(tenant);
  if (!uses) return uses.error();
  std::vector<ordered_json> objects;
  for (const ApiKeyRecord& key : snapshot->keys_of(tenant)) {
    objects.push_back(key_json(*entry, key));
    show_last_use(objects.back(), uses->find(key.id), uses->end());
  }
  return list_reply(call.target, std::move(objects));
}

// As it is shown: a tenant's key in one form, an admin's in another.
Result<ordered_json> shown_key(const DirectorySnapshot& snapshot, const KeyPlace& place) {
  const auto made = [](ordered_json json) {
    return Result<ordered_json>(boost::system::in_place_value, std::move(json));
  };
  const ApiKeyRecord* key = snapshot.find_key(place.key);
  if (place.tenant.empty()) {
    if (!key || key->kind != KeyKind::kAdmin) return no_such("key");
    return made(admin_key_json(*key));
  }
  const auto* entry = snapshot.find(place.tenant);
  if (!entry) return no_such("project");
  if (!key || key->tenant != place.tenant) return no_such("key");
  return made(key_json(*entry, *key));
}

// Its tag is of what admins change: a use leaves it.
Result<Reply> get_key(Platform& platform, const KeyPlace& place) {
  const auto key = shown_key(*platform.directory->snapshot(), place);
  if (!key) return key.error();
  const auto use = platform.key_uses->last_use(place.tenant, place.key);
  if (!use) return use.error();
  ordered_json shown = *key;
  if (*use) shown["last_used_at"] = unix_seconds(**use);
  return tagged_reply(*key, shown);
}

Result<Guard> key_guard(const Call& call, const KeyPlace& place) {
  return guard_of(
      call, [place](const DirectorySnapshot& snapshot) { return shown_key(snapshot, place); });
}

// Making.

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

// Limits, models and addresses; what is absent stays, and null or an empty list goes.
Result<void> read_policy(const ordered_json& body, Fields& fields, KeyPolicy& policy) {
  if (const auto* limits = fields.any("limits")) {
    Fields nested(*limits, "limits.");
    read_meter_limits(*limits, nested, policy.limits);
    fields.absorb(nested.finish());
  }
  read_texts(body, fields, "allowed_models", kMaxPermittedModels, kMaxModelNameChars,
             policy.allowed_models);
  std::vector<std::string> ranges = policy.allowed_ips.texts();
  read_texts(body, fields, "allowed_ips", kMaxIpRanges, kMaxIpRangeChars, ranges);
  auto parsed = IpSet::parse(ranges);
  if (!parsed) return parsed.error();
  policy.allowed_ips = *std::move(parsed);
  read_texts(body, fields, "allowed_tiers", kMaxTiers, kMaxTierChars, policy.allowed_tiers);
  for (const std::string& tier : policy.allowed_tiers) {
    if (!service_tier_from_string(tier)) {
      return Error{Code::kInvalidValue, "A tier is \"default\", \"flex\" or \"priority\".",
                   "allowed_tiers"};
    }
  }
  std::string compat = policy.lenient ? "lenient" : "strict";
  fields.text("compat", kMaxCompatChars, compat);
  if (compat != "lenient" && compat != "strict") {
    fields.fail(Code::kInvalidValue, "compat", "'compat' is \"strict\" or \"lenient\".");
  }
  policy.lenient = compat == "lenient";
  return {};
}

// What the body says of a key: a name, scopes (unless an admin key's, which are fixed), an end.
Result<NewApiKey> read_new_key(const Call& call, KeyKind kind) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  NewApiKey key{.name = {}, .scopes = kAdminScopes, .kind = kind};
  std::vector<std::string> names;
  std::optional<std::int64_t> lifetime;
  Fields fields(*body);
  fields.required("name", key.name);
  fields.text("name", kMaxNameChars, key.name);
  const bool chosen = kind != KeyKind::kAdmin && fields.any("scopes") != nullptr;
  if (chosen) fields.one_or_more("scopes", kMaxScopes, kMaxScopeChars, names);
  fields.integer("expires_in_seconds", {1, kMaxKeySeconds}, lifetime);
  if (kind != KeyKind::kAdmin) {
    if (auto read = read_policy(*body, fields, key.policy); !read) return read.error();
  }
  if (auto read = fields.finish(); !read) return read.error();
  if (kind != KeyKind::kAdmin) {
    const auto scopes = chosen ? parse_scopes(names) : Result<ScopeSet>(kDefaultKeyScopes);
    if (!scopes) return scopes.error();
    key.scopes = *scopes;
  }
  if (lifetime) key.expires_at = call.received_wall + std::chrono::seconds(*lifetime);
  return key;
}

Result<Reply> create(Platform& platform, const Call& call, const NewApiKey& request) {
  const auto key = platform.directory->create_key(call.caller, request, call.received_wall);
  if (!key) return key.error();
  return json_reply(created_key_json(*key));
}

// Changing.

Result<Reply> rotate(Platform& platform, const Call& call, const KeyPlace& place) {
  const auto grace = read_rotation_grace(call.request.body);
  if (!grace) return grace.error();
  const auto guard = key_guard(call, place);
  if (!guard) return guard.error();
  const auto rotated = platform.directory->rotate_key(call.caller, place.tenant, place.key, *grace,
                                                      call.received_wall, *guard);
  if (!rotated) return rotated.error();
  return json_reply(created_key_json(*rotated));
}

Result<Reply> modify(Platform& platform, const Call& call, const KeyPlace& place) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  const auto change = [&](KeyPolicy& policy) -> Result<void> {
    Fields fields(*body);
    if (auto read = read_policy(*body, fields, policy); !read) return read;
    return fields.finish();
  };
  const auto guard = key_guard(call, place);
  if (!guard) return guard.error();
  const auto changed = platform.directory->modify_key_policy(call.caller, place.tenant, place.key,
                                                             change, call.received_wall, *guard);
  if (!changed) return changed.error();
  return get_key(platform, place);
}

Result<Reply> set_enabled(Platform& platform, const Call& call, const KeyPlace& place,
                          bool enabled) {
  const auto guard = key_guard(call, place);
  if (!guard) return guard.error();
  const auto changed = platform.directory->set_key_enabled(call.caller, place.tenant, place.key,
                                                           enabled, call.received_wall, *guard);
  if (!changed) return changed.error();
  return get_key(platform, place);
}

Result<Reply> remove(Platform& platform, const Call& call, const KeyPlace& place,
                     std::string_view object) {
  const auto guard = key_guard(call, place);
  if (!guard) return guard.error();
  const auto revoked = platform.directory->revoke_key(call.caller, place.tenant, place.key,
                                                      call.received_wall, *guard);
  if (!revoked) return revoked.error();
  ordered_json body;
  body["id"] = place.key.str();
  body["object"] = object;
  body["deleted"] = true;
  return json_reply(body);
}

}  // namespace

// A project's, for admins.

Result<Reply> create_service_account_key(Platform& platform, Call& call) {
  auto request = read_new_key(call, KeyKind::kLive);
  if (!request) return request.error();
  request->tenant = TenantId(call.arguments.at(0));
  request->service_account = ServiceAccountId(call.arguments.at(1));
  return create(platform, call, *request);
}

Result<Reply> list_project_keys(Platform& platform, Call& call) {
  return list_tenants_keys(platform, call, TenantId(call.arguments.at(0)));
}
Result<Reply> get_project_key(Platform& platform, Call& call) {
  return get_key(platform, project_key(call));
}
Result<Reply> delete_project_key(Platform& platform, Call& call) {
  return remove(platform, call, project_key(call), "organization.project.api_key.deleted");
}
Result<Reply> modify_project_key(Platform& platform, Call& call) {
  return modify(platform, call, project_key(call));
}
Result<Reply> rotate_project_key(Platform& platform, Call& call) {
  return rotate(platform, call, project_key(call));
}
Result<Reply> disable_project_key(Platform& platform, Call& call) {
  return set_enabled(platform, call, project_key(call), false);
}
Result<Reply> enable_project_key(Platform& platform, Call& call) {
  return set_enabled(platform, call, project_key(call), true);
}

// The platform's own.

Result<Reply> list_admin_keys(Platform& platform, Call& call) {
  std::vector<ordered_json> objects;
  const auto uses = platform.key_uses->last_uses(TenantId());
  if (!uses) return uses.error();
  for (const ApiKeyRecord& key : platform.directory->snapshot()->keys_of(TenantId())) {
    objects.push_back(admin_key_json(key));
    show_last_use(objects.back(), uses->find(key.id), uses->end());
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> get_admin_key(Platform& platform, Call& call) {
  return get_key(platform, admin_key(call));
}

Result<Reply> create_admin_key(Platform& platform, Call& call) {
  const auto request = read_new_key(call, KeyKind::kAdmin);
  if (!request) return request.error();
  return create(platform, call, *request);
}

Result<Reply> delete_admin_key(Platform& platform, Call& call) {
  return remove(platform, call, admin_key(call), "organization.admin_api_key.deleted");
}
Result<Reply> rotate_admin_key(Platform& platform, Call& call) {
  return rotate(platform, call, admin_key(call));
}

// A tenant's, for itself. A new key belongs to the service account of the key that made it.

Result<Reply> create_own_key(Platform& platform, Call& call) {
  auto request = read_new_key(call, KeyKind::kLive);
  if (!request) return request.error();
  const auto snapshot = platform.directory->snapshot();
  const ApiKeyRecord* maker = snapshot->find_key(call.caller.key);
  if (!maker) return no_such("key");  // revoked since it was let in
  request->tenant = call.caller.tenant;
  request->service_account = maker->service_account;
  return create(platform, call, *request);
}

Result<Reply> list_own_keys(Platform& platform, Call& call) {
  return list_tenants_keys(platform, call, call.caller.tenant);
}
Result<Reply> get_own_key(Platform& platform, Call& call) {
  return get_key(platform, own_key(call));
}
Result<Reply> delete_own_key(Platform& platform, Call& call) {
  return remove(platform, call, own_key(call), "organization.project.api_key.deleted");
}
Result<Reply> modify_own_key(Platform& platform, Call& call) {
  return modify(platform, call, own_key(call));
}
Result<Reply> rotate_own_key(Platform& platform, Call& call) {
  return rotate(platform, call, own_key(call));
}
Result<Reply> disable_own_key(Platform& platform, Call& call) {
  return set_enabled(platform, call, own_key(call), false);
}
Result<Reply> enable_own_key(Platform& platform, Call& call) {
  return set_enabled(platform, call, own_key(call), true);
}

}  // namespace tessera

#include "gateway/admin/key_json.hpp"

#include <nlohmann/json.hpp>

#include "gateway/admin/meter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "tenancy/api_key.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

ordered_json time_or_null(const std::optional<WallTime>& time) {
  return time ? ordered_json(unix_seconds(*time)) : ordered_json(nullptr);
}

// What every form of a key shows.
void add_key(ordered_json& json, const ApiKeyRecord& key) {
  json["id"] = key.id.str();
  json["name"] = key.name;
  json["redacted_value"] = redacted(key.kind, key.id);
  json["created_at"] = unix_seconds(key.created_at);
  json["last_used_at"] = nullptr;
  json["scopes"] = key.scopes.names();
  json["expires_at"] = time_or_null(key.expires_at);
  json["previous_value_valid_until"] = nullptr;
  json["disabled_at"] = time_or_null(key.disabled_at);
  if (key.retired) json["previous_value_valid_until"] = unix_seconds(key.retired->valid_until);
  if (key.kind == KeyKind::kAdmin) return;
  add_meter_limits(json["limits"] = ordered_json::object(), key.policy.limits);
  json["allowed_models"] = key.policy.allowed_models;
  json["allowed_ips"] = key.policy.allowed_ips.texts();
  json["allowed_tiers"] = key.policy.allowed_tiers;
  json["compat"] = key.policy.lenient ? "lenient" : "strict";
}

}  // namespace

ordered_json account_json(const ServiceAccount& account) {
  ordered_json json;
  json["id"] = account.id.str();
  json["object"] = "organization.project.service_account";
  json["name"] = account.name;
  json["role"] = "member";
  json["created_at"] = unix_seconds(account.created_at);
  return json;
}

ordered_json key_json(const TenantEntry& entry, const ApiKeyRecord& key) {
  ordered_json json;
  json["object"] = "organization.project.api_key";
  add_key(json, key);
  json["owner_project_access"] = entry.tenant.archived_at ? "inactive" : "active";
  json["owner"]["type"] = "service_account";
  const auto account = entry.service_accounts.find(key.service_account);
  if (account != entry.service_accounts.end()) {
    json["owner"]["service_account"] = account_json(account->second);
  }
  return json;
}

// OpenAI's admin keys belong to users; ours belong to the platform itself.
ordered_json admin_key_json(const ApiKeyRecord& key) {
  ordered_json json;
  json["object"] = "organization.admin_api_key";
  add_key(json, key);
  json["owner"] = {{"type", "service_account"}, {"object", "organization"}, {"role", "owner"}};
  return json;
}

ordered_json created_key_json(const CreatedApiKey& created) {
  const ApiKeyRecord& key = created.record;
  ordered_json json;
  if (key.kind == KeyKind::kAdmin) {
    json = admin_key_json(key);
  } else {
    json["object"] = "organization.project.service_account.api_key";
    add_key(json, key);
  }
  json["value"] = created.value;
  return json;
}

}  // namespace tessera

#include "gateway/admin/project_json.hpp"

#include <optional>
#include <string>
#include <utility>

#include "adapters/registry_records.hpp"
#include "gateway/admin/tenant_limits_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/inference/option_fields.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

const TenantPolicy& policy_of(const TenantEntry& entry) {
  static const TenantPolicy kNone;
  return entry.policy ? *entry.policy : kNone;
}

void read_tier(Fields& fields, std::string& tier) {
  constexpr std::size_t kMaxTierChars = 16;
  std::string name;
  fields.text("tier", kMaxTierChars, name);
  if (name.empty()) return;
  const auto known = service_tier_from_string(name == "fast" ? "priority" : name);
  if (!known) {
    return fields.fail(Code::kInvalidValue, "tier",
                       "'tier' must be default, flex, priority or fast.");
  }
  tier = *known == ServiceTier::kDefault ? "" : std::string(to_string(*known));
}

// {"team": "red", "old": null}
void read_labels(Fields& fields, Labels& labels) {
  const ordered_json* const changes = fields.any("labels");
  if (!changes) return;
  if (!changes->is_object()) {
    return fields.fail(Code::kInvalidValue, "labels", "'labels' must be an object.");
  }
  for (const auto& [key, value] : changes->items()) {
    if (value.is_null()) {
      labels.erase(key);
    } else if (value.is_string()) {
      labels[key] = value.get<std::string>();
    } else {
      return fields.fail(Code::kInvalidValue, "labels." + key.substr(0, kMaxLabelKeyBytes),
                         "A label's value must be a string, or null to remove it.");
    }
  }
  if (auto checked = check_labels(labels, "labels"); !checked) {
    fields.fail(checked.error().code, "labels", checked.error().message);
  }
}

void read_limits(Fields& fields, TenantLimits& limits) {
  const ordered_json* const body = fields.any("limits");
  if (!body) return;
  Fields nested(*body, "limits.");
  read_tenant_limits(*body, nested, limits);
  fields.absorb(nested.finish());
}

}  // namespace

ordered_json project_json(const TenantEntry& entry) {
  const Tenant& tenant = entry.tenant;
  const TenantPolicy& policy = policy_of(entry);
  ordered_json json;
  json["id"] = tenant.id.str();
  json["object"] = "organization.project";
  json["name"] = tenant.name;
  json["slug"] = tenant.slug;
  json["created_at"] = unix_seconds(tenant.created_at);
  json["archived_at"] = nullptr;
  if (tenant.archived_at) json["archived_at"] = unix_seconds(*tenant.archived_at);
  json["status"] = tenant.archived_at ? "archived" : "active";
  json["weight"] = policy.weight.value_or(1);
  json["tier"] = policy.tier.empty() ? to_string(ServiceTier::kDefault) : policy.tier;
  json["labels"] = policy.labels;
  add_tenant_limits(json["limits"] = ordered_json::object(), entry.limits);
  return json;
}

void read_project(Fields& fields, TenantSettings& settings) {
  fields.text("name", kMaxProjectNameChars, settings.name);
  fields.integer("weight", {1, kMaxWeight}, settings.policy.weight);
  if (settings.policy.weight == 1) settings.policy.weight.reset();  // as it is anyway
  read_tier(fields, settings.policy.tier);
  read_labels(fields, settings.policy.labels);
  read_limits(fields, settings.limits);
  fields.unsupported("external_key_id");
  fields.unsupported("geography");
}

}  // namespace tessera

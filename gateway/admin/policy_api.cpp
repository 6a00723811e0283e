// policy_api.cpp — which models a project may use, and from which addresses.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/meter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using Mode = ModelPermissions::Mode;

constexpr std::size_t kMaxIpRangeChars = 64;

Error no_such_project() {
  return {Code::kNotFound, "There is no such project."};
}

std::string_view mode_name(Mode mode) {
  switch (mode) {
    case Mode::kAll:
      return "all";
    case Mode::kAllowList:
      return "allow_list";
    case Mode::kDenyList:
      return "deny_list";
  }
  return "all";
}

ordered_json permissions_json(const ModelPermissions& permissions) {
  ordered_json json;
  json["object"] = "organization.project.model_permissions";
  json["mode"] = mode_name(permissions.mode);
  json["model_ids"] = permissions.models;
  return json;
}

ordered_json addresses_json(const IpSet& addresses) {
  ordered_json json;
  json["object"] = "organization.project.ip_allowlist";
  json["allowed_ips"] = addresses.texts();
  return json;
}

Result<ModelPermissions> read_permissions(const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  ModelPermissions permissions;
  std::string mode;
  Fields fields(*body);
  fields.required("mode", mode);
  fields.text("mode", 16, mode);
  read_texts(*body, fields, "model_ids", kMaxPermittedModels, kMaxModelNameChars,
             permissions.models);
  if (auto read = fields.finish(); !read) return read.error();
  for (const Mode known : {Mode::kAll, Mode::kAllowList, Mode::kDenyList}) {
    if (mode != mode_name(known)) continue;
    permissions.mode = known;
    return permissions;
  }
  return Error{Code::kInvalidValue, "'mode' must be allow_list, deny_list or all.", "mode"};
}

Result<IpSet> read_addresses(const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  std::vector<std::string> texts;
  Fields fields(*body);
  fields.required_any("allowed_ips");
  read_texts(*body, fields, "allowed_ips", kMaxIpRanges, kMaxIpRangeChars, texts);
  if (auto read = fields.finish(); !read) return read.error();
  return IpSet::parse(texts);
}

Result<TenantPolicy> modify(Platform& platform, const Call& call, const std::string& event,
                            const std::function<void(TenantPolicy&)>& change) {
  return platform.directory->modify_policy(
      call.caller, TenantId(call.arguments.at(0)), event,
      [&](TenantPolicy& policy) -> Result<void> {
        change(policy);
        return {};
      },
      call.received_wall);
}

Result<Reply> change_permissions(Platform& platform, const Call& call,
                                 const ModelPermissions& permissions, bool deleted) {
  const auto changed = modify(platform, call, "model_permissions.updated",
                              [&](TenantPolicy& policy) { policy.models = permissions; });
  if (!changed) return changed.error();
  ordered_json json = permissions_json(changed->models);
  if (deleted) json["deleted"] = true;
  return json_reply(json);
}

Result<Reply> change_addresses(Platform& platform, const Call& call, const IpSet& addresses,
                               bool deleted) {
  const auto changed = modify(platform, call, "ip_allowlist.updated",
                              [&](TenantPolicy& policy) { policy.allowed_ips = addresses; });
  if (!changed) return changed.error();
  ordered_json json = addresses_json(changed->allowed_ips);
  if (deleted) json["deleted"] = true;
  return json_reply(json);
}

// The project's policy as it is now.
Result<TenantPolicy> policy_of(const Platform& platform, const Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(TenantId(call.arguments.at(0)));
  if (!entry) return no_such_project();
  return entry->policy ? *entry->policy : TenantPolicy();
}

}  // namespace

Result<Reply> get_model_permissions(Platform& platform, Call& call) {
  const auto policy = policy_of(platform, call);
  if (!policy) return policy.error();
  return json_reply(permissions_json(policy->models));
}

Result<Reply> set_model_permissions(Platform& platform, Call& call) {
  const auto permissions = read_permissions(call);
  if (!permissions) return permissions.error();
  return change_permissions(platform, call, *permissions, false);
}

Result<Reply> delete_model_permissions(Platform& platform, Call& call) {
  return change_permissions(platform, call, {}, true);
}

Result<Reply> get_ip_allowlist(Platform& platform, Call& call) {
  const auto policy = policy_of(platform, call);
  if (!policy) return policy.error();
  return json_reply(addresses_json(policy->allowed_ips));
}

Result<Reply> set_ip_allowlist(Platform& platform, Call& call) {
  const auto addresses = read_addresses(call);
  if (!addresses) return addresses.error();
  return change_addresses(platform, call, *addresses, false);
}

Result<Reply> delete_ip_allowlist(Platform& platform, Call& call) {
  return change_addresses(platform, call, {}, true);
}

}  // namespace tessera

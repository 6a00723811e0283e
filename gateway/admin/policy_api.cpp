// policy_api.cpp — which models a project may use, and from which addresses.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/etags.hpp"
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
  json["object"] = "project.model_permissions";
  json["mode"] = mode_name(permissions.mode);
  json["model_ids"] = permissions.models;
  return json;
}

ordered_json addresses_json(const IpSet& addresses) {
  ordered_json json;
  json["object"] = "project.ip_allowlist";
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

// One part of the policy, as it is shown.
using PartJson = ordered_json (*)(const TenantPolicy&);
ordered_json permissions_part(const TenantPolicy& policy) {
  return permissions_json(policy.models);
}
ordered_json addresses_part(const TenantPolicy& policy) {
  return addresses_json(policy.allowed_ips);
}

Result<ordered_json> shown_part(const DirectorySnapshot& snapshot, const TenantId& tenant,
                                PartJson part) {
  const auto* entry = snapshot.find(tenant);
  if (!entry) return no_such_project();
  return Result<ordered_json>(boost::system::in_place_value,
                              part(entry->policy ? *entry->policy : TenantPolicy()));
}

Result<Reply> get_part(const Platform& platform, const Call& call, PartJson part) {
  const auto json =
      shown_part(*platform.directory->snapshot(), TenantId(call.arguments.at(0)), part);
  if (!json) return json.error();
  return tagged_reply(*json);
}

Result<Reply> change_part(Platform& platform, const Call& call, PartJson part,
                          const std::string& event,
                          const std::function<void(TenantPolicy&)>& change, bool deleted) {
  const TenantId tenant(call.arguments.at(0));
  const auto guard = guard_of(
      call, [=](const DirectorySnapshot& snapshot) { return shown_part(snapshot, tenant, part); });
  if (!guard) return guard.error();
  const auto changed = platform.directory->modify_policy(
      call.caller, tenant, event,
      [&](TenantPolicy& policy) -> Result<void> {
        change(policy);
        return {};
      },
      call.received_wall, *guard);
  if (!changed) return changed.error();
  ordered_json json = part(*changed);
  if (!deleted) return tagged_reply(json);
  json["object"] = json["object"].get<std::string>() + ".deleted";
  json["deleted"] = true;
  return json_reply(json);
}

Result<Reply> change_permissions(Platform& platform, const Call& call,
                                 const ModelPermissions& permissions, bool deleted) {
  return change_part(
      platform, call, permissions_part, "model_permissions.updated",
      [&](TenantPolicy& policy) { policy.models = permissions; }, deleted);
}

Result<Reply> change_addresses(Platform& platform, const Call& call, const IpSet& addresses,
                               bool deleted) {
  return change_part(
      platform, call, addresses_part, "ip_allowlist.updated",
      [&](TenantPolicy& policy) { policy.allowed_ips = addresses; }, deleted);
}

}  // namespace

Result<Reply> get_model_permissions(Platform& platform, Call& call) {
  return get_part(platform, call, permissions_part);
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
  return get_part(platform, call, addresses_part);
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

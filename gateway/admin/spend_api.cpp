// spend_api.cpp — what a project may spend a month, and what everybody has spent.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/etags.hpp"
#include "gateway/admin/meter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

Error no_such_limit() {
  return {Code::kNotFound, "This project has no spend limit."};
}

ordered_json spend_limit_json(std::optional<std::int64_t> cents) {
  ordered_json json;
  json["object"] = "project.spend_limit";
  json["threshold_amount"] = cents ? ordered_json(*cents) : ordered_json(nullptr);
  json["currency"] = "USD";
  json["interval"] = "month";
  json["enforcement"]["status"] = cents ? "enforcing" : "inactive";
  return json;
}

Result<ordered_json> shown_limit(const DirectorySnapshot& snapshot, const TenantId& tenant) {
  const auto* entry = snapshot.find(tenant);
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  return Result<ordered_json>(boost::system::in_place_value,
                              spend_limit_json(entry->limits.spend_cents_per_month));
}

// What `call` asks for of the limit of its project.
Result<TenantLimits> modify(Platform& platform, const Call& call,
                            const std::function<Result<void>(TenantLimits&)>& change) {
  const TenantId tenant(call.arguments.at(0));
  const auto guard = guard_of(
      call, [tenant](const DirectorySnapshot& snapshot) { return shown_limit(snapshot, tenant); });
  if (!guard) return guard.error();
  return platform.directory->modify_limits(call.caller, tenant, change, call.received_wall, *guard);
}

}  // namespace

Result<Reply> get_spend_limit(Platform& platform, Call& call) {
  const auto limit = shown_limit(*platform.directory->snapshot(), TenantId(call.arguments.at(0)));
  if (!limit) return limit.error();
  return tagged_reply(*limit);
}

Result<Reply> set_spend_limit(Platform& platform, Call& call) {
  const auto cents = read_spend_limit(call.request.body);
  if (!cents) return cents.error();
  const auto changed = modify(platform, call, [&](TenantLimits& limits) -> Result<void> {
    limits.spend_cents_per_month = *cents;
    return {};
  });
  if (!changed) return changed.error();
  return tagged_reply(spend_limit_json(changed->spend_cents_per_month));
}

Result<Reply> delete_spend_limit(Platform& platform, Call& call) {
  const auto changed = modify(platform, call, [](TenantLimits& limits) -> Result<void> {
    if (!std::exchange(limits.spend_cents_per_month, std::nullopt)) return no_such_limit();
    return {};
  });
  if (!changed) return changed.error();
  ordered_json json = spend_limit_json(std::nullopt);
  json["object"] = "project.spend_limit.deleted";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera

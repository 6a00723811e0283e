// organization_api.cpp — limits of all tenants together, beside those that each has.
//
// The whole organization has one object of rates, "rl_all" as a project's is called, and OpenAI's
// spend limit, which is one of the same limits in their words. A change is in force with the next
// request, whoever sends it.
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

constexpr std::string_view kLimitId = "rl_all";

MeterLimits limits_of(const DirectorySnapshot& snapshot) {
  const auto& organization = snapshot.organization();
  return organization ? organization->limits : MeterLimits();
}

ordered_json limits_json(const MeterLimits& limits) {
  ordered_json json;
  json["object"] = "organization.rate_limit";
  json["id"] = kLimitId;
  json["model"] = "*";
  add_meter_limits(json, limits);
  return json;
}

ordered_json spend_json(const MeterLimits& limits) {
  const auto& cents = limits.spend_cents_per_month;
  ordered_json json;
  json["object"] = "organization.spend_limit";
  json["threshold_amount"] = cents ? ordered_json(*cents) : ordered_json(nullptr);
  json["currency"] = "USD";
  json["interval"] = "month";
  json["enforcement"]["status"] = cents ? "enforcing" : "inactive";
  return json;
}

// With its tag: it is shown in a list only.
ordered_json tagged(ordered_json limits) {
  limits["etag"] = etag_of(limits);
  return limits;
}

// How the limits are shown, all of them or what may be spent.
using Shown = ordered_json (*)(const MeterLimits&);

Result<MeterLimits> modify(Platform& platform, const Call& call, Shown shown,
                           const std::function<Result<void>(MeterLimits&)>& change) {
  const auto guard = guard_of(call, [shown](const DirectorySnapshot& snapshot) {
    return Result<ordered_json>(boost::system::in_place_value, shown(limits_of(snapshot)));
  });
  if (!guard) return guard.error();
  auto changed = platform.directory->modify_organization(
      call.caller, "organization.rate_limit.updated", change, call.received_wall, *guard);
  if (changed) {
    platform.admission.set_organization(platform.directory->snapshot()->organization(),
                                        now_of(platform.clock));
  }
  return changed;
}

}  // namespace

Result<Reply> list_organization_limits(Platform& platform, Call& call) {
  return list_reply(call.target, {tagged(limits_json(limits_of(*platform.directory->snapshot())))});
}

Result<Reply> modify_organization_limit(Platform& platform, Call& call) {
  if (call.arguments.at(0) != kLimitId) {
    return Error{Code::kNotFound, "There is no such rate limit."};
  }
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  const auto change = [&](MeterLimits& limits) -> Result<void> {
    Fields fields(*body);
    read_meter_limits(*body, fields, limits);
    return fields.finish();
  };
  const auto changed = modify(platform, call, limits_json, change);
  if (!changed) return changed.error();
  return json_reply(tagged(limits_json(*changed)));
}

Result<Reply> get_organization_spend_limit(Platform& platform, Call&) {
  return tagged_reply(spend_json(limits_of(*platform.directory->snapshot())));
}

Result<Reply> set_organization_spend_limit(Platform& platform, Call& call) {
  const auto cents = read_spend_limit(call.request.body);
  if (!cents) return cents.error();
  const auto changed = modify(platform, call, spend_json, [&](MeterLimits& limits) -> Result<void> {
    limits.spend_cents_per_month = *cents;
    return {};
  });
  if (!changed) return changed.error();
  return tagged_reply(spend_json(*changed));
}

Result<Reply> delete_organization_spend_limit(Platform& platform, Call& call) {
  const auto changed = modify(platform, call, spend_json, [](MeterLimits& limits) -> Result<void> {
    if (std::exchange(limits.spend_cents_per_month, std::nullopt)) return {};
    return Error{Code::kNotFound, "The organization has no spend limit."};
  });
  if (!changed) return changed.error();
  ordered_json json = spend_json(*changed);
  json["object"] = "organization.spend_limit.deleted";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera

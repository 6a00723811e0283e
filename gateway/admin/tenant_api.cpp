// tenant_api.cpp — /v1/tenant: what a tenant may know of itself, and change: its name.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/calendar_json.hpp"
#include "gateway/admin/etags.hpp"
#include "gateway/admin/meter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxNameChars = 128;

ordered_json window_json(const LimitsView::Window& window) {
  ordered_json json;
  json["limit"] = window.limit;
  json["remaining"] = window.remaining;
  json["reset_ms"] = std::chrono::ceil<std::chrono::milliseconds>(window.reset).count();
  return json;
}

ordered_json tenant_json(const Tenant& tenant, const std::string& base_model) {
  ordered_json json;
  json["id"] = tenant.id.str();
  json["object"] = "tenant";
  json["name"] = tenant.name;
  json["slug"] = tenant.slug;
  json["created_at"] = unix_seconds(tenant.created_at);
  json["base_model"] = base_model;
  return json;
}

Result<ordered_json> shown_tenant(const DirectorySnapshot& snapshot, const TenantId& id,
                                  const std::string& base_model) {
  const auto* entry = snapshot.find(id);
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  return Result<ordered_json>(boost::system::in_place_value,
                              tenant_json(entry->tenant, base_model));
}

}  // namespace

Result<Reply> get_own_tenant(Platform& platform, Call& call) {
  const auto tenant =
      shown_tenant(*platform.directory->snapshot(), call.caller.tenant, platform.model.name());
  if (!tenant) return tenant.error();
  return tagged_reply(*tenant);
}

// The slug is part of URLs that customers have, and so an admin's business.
Result<Reply> modify_own_tenant(Platform& platform, Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  std::string name;
  Fields fields(*body);
  fields.required("name", name);
  fields.text("name", kMaxNameChars, name);
  if (auto read = fields.finish(); !read) return read.error();
  const TenantId& id = call.caller.tenant;
  const auto guard =
      guard_of(call, [id, base = platform.model.name()](const DirectorySnapshot& snapshot) {
        return shown_tenant(snapshot, id, base);
      });
  if (!guard) return guard.error();
  const auto renamed =
      platform.directory->rename_tenant(call.caller, id, name, call.received_wall, *guard);
  if (!renamed) return renamed.error();
  return tagged_reply(tenant_json(*renamed, platform.model.name()));
}

// Of the project and the key that asks, whichever leaves less.
Result<Reply> get_own_limits(Platform& platform, Call& call) {
  const Now now = now_of(platform.clock);
  const LimitsView view = platform.admission.view(call.caller, now);
  const PeriodUse use = platform.admission.use(call.caller, now);
  const TenantLimits& limits = call.caller.limits;
  ordered_json json;
  json["object"] = "tenant.limits";
  json["requests_per_minute"] = window_json(view.requests);
  json["tokens_per_minute"] = window_json(view.tokens);
  json["concurrent_requests"] = {{"limit", view.max_concurrent_requests},
                                 {"used", view.concurrent_requests}};
  add_calendar_use(json, limits, use, now.wall);
  json["max_output_tokens_per_request"] = limits.max_output_tokens;
  json["max_queue"] = limits.max_queue ? ordered_json(*limits.max_queue) : ordered_json(nullptr);
  const MeterLimits own = call.caller.key_policy ? call.caller.key_policy->limits : MeterLimits();
  add_meter_limits(json["key"] = ordered_json::object(), own);
  return json_reply(json);
}

}  // namespace tessera

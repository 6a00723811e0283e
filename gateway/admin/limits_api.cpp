// limits_api.cpp — a tenant's limits as OpenAI's project rate limits, with our own beside them.
//
// OpenAI has one object a model. Here "rl_all", of the model "*", holds for all models of a tenant
// together, and "rl_NAME" for one of its models besides; a model without limits has no object.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/etags.hpp"
#include "gateway/admin/meter_json.hpp"
#include "gateway/admin/tenant_limits_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kLimitPrefix = "rl_";
constexpr std::string_view kLimitId = "rl_all";

Error no_such_limit() {
  return {Code::kNotFound, "There is no such rate limit."};
}

ordered_json limit_object(std::string_view model) {
  ordered_json json;
  json["object"] = "project.rate_limit";
  json["id"] = model == "*" ? std::string(kLimitId) : std::string(kLimitPrefix).append(model);
  json["model"] = model;
  return json;
}

ordered_json limits_json(const TenantLimits& limits) {
  ordered_json json = limit_object("*");
  add_tenant_limits(json, limits);
  return json;
}

ordered_json model_limits_json(std::string_view model, const MeterLimits& limits) {
  ordered_json json = limit_object(model);
  add_meter_limits(json, limits);
  return json;
}

// With its tag: these objects are shown in a list only.
ordered_json tagged(ordered_json limits) {
  limits["etag"] = etag_of(limits);
  return limits;
}

// The limits "rl_all" or of one model, without their tag; null if there are none.
Result<ordered_json> shown_limits(const DirectorySnapshot& snapshot, const TenantId& tenant,
                                  const std::string& model) {
  const auto made = [](ordered_json json) {
    return Result<ordered_json>(boost::system::in_place_value, std::move(json));
  };
  const auto* entry = snapshot.find(tenant);
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  if (model == "all") return made(limits_json(entry->limits));
  if (!entry->policy) return made(nullptr);
  const auto limits = entry->policy->model_limits.find(model);
  if (limits == entry->policy->model_limits.end()) return made(nullptr);
  return made(model_limits_json(model, limits->second));
}

Result<Guard> limits_guard(const Call& call, const TenantId& tenant, const std::string& model) {
  return guard_of(call, [=](const DirectorySnapshot& snapshot) {
    return shown_limits(snapshot, tenant, model);
  });
}

// Overwrites the limits that the body has; their ranges are the directory's business.
Result<void> apply(const ordered_json& body, TenantLimits& limits) {
  Fields fields(body);
  read_tenant_limits(body, fields, limits);
  return fields.finish();
}

// What is counted by the calendar is the whole tenant's or a key's.
Result<void> apply(const ordered_json& body, std::string_view model, TenantPolicy& policy) {
  if (policy.model_limits.size() >= kMaxPermittedModels && !policy.model_limits.contains(model)) {
    return Error{Code::kInvalidValue, "Too many models have limits of their own."};
  }
  MeterLimits& limits = policy.model_limits[std::string(model)];
  Fields fields(body);
  read_meter_limits(body, fields, limits);
  if (auto read = fields.finish(); !read) return read;
  if (limits.requests_per_day || limits.tokens_per_day || limits.tokens_per_month ||
      limits.spend_cents_per_month) {
    return Error{Code::kInvalidValue,
                 "A model has limits a minute and of concurrency; those by day, month and money "
                 "are the project's (rl_all) or a key's."};
  }
  return {};
}

// The model that "rl_NAME" is about; nullopt for what is no such id.
std::optional<std::string> model_of(std::string_view id) {
  if (!id.starts_with(kLimitPrefix) || id.size() == kLimitPrefix.size()) return std::nullopt;
  id.remove_prefix(kLimitPrefix.size());
  if (id.size() > kMaxModelNameChars) return std::nullopt;
  return std::string(id);
}

}  // namespace

Result<Reply> list_rate_limits(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(TenantId(call.arguments.at(0)));
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  std::vector<ordered_json> objects;
  objects.push_back(tagged(limits_json(entry->limits)));
  if (entry->policy) {
    for (const auto& [model, limits] : entry->policy->model_limits) {
      objects.push_back(tagged(model_limits_json(model, limits)));
    }
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> modify_rate_limit(Platform& platform, Call& call) {
  const TenantId tenant(call.arguments.at(0));
  const std::string& id = call.arguments.at(1);
  const auto model = model_of(id);
  if (!model) return no_such_limit();
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  const auto guard = limits_guard(call, tenant, *model);
  if (!guard) return guard.error();
  if (id == kLimitId) {
    const auto changed = platform.directory->modify_limits(
        call.caller, tenant, [&](TenantLimits& limits) { return apply(*body, limits); },
        call.received_wall, *guard);
    if (!changed) return changed.error();
    platform.host_cache->allowance_changed(tenant.str());
    return json_reply(tagged(limits_json(*changed)));
  }
  const auto changed = platform.directory->modify_policy(
      call.caller, tenant, "rate_limit.updated",
      [&](TenantPolicy& policy) { return apply(*body, *model, policy); }, call.received_wall,
      *guard);
  if (!changed) return changed.error();
  return json_reply(tagged(model_limits_json(*model, changed->model_limits.at(*model))));
}

Result<Reply> delete_rate_limit(Platform& platform, Call& call) {
  const std::string& id = call.arguments.at(1);
  const auto model = model_of(id);
  if (!model || id == kLimitId) return no_such_limit();
  const auto guard = limits_guard(call, TenantId(call.arguments.at(0)), *model);
  if (!guard) return guard.error();
  const auto changed = platform.directory->modify_policy(
      call.caller, TenantId(call.arguments.at(0)), "rate_limit.deleted",
      [&](TenantPolicy& policy) -> Result<void> {
        if (policy.model_limits.erase(*model) == 0) return no_such_limit();
        return {};
      },
      call.received_wall, *guard);
  if (!changed) return changed.error();
  ordered_json json = limit_object(*model);
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera

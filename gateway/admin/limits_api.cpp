// limits_api.cpp — a tenant's limits as OpenAI's project rate limits, with our own beside them.
//
// OpenAI has one object a model; our limits hold for all models of a tenant together, so there is
// one, of the model "*".
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kLimitId = "rl_all";

// The members of TenantLimits by their names on the wire.
struct NamedLimit {
  std::string_view name;
  std::int64_t TenantLimits::*member;
};
constexpr NamedLimit kLimits[] = {
    {"max_requests_per_1_minute", &TenantLimits::requests_per_minute},
    {"max_tokens_per_1_minute", &TenantLimits::tokens_per_minute},
    {"max_concurrent_requests", &TenantLimits::max_concurrent_requests},
    {"max_output_tokens_per_request", &TenantLimits::max_output_tokens},
    {"max_adapters", &TenantLimits::max_adapters},
    {"max_adapter_bytes", &TenantLimits::max_adapter_bytes},
};

ordered_json limits_json(const TenantLimits& limits) {
  ordered_json json;
  json["object"] = "project.rate_limit";
  json["id"] = kLimitId;
  json["model"] = "*";
  for (const auto& [name, member] : kLimits) json[std::string(name)] = limits.*member;
  json["burst_requests"] = limits.request_burst();
  json["burst_tokens"] = limits.token_burst();
  return json;
}

// Overwrites the limits that the body has; their ranges are the directory's business.
Result<void> apply(const ordered_json& body, TenantLimits& limits) {
  Fields fields(body);
  const auto read = [&](std::string_view name) {
    std::optional<std::int64_t> value;
    fields.integer(name, {0, INT64_MAX}, value);
    return value;
  };
  for (const auto& [name, member] : kLimits) {
    if (const auto value = read(name)) limits.*member = *value;
  }
  if (const auto value = read("burst_requests")) limits.burst_requests = value;
  if (const auto value = read("burst_tokens")) limits.burst_tokens = value;
  return fields.finish();
}

}  // namespace

Result<Reply> list_rate_limits(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const auto* entry = snapshot->find(TenantId(call.arguments.at(0)));
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  std::vector<ordered_json> objects;
  objects.push_back(limits_json(entry->limits));
  return list_reply(call.target, std::move(objects));
}

Result<Reply> modify_rate_limit(Platform& platform, Call& call) {
  if (call.arguments.at(1) != kLimitId) {
    return Error{Code::kNotFound, "There is no such rate limit."};
  }
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  const auto changed = platform.directory->modify_limits(
      call.caller, TenantId(call.arguments.at(0)),
      [&](TenantLimits& limits) { return apply(*body, limits); }, call.received_wall);
  if (!changed) return changed.error();
  return json_reply(limits_json(*changed));
}

}  // namespace tessera

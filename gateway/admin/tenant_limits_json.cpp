#include "gateway/admin/tenant_limits_json.hpp"

#include <optional>
#include <string>
#include <string_view>

#include "gateway/admin/meter_json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

// The limits that are always there, by their names on the wire.
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
    {"max_adapter_rank", &TenantLimits::max_adapter_rank},
    {"max_concurrent_uploads", &TenantLimits::max_concurrent_uploads},
    {"max_uploads_per_1_day", &TenantLimits::uploads_per_day},
};
// And those that may be.
struct NamedOption {
  std::string_view name;
  std::optional<std::int64_t> TenantLimits::*member;
};
constexpr NamedOption kOptions[] = {
    {"burst_requests", &TenantLimits::burst_requests},
    {"burst_tokens", &TenantLimits::burst_tokens},
    {"max_requests_per_1_day", &TenantLimits::requests_per_day},
    {"max_tokens_per_1_day", &TenantLimits::tokens_per_day},
    {"max_tokens_per_1_month", &TenantLimits::tokens_per_month},
    {"max_queue", &TenantLimits::max_queue},
    {"max_resident_adapters", &TenantLimits::max_resident_adapters},
    {"max_resident_adapter_bytes", &TenantLimits::max_resident_bytes},
};

}  // namespace

void add_tenant_limits(ordered_json& json, const TenantLimits& limits) {
  for (const auto& [name, member] : kLimits) json[std::string(name)] = limits.*member;
  for (const auto& [name, member] : kOptions) {
    const auto& limit = limits.*member;
    json[std::string(name)] = limit ? ordered_json(*limit) : ordered_json(nullptr);
  }
  json["burst_requests"] = limits.request_burst();
  json["burst_tokens"] = limits.token_burst();
}

void read_tenant_limits(const ordered_json& body, Fields& fields, TenantLimits& limits) {
  for (const auto& [name, member] : kLimits) {
    std::optional<std::int64_t> value;
    fields.integer(name, {0, INT64_MAX}, value);
    if (value) limits.*member = *value;
  }
  for (const auto& [name, member] : kOptions) read_limit(body, fields, name, limits.*member);
}

}  // namespace tessera

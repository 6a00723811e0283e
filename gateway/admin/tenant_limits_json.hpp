// tenant_limits_json.hpp — all limits of a tenant by their names on the wire.
#pragma once

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "tenancy/limits.hpp"

namespace tessera {

// All of them, null where there is none.
void add_tenant_limits(nlohmann::ordered_json& json, const TenantLimits& limits);

// Overwrites what `body`, which `fields` are of, has; ranges are the directory's business.
void read_tenant_limits(const nlohmann::ordered_json& body, Fields& fields, TenantLimits& limits);

}  // namespace tessera

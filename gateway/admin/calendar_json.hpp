// calendar_json.hpp — what a tenant has used of its limits by day, month and money.
#pragma once

#include <nlohmann/json.hpp>

#include "storage/clock.hpp"
#include "tenancy/limits.hpp"
#include "tenancy/meter.hpp"

namespace tessera {

// requests_per_day, tokens_per_day, tokens_per_month and spend_cents_per_month: each with its
// limit, null if there is none, what is used of it, and when it begins anew.
void add_calendar_use(nlohmann::ordered_json& json, const TenantLimits& limits,
                      const PeriodUse& use, WallTime now);

}  // namespace tessera

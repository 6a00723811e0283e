#include "gateway/admin/calendar_json.hpp"

#include <optional>

#include "gateway/api/api_json.hpp"
#include "tenancy/calendar.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

ordered_json period_json(std::optional<std::int64_t> limit, std::int64_t used, WallTime reset) {
  ordered_json json;
  json["limit"] = limit ? ordered_json(*limit) : ordered_json(nullptr);
  json["used"] = used;
  json["resets_at"] = unix_seconds(reset);
  return json;
}

}  // namespace

void add_calendar_use(ordered_json& json, const TenantLimits& limits, const PeriodUse& use,
                      WallTime now) {
  const WallTime midnight = end_of(Period::kDay, now);
  const WallTime month_end = end_of(Period::kMonth, now);
  json["requests_per_day"] = period_json(limits.requests_per_day, use.requests_today, midnight);
  json["tokens_per_day"] = period_json(limits.tokens_per_day, use.tokens_today, midnight);
  json["tokens_per_month"] = period_json(limits.tokens_per_month, use.tokens_this_month, month_end);
  json["spend_cents_per_month"] =
      period_json(limits.spend_cents_per_month, use.spend_this_month.whole_cents(), month_end);
}

}  // namespace tessera

#include "tenancy/limits.hpp"

#include <limits>
#include <span>
#include <string>

namespace tessera {
namespace {

struct Field {
  const char* name;  // as in the project's rate limit object
  std::optional<std::int64_t> value;
  std::int64_t min;
  std::int64_t max;
};

Result<void> check(std::span<const Field> fields) {
  for (const Field& field : fields) {
    if (!field.value || (field.min <= *field.value && *field.value <= field.max)) continue;
    return Error{Code::kInvalidValue,
                 std::string(field.name) + " must be between " + std::to_string(field.min) +
                     " and " + std::to_string(field.max),
                 field.name};
  }
  return {};
}

}  // namespace

MeterLimits TenantLimits::meter() const {
  return {.max_concurrent_requests = max_concurrent_requests,
          .requests_per_minute = requests_per_minute,
          .tokens_per_minute = tokens_per_minute,
          .burst_requests = burst_requests,
          .burst_tokens = burst_tokens,
          .requests_per_day = requests_per_day,
          .tokens_per_day = tokens_per_day,
          .tokens_per_month = tokens_per_month,
          .spend_cents_per_month = spend_cents_per_month};
}

Result<void> check_limits(const MeterLimits& limits) {
  const Field fields[] = {
      {"max_requests_per_1_minute", limits.requests_per_minute, 1, kMaxLimit},
      {"max_tokens_per_1_minute", limits.tokens_per_minute, 1, kMaxLimit},
      {"burst_requests", limits.burst_requests, 1, kMaxLimit},
      {"burst_tokens", limits.burst_tokens, 1, kMaxLimit},
      {"max_concurrent_requests", limits.max_concurrent_requests, 1, kMaxLimit},
      {"max_requests_per_1_day", limits.requests_per_day, 0, kMaxCalendarLimit},
      {"max_tokens_per_1_day", limits.tokens_per_day, 0, kMaxCalendarLimit},
      {"max_tokens_per_1_month", limits.tokens_per_month, 0, kMaxCalendarLimit},
      {"max_spend_cents_per_1_month", limits.spend_cents_per_month, 0, Money::kMaxCents},
  };
  return check(fields);
}

Result<void> check_limits(const TenantLimits& limits) {
  if (auto checked = check_limits(limits.meter()); !checked) return checked;
  constexpr std::int64_t kAnyBytes = std::numeric_limits<std::int64_t>::max();
  const Field fields[] = {
      {"max_output_tokens_per_request", limits.max_output_tokens, 1, kMaxLimit},
      {"max_adapters", limits.max_adapters, 0, kMaxLimit},
      {"max_adapter_bytes", limits.max_adapter_bytes, 0, kAnyBytes},
      {"max_adapter_rank", limits.max_adapter_rank, 1, kLargestAdapterRank},
      {"max_concurrent_uploads", limits.max_concurrent_uploads, 0, kMaxLimit},
      {"max_uploads_per_1_day", limits.uploads_per_day, 0, kMaxLimit},
      {"max_queue", limits.max_queue, 0, kMaxLimit},
      {"max_resident_adapters", limits.max_resident_adapters, 0, kMaxLimit},
      {"max_resident_adapter_bytes", limits.max_resident_bytes, 0, kAnyBytes},
  };
  return check(fields);
}

}  // namespace tessera

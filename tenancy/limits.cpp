#include "tenancy/limits.hpp"

#include <limits>
#include <string>

namespace tessera {
namespace {

struct Field {
  const char* name;  // as in the project's rate limit object
  std::int64_t value;
  std::int64_t min;
  std::int64_t max;
};

}  // namespace

Result<void> check_limits(const TenantLimits& limits) {
  constexpr std::int64_t kAnyBytes = std::numeric_limits<std::int64_t>::max();
  const Field fields[] = {
      {"max_requests_per_1_minute", limits.requests_per_minute, 1, kMaxLimit},
      {"max_tokens_per_1_minute", limits.tokens_per_minute, 1, kMaxLimit},
      {"burst_requests", limits.request_burst(), 1, kMaxLimit},
      {"burst_tokens", limits.token_burst(), 1, kMaxLimit},
      {"max_concurrent_requests", limits.max_concurrent_requests, 1, kMaxLimit},
      {"max_output_tokens_per_request", limits.max_output_tokens, 1, kMaxLimit},
      {"max_adapters", limits.max_adapters, 0, kMaxLimit},
      {"max_adapter_bytes", limits.max_adapter_bytes, 0, kAnyBytes},
  };
  for (const Field& field : fields) {
    if (field.min <= field.value && field.value <= field.max) continue;
    return Error{Code::kInvalidValue,
                 std::string(field.name) + " must be between " + std::to_string(field.min) +
                     " and " + std::to_string(field.max),
                 field.name};
  }
  return {};
}

}  // namespace tessera

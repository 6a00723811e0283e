// rate_limits.hpp — a tenant's limits as response headers, in both families (http-api.md 2.2).
#pragma once

#include <chrono>
#include <string>

#include "gateway/http/http.hpp"
#include "storage/ids.hpp"
#include "tenancy/admission.hpp"

namespace tessera {

// x-ratelimit-* as OpenAI sends them, RateLimit-Policy and RateLimit as the IETF draft has them.
void add_rate_limit_headers(Headers& headers, const LimitsView& view);

// The answer to a request that was not admitted: its policy and numbers in error.details, and the
// exact time to wait.
HttpResponse refusal_response(const RateRefusal& refusal, const RequestId& request);

// A duration as Go prints it, rounded up to milliseconds: "120ms", "1.2s", "6m0s".
std::string go_duration(std::chrono::nanoseconds duration);

}  // namespace tessera

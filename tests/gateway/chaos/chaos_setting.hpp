// chaos_setting.hpp — what the worker serves, and what its tenants may.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/engine_core.hpp"
#include "kernels/model_spec.hpp"
#include "tenancy/limits.hpp"
#include "tests/gateway/byte_tokenizer.hpp"

namespace tessera::chaos {

inline constexpr std::size_t kInFlight = 48;
inline constexpr int kMaxPrompt = 8;
inline constexpr int kMaxAnswer = 12;

inline ModelSpec spec() {
  ModelSpec spec;
  spec.vocab_size = kByteVocab;
  spec.hidden = 64;
  spec.intermediate = 64;
  spec.num_heads = 1;
  spec.num_kv_heads = 1;
  spec.head_dim = 64;
  spec.max_positions = 256;
  spec.layers = std::vector<LayerSpec>(1);
  return spec;
}

inline EngineConfig engine_config() {
  EngineConfig config;
  // Every prompt fits into one step, so that what was computed of it is all or nothing.
  config.backend.max_rows = kInFlight * (kMaxPrompt + 1);
  config.backend.max_seqs = 16;
  config.backend.max_logit_rows = 16;
  config.backend.num_blocks = 1024;
  return config;
}

// Each tenant is short of something else.
inline TenantLimits limits_of(int tenant) {
  TenantLimits limits;
  limits.requests_per_minute = tenant % 4 == 0 ? 60 : 60'000;
  limits.burst_requests = tenant % 4 == 0 ? 5 : 10'000;
  limits.tokens_per_minute = tenant % 4 == 1 ? 600 : 1'000'000;
  limits.burst_tokens = tenant % 4 == 1 ? 60 : 100'000;
  limits.max_concurrent_requests = tenant % 4 == 2 ? 2 : 1000;
  if (tenant % 8 == 3) limits.requests_per_day = 30;
  if (tenant % 8 == 7) limits.tokens_per_day = 400;
  if (tenant % 16 == 5) limits.tokens_per_month = 600;
  if (tenant % 16 == 14) limits.spend_cents_per_month = 1;
  return limits;
}

// Those of all of them together, which are met now and then.
inline OrganizationLimits organization_limits() {
  return {.limits = {.max_concurrent_requests = 8, .tokens_per_day = 60'000}, .revision = 1};
}
inline TenantLimits as_tenant_limits(const MeterLimits& limits) {
  return {.requests_per_minute = 1'000'000,  // none: never so many come
          .tokens_per_minute = 10'000'000,
          .max_concurrent_requests = *limits.max_concurrent_requests,
          .tokens_per_day = limits.tokens_per_day};
}

}  // namespace tessera::chaos

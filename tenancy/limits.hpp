// limits.hpp — how much one tenant may ask of the platform, and the defaults, in one place.
#pragma once

#include <cstdint>
#include <optional>

#include "storage/result.hpp"
#include "tenancy/meter.hpp"

namespace tessera {

// What kernels and parsers are made for; no tenant may have more.
inline constexpr std::int64_t kLargestAdapterRank = 256;

struct TenantLimits {
  std::int64_t requests_per_minute = 600;
  std::int64_t tokens_per_minute = 200'000;  // prompt + generated, those from the cache too
  // What a bucket holds when nobody asked for a while; nullopt: a minute's worth.
  std::optional<std::int64_t> burst_requests = {};
  std::optional<std::int64_t> burst_tokens = {};
  std::int64_t max_concurrent_requests = 32;
  // By calendar day and month, in UTC; nullopt: no limit.
  std::optional<std::int64_t> requests_per_day = {};
  std::optional<std::int64_t> tokens_per_day = {};
  std::optional<std::int64_t> tokens_per_month = {};
  std::optional<std::int64_t> spend_cents_per_month = {};
  std::int64_t max_output_tokens = 4'096;                   // of one request
  std::int64_t max_adapters = 64;                           // names
  std::int64_t max_adapter_bytes = std::int64_t{10} << 30;  // of all versions together
  std::int64_t max_adapter_rank = kLargestAdapterRank;      // of an uploaded adapter's modules
  std::int64_t max_concurrent_uploads = 8;                  // bodies on their way to the disk
  std::int64_t uploads_per_day = 20'000;                    // begun, by UTC's day
  // Nullopt: as many as find room beside others'.
  std::optional<std::int64_t> max_queue = {};              // requests that wait for a first step
  std::optional<std::int64_t> max_resident_adapters = {};  // in memory at a time
  std::optional<std::int64_t> max_resident_bytes = {};     // of their pages

  std::int64_t request_burst() const { return burst_requests.value_or(requests_per_minute); }
  std::int64_t token_burst() const { return burst_tokens.value_or(tokens_per_minute); }
  // Those of them that a request meets.
  MeterLimits meter() const;
  bool operator==(const TenantLimits&) const = default;
};

// What all tenants together may ask for; nullopt: no limit.
struct OrganizationLimits {
  MeterLimits limits = {};
  std::uint64_t revision = 0;  // grows with each change in this process; 0: as they were opened
};

// Errors: kInvalidValue, param naming the field as the administration API does
// (max_requests_per_1_minute): below 1 (adapters, their bytes, uploads, queues and amounts by the
// calendar: below 0) or above kMaxLimit (ranks: kLargestAdapterRank; tokens a month: a million
// times kMaxLimit; money: Money::kMaxCents).
Result<void> check_limits(const TenantLimits& limits);
Result<void> check_limits(const MeterLimits& limits);

}  // namespace tessera

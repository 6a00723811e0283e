#include "tenancy/limits.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(TenantLimits, DefaultsAreValid) {
  EXPECT_TRUE(check_limits(TenantLimits()));
}

TEST(TenantLimits, BurstIsAMinutesWorthUnlessSet) {
  const TenantLimits limits{.requests_per_minute = 3, .burst_tokens = 9};
  EXPECT_EQ(limits.request_burst(), 3);
  EXPECT_EQ(limits.token_burst(), 9);
}

TEST(TenantLimits, RefusalNamesTheFieldAsClientsDo) {
  const auto param_of = [](const TenantLimits& limits) {
    const auto checked = check_limits(limits);
    return checked ? "" : checked.error().param;
  };
  EXPECT_EQ(param_of({.requests_per_minute = 0}), "max_requests_per_1_minute");
  EXPECT_EQ(param_of({.tokens_per_minute = kMaxLimit + 1}), "max_tokens_per_1_minute");
  EXPECT_EQ(param_of({.burst_requests = 0}), "burst_requests");
  EXPECT_EQ(param_of({.burst_tokens = -1}), "burst_tokens");
  EXPECT_EQ(param_of({.max_concurrent_requests = 0}), "max_concurrent_requests");
  EXPECT_EQ(param_of({.max_output_tokens = 0}), "max_output_tokens_per_request");
  EXPECT_EQ(param_of({.max_adapters = -1}), "max_adapters");
  EXPECT_EQ(param_of({.max_adapter_bytes = -1}), "max_adapter_bytes");
  EXPECT_EQ(param_of({.max_adapter_rank = 0}), "max_adapter_rank");
  EXPECT_EQ(param_of({.max_adapter_rank = kLargestAdapterRank + 1}), "max_adapter_rank");
  EXPECT_EQ(param_of({.max_concurrent_uploads = -1}), "max_concurrent_uploads");
  EXPECT_EQ(param_of({.uploads_per_day = kMaxLimit + 1}), "max_uploads_per_1_day");
  EXPECT_EQ(param_of({.max_queue = -1}), "max_queue");
  EXPECT_EQ(param_of({.max_resident_bytes = -1}), "max_resident_adapter_bytes");
  EXPECT_EQ(param_of({.max_adapters = 0, .max_adapter_bytes = 0}), "");
  EXPECT_EQ(param_of({.max_concurrent_uploads = 0, .uploads_per_day = 0}), "");
}

}  // namespace
}  // namespace tessera

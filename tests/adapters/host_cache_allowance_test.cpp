// host_cache_allowance_test.cpp — what one tenant may have in host memory, and when that changes.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/host_cache.hpp"
#include "tests/adapters/host_cache_fixture.hpp"

namespace tessera {
namespace {

using State = HostCache::State;

class HostCacheAllowance : public HostCacheTest {
 protected:
  // Adapters of the tenant, by number.
  std::vector<unsigned> held_by(const std::string& tenant) const {
    std::vector<unsigned> numbers;
    for (const AdapterDigest& digest : cache->held_by(tenant).adapters) {
      numbers.push_back(digest.bytes[0]);
    }
    std::ranges::sort(numbers);
    return numbers;
  }
};

TEST_F(HostCacheAllowance, ATenantWithAnAllowanceLosesItsOwnWhateverRoomThereIs) {
  set_allowance("few", {.adapters = 2});
  set_allowance("small", {.bytes = static_cast<std::int64_t>(2 * loads.bytes_each())});
  open(100);
  wait_for(50, "other");
  for (const char* tenant : {"few", "small"}) {
    const unsigned first = tenant == std::string("few") ? 1 : 11;
    for (unsigned i = first; i < first + 5; ++i)
      EXPECT_EQ(wait_for(i, tenant).state, State::kReady);
    const HostCache::Held held = cache->held_by(tenant);
    EXPECT_EQ(held.adapters, (std::vector{digest_of(first + 3), digest_of(first + 4)})) << tenant;
    EXPECT_EQ(held.bytes, 2 * loads.bytes_each());
  }
  EXPECT_EQ(cache->stats().entries, 5U);
  EXPECT_TRUE(is_resident(50));
}

TEST_F(HostCacheAllowance, AnAllowanceFullOfAdaptersInUseIsToldApartFromAFullCache) {
  set_allowance("few", {.adapters = 1});
  open(100);
  HostCache::Pin used = wait_for(1, "few").adapter;
  const auto refused = wait_for(2, "few");
  EXPECT_EQ(refused.state, State::kFailed);
  EXPECT_EQ(refused.error.code, Code::kNoCapacity);
  EXPECT_TRUE(refused.exceeds_allowance);
  used.reset();
  cache->forget_failures_for_room();
  EXPECT_EQ(wait_for(2, "few").state, State::kReady);
  EXPECT_EQ(cache->held_by("few").adapters, std::vector{digest_of(2)});
}

TEST_F(HostCacheAllowance, AnAdapterBeyondItsTenantsAllowanceIsRefusedForGood) {
  set_allowance("small", {.bytes = static_cast<std::int64_t>(loads.bytes_each()) - 1});
  set_allowance("none", {.adapters = 0});
  open(100);
  for (const char* tenant : {"small", "none"}) {
    const auto refused = wait_for(tenant[0] == 's' ? 1 : 2, tenant);
    EXPECT_EQ(refused.error.code, Code::kStorageQuotaExceeded) << tenant;
    EXPECT_FALSE(refused.exceeds_allowance);
  }
  EXPECT_EQ(wait_for(3, "other").state, State::kReady);
}

// What nobody uses is gone when the call returns.
TEST_F(HostCacheAllowance, ALowerOneIsMetAtOnceByThoseWorthLeast) {
  open(100);
  for (unsigned i = 1; i <= 6; ++i) wait_for(i, "t");
  for (unsigned i = 11; i <= 13; ++i) wait_for(i, "other");
  wait_for(2, "t");
  set_allowance("t", {.adapters = 2});
  set_allowance("other", {.adapters = 1});
  cache->allowance_changed("t");
  EXPECT_EQ(held_by("t"), (std::vector{2U, 6U}));
  EXPECT_EQ(held_by("other").size(), 3U) << "nobody has said that it changed";
  set_allowance("t", {.bytes = static_cast<std::int64_t>(loads.bytes_each())});
  cache->allowance_changed("t");
  EXPECT_EQ(held_by("t"), std::vector{2U});
  EXPECT_EQ(cache->stats().bytes, 4 * loads.bytes_each());
  EXPECT_FALSE(cache->has_excess());
}

TEST_F(HostCacheAllowance, WhatIsInUseGoesWhenItIsReleasedAndNobodyAsks) {
  open(100);
  std::vector<HostCache::Pin> used;
  for (unsigned i = 1; i <= 3; ++i) used.push_back(wait_for(i, "t").adapter);
  set_allowance("t", {.adapters = 1});
  cache->allowance_changed("t");
  EXPECT_EQ(held_by("t").size(), 3U);
  EXPECT_TRUE(cache->has_excess());
  EXPECT_EQ(cache->drop_excess(), (std::vector{digest_of(1), digest_of(2), digest_of(3)}));
  used.erase(used.begin(), used.begin() + 2);
  while (held_by("t").size() > 1) woken.acquire();
  EXPECT_EQ(held_by("t"), std::vector{3U});
  EXPECT_FALSE(cache->has_excess());
}

TEST_F(HostCacheAllowance, WhatIsToGoIsNotGivenToItsTenantAnew) {
  open(100);
  const HostCache::Pin used = wait_for(1, "t").adapter;
  const HostCache::Pin stays = wait_for(2, "t").adapter;
  set_allowance("t", {.adapters = 1});
  cache->allowance_changed("t");
  const auto refused = cache->get(digest_of(1), "t");
  EXPECT_EQ(refused.state, State::kFailed);
  EXPECT_EQ(refused.error.code, Code::kNoCapacity);
  EXPECT_TRUE(refused.exceeds_allowance);
  EXPECT_EQ(cache->get(digest_of(2), "t").adapter, stays);
  EXPECT_EQ(cache->get(digest_of(1), "other").adapter, used) << "whose limit it is not";
  set_allowance("t", {.adapters = 2});
  cache->allowance_changed("t");
  EXPECT_EQ(cache->get(digest_of(1), "t").adapter, used);
}

TEST_F(HostCacheAllowance, WhatTheTenantHasPinnedGoesLastAndWhatAnotherHasStays) {
  open(100);
  for (unsigned i = 1; i <= 4; ++i) wait_for(i, "t");
  ASSERT_TRUE(cache->pin(digest_of(1), "t"));
  ASSERT_TRUE(cache->pin(digest_of(2), "t"));
  ASSERT_TRUE(cache->pin(digest_of(3), "other"));
  set_allowance("t", {.adapters = 2});
  cache->allowance_changed("t");
  EXPECT_EQ(held_by("t"), (std::vector{2U, 3U}));
  set_allowance("t", {.adapters = 0});
  cache->allowance_changed("t");
  EXPECT_EQ(held_by("t"), std::vector{3U});
  EXPECT_FALSE(cache->has_excess()) << "which nothing would ever end";
}

TEST_F(HostCacheAllowance, AHigherOneForgetsThatTheTenantWasRefused) {
  set_allowance("t", {.adapters = 0});
  open(100);
  EXPECT_EQ(wait_for(1, "t").error.code, Code::kStorageQuotaExceeded);
  set_allowance("t", {});
  EXPECT_EQ(wait_for(1, "t").state, State::kFailed) << "remembered for a moment";
  cache->allowance_changed("t");
  EXPECT_EQ(wait_for(1, "t").state, State::kReady);
}

}  // namespace
}  // namespace tessera

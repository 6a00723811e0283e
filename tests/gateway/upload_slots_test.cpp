#include "gateway/adapters/upload_slots.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNoon{std::chrono::hours(24 * 20'000 + 12)};

using Slots = std::vector<std::shared_ptr<UploadSlots::Slot>>;

TEST(UploadSlots, TenantsLimitIsItsOwn) {
  UploadSlots slots;
  Slots held;
  for (int i = 0; i < kMaxUploadsOfTenant; ++i) {
    held.push_back(slots.enter(TenantId("a"), kNoon).value());
  }
  EXPECT_EQ(slots.enter(TenantId("a"), kNoon).error().code, Code::kQueueFull);
  EXPECT_TRUE(slots.enter(TenantId("b"), kNoon));
  held.pop_back();
  EXPECT_TRUE(slots.enter(TenantId("a"), kNoon)) << "a slot that was left is free again";
}

TEST(UploadSlots, AllTogetherAreBounded) {
  UploadSlots slots;
  Slots held;
  for (int i = 0; i < kMaxUploads; ++i) {
    held.push_back(slots.enter(TenantId(std::to_string(i)), kNoon).value());
  }
  EXPECT_EQ(slots.enter(TenantId("one more"), kNoon).error().code, Code::kQueueFull);
}

TEST(UploadSlots, AndSoAreThoseOfADay) {
  UploadSlots slots({.of_tenant_a_day = 2});
  EXPECT_TRUE(slots.enter(TenantId("a"), kNoon));
  EXPECT_TRUE(slots.enter(TenantId("a"), kNoon + 1h));
  EXPECT_EQ(slots.enter(TenantId("a"), kNoon + 11h).error().code, Code::kRateLimitExceeded);
  EXPECT_TRUE(slots.enter(TenantId("b"), kNoon + 11h));
  EXPECT_TRUE(slots.enter(TenantId("a"), kNoon + 12h)) << "a new day";
}

TEST(UploadSlots, ARefusalCountsForNothing) {
  UploadSlots slots({.of_tenant = 1, .of_tenant_a_day = 2});
  auto held = slots.enter(TenantId("a"), kNoon).value();
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(slots.enter(TenantId("a"), kNoon));
  held.reset();
  EXPECT_TRUE(slots.enter(TenantId("a"), kNoon)) << "only one was made today";
}

}  // namespace
}  // namespace tessera

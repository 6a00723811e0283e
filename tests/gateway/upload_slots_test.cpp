#include "gateway/adapters/upload_slots.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "gateway/config.hpp"

namespace tessera {
namespace {

TEST(UploadSlots, TenantsLimitIsItsOwn) {
  UploadSlots slots;
  std::vector<std::unique_ptr<UploadSlots::Slot>> held;
  for (int i = 0; i < kMaxUploadsOfTenant; ++i) {
    held.push_back(slots.enter(TenantId("a")));
    ASSERT_TRUE(held.back());
  }
  EXPECT_FALSE(slots.enter(TenantId("a")));
  EXPECT_TRUE(slots.enter(TenantId("b")));
  held.pop_back();
  EXPECT_TRUE(slots.enter(TenantId("a"))) << "a slot that was left is free again";
}

TEST(UploadSlots, AllTogetherAreBounded) {
  UploadSlots slots;
  std::vector<std::unique_ptr<UploadSlots::Slot>> held;
  for (int i = 0; i < kMaxUploads; ++i) {
    held.push_back(slots.enter(TenantId(std::to_string(i))));
    ASSERT_TRUE(held.back());
  }
  EXPECT_FALSE(slots.enter(TenantId("one more")));
}

}  // namespace
}  // namespace tessera

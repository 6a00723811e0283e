#include "gateway/adapters/upload_slots.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNoon{std::chrono::hours(24 * 20'000 + 12)};

using Slots = std::vector<std::shared_ptr<UploadSlots::Slot>>;

class UploadSlotsTest : public testing::Test {
 protected:
  TempDir folder_;
  std::unique_ptr<Store> store_ = open_rocks_store(folder_.path() / "store").value();
};

TEST_F(UploadSlotsTest, TenantsLimitIsItsOwn) {
  UploadSlots slots(*store_);
  const TenantLimits limits;
  Slots held;
  for (int i = 0; i < limits.max_concurrent_uploads; ++i) {
    held.push_back(slots.enter(TenantId("a"), limits, kNoon).value());
  }
  EXPECT_EQ(slots.enter(TenantId("a"), limits, kNoon).error().code, Code::kQueueFull);
  EXPECT_TRUE(slots.enter(TenantId("b"), limits, kNoon));
  held.pop_back();
  EXPECT_TRUE(slots.enter(TenantId("a"), limits, kNoon)) << "a slot that was left is free again";
}

TEST_F(UploadSlotsTest, AChangedLimitHoldsForTheNextUpload) {
  UploadSlots slots(*store_);
  const auto first = slots.enter(TenantId("a"), {.max_concurrent_uploads = 1}, kNoon).value();
  EXPECT_FALSE(slots.enter(TenantId("a"), {.max_concurrent_uploads = 1}, kNoon));
  const auto second = slots.enter(TenantId("a"), {.max_concurrent_uploads = 2}, kNoon);
  EXPECT_TRUE(second);
  for (const TenantLimits& none :
       {TenantLimits{.max_concurrent_uploads = 0}, TenantLimits{.uploads_per_day = 0}}) {
    EXPECT_EQ(slots.enter(TenantId("b"), none, kNoon).error().code, Code::kRequestExceedsLimit);
  }
}

TEST_F(UploadSlotsTest, AllTogetherAreBounded) {
  UploadSlots slots(*store_);
  Slots held;
  for (int i = 0; i < kMaxUploads; ++i) {
    held.push_back(slots.enter(TenantId(std::to_string(i)), {}, kNoon).value());
  }
  EXPECT_EQ(slots.enter(TenantId("one more"), {}, kNoon).error().code, Code::kQueueFull);
}

TEST_F(UploadSlotsTest, AndSoAreThoseOfADay) {
  UploadSlots slots(*store_);
  const TenantLimits limits{.uploads_per_day = 2};
  EXPECT_TRUE(slots.enter(TenantId("a"), limits, kNoon));
  EXPECT_TRUE(slots.enter(TenantId("a"), limits, kNoon + 1h));
  EXPECT_EQ(slots.enter(TenantId("a"), limits, kNoon + 11h).error().code, Code::kRateLimitExceeded);
  EXPECT_TRUE(slots.enter(TenantId("b"), limits, kNoon + 11h));
  EXPECT_TRUE(slots.enter(TenantId("a"), limits, kNoon + 12h)) << "a new day";
}

TEST_F(UploadSlotsTest, ARestartForgetsNothingOfTheDay) {
  const TenantLimits limits{.uploads_per_day = 2};
  EXPECT_TRUE(UploadSlots(*store_).enter(TenantId("a"), limits, kNoon));
  store_.reset();
  store_ = open_rocks_store(folder_.path() / "store").value();
  UploadSlots slots(*store_);
  EXPECT_TRUE(slots.enter(TenantId("a"), limits, kNoon + 1h));
  EXPECT_EQ(slots.enter(TenantId("a"), limits, kNoon + 2h).error().code, Code::kRateLimitExceeded);
  EXPECT_TRUE(slots.enter(TenantId("ab"), limits, kNoon + 2h));
  EXPECT_TRUE(UploadSlots(*store_).enter(TenantId("a"), limits, kNoon + 12h)) << "a new day";
}

TEST_F(UploadSlotsTest, ARefusalCountsForNothing) {
  UploadSlots slots(*store_);
  const TenantLimits limits{.max_concurrent_uploads = 1, .uploads_per_day = 2};
  auto held = slots.enter(TenantId("a"), limits, kNoon).value();
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(slots.enter(TenantId("a"), limits, kNoon));
  held.reset();
  EXPECT_TRUE(slots.enter(TenantId("a"), limits, kNoon)) << "only one was made today";
}

}  // namespace
}  // namespace tessera

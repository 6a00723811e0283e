#include "tenancy/key_uses.hpp"

#include <memory>

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

const TenantId kAda{"ada"};
const KeyId kKey{"key"};
constexpr WallTime kNoon{1'700'049'600s};  // a whole minute

class KeyUsesTest : public testing::Test {
 protected:
  std::optional<WallTime> last_use(const TenantId& tenant = kAda, const KeyId& key = kKey) {
    return uses_->last_use(tenant, key).value();
  }
  void restart() {
    uses_.reset();
    uses_ = std::make_unique<KeyUses>(*store_, clock_);
  }

  TempDir folder_;
  std::unique_ptr<Store> store_ = open_rocks_store(folder_ / "store").value();
  ManualClock clock_;
  std::unique_ptr<KeyUses> uses_ = std::make_unique<KeyUses>(*store_, clock_);
};

TEST_F(KeyUsesTest, AreToldToTheMinute) {
  EXPECT_EQ(last_use(), std::nullopt);
  uses_->note(kAda, kKey, kNoon + 59s);
  EXPECT_EQ(last_use(), kNoon);
  uses_->note(kAda, kKey, kNoon + 60s);
  EXPECT_EQ(last_use(), kNoon + 60s);
}

TEST_F(KeyUsesTest, NeverGoBack) {
  uses_->note(kAda, kKey, kNoon);
  uses_->note(kAda, kKey, kNoon - 1h);
  EXPECT_EQ(last_use(), kNoon);
}

TEST_F(KeyUsesTest, SurviveARestart) {
  uses_->note(kAda, kKey, kNoon);
  restart();
  EXPECT_EQ(last_use(), kNoon);
  EXPECT_EQ(last_use(TenantId("bob")), std::nullopt);
}

TEST_F(KeyUsesTest, WhatIsWrittenAndOverLeavesMemoryAndIsStillKnown) {
  uses_->note(kAda, kKey, kNoon);
  ASSERT_TRUE(uses_->flush());
  clock_.advance(
      std::chrono::duration_cast<std::chrono::nanoseconds>(kNoon + 2min - clock_.wall_now()));
  ASSERT_TRUE(uses_->flush());
  EXPECT_EQ(last_use(), kNoon);
  uses_->note(kAda, kKey, kNoon + 2min);
  EXPECT_EQ(last_use(), kNoon + 2min);
}

TEST_F(KeyUsesTest, OfATenantAreItsOwnWrittenOrNot) {
  uses_->note(kAda, KeyId("old"), kNoon);
  ASSERT_TRUE(uses_->flush());
  uses_->note(kAda, KeyId("new"), kNoon + 1min);
  uses_->note(kAda, KeyId("old"), kNoon + 2min);
  uses_->note(TenantId("bob"), KeyId("bobs"), kNoon);
  uses_->note(TenantId(), KeyId("admin"), kNoon);
  const std::map<KeyId, WallTime> expected = {{KeyId("new"), kNoon + 1min},
                                              {KeyId("old"), kNoon + 2min}};
  EXPECT_EQ(uses_->last_uses(kAda).value(), expected);
  EXPECT_EQ(uses_->last_uses(TenantId()).value().size(), 1U);
}

TEST_F(KeyUsesTest, AMinuteIsWrittenOnce) {
  uses_->note(kAda, kKey, kNoon);
  ASSERT_TRUE(uses_->flush());
  ASSERT_TRUE(store_->write(Batch().erase(Family::kMeta, keys::key_use("ada", "key"))));
  uses_->note(kAda, kKey, kNoon + 30s);
  ASSERT_TRUE(uses_->flush());
  EXPECT_FALSE(store_->get(Family::kMeta, keys::key_use("ada", "key")).value());
}

}  // namespace
}  // namespace tessera

#include "tenancy/audit_log.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kStart{1000s};

class AuditLogTest : public testing::Test {
 protected:
  std::vector<std::string> events(WallTime from, WallTime to) const {
    std::vector<std::string> events;
    EXPECT_TRUE(scan_audit(*store_, from, to, [&](const AuditRecord& record) {
      events.push_back(record.event);
      return true;
    }));
    return events;
  }

  TempDir directory_;
  std::unique_ptr<Store> store_ = open_rocks_store(directory_.path()).value();
};

TEST_F(AuditLogTest, RecordsComeBackOldestFirstWithinTheTimesAskedFor) {
  Batch batch;
  for (const int second : {3, 1, 2}) {
    ASSERT_TRUE(append_audit(*store_, batch,
                             new_audit_record("event" + std::to_string(second), KeyId("k"),
                                              TenantId("t"), "x", kStart + second * 1s)));
  }
  ASSERT_TRUE(store_->write(batch));
  EXPECT_EQ(events(kStart, kStart + 1h), (std::vector<std::string>{"event1", "event2", "event3"}));
  EXPECT_EQ(events(kStart + 2s, kStart + 3s), (std::vector<std::string>{"event2"}));
}

TEST_F(AuditLogTest, RecordsOfOneInstantAreAllKept) {
  Batch batch;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(
        append_audit(*store_, batch, new_audit_record("event", KeyId(), TenantId(), "x", kStart)));
  }
  ASSERT_TRUE(store_->write(batch));
  EXPECT_EQ(events(kStart, kStart + 1us).size(), 10U);
}

TEST_F(AuditLogTest, DamagedRecordIsTold) {
  ASSERT_TRUE(store_->write(
      Batch().put(Family::kAudit, keys::audit_record(kStart, "audit_x"), "not a record")));
  const auto scanned =
      scan_audit(*store_, kStart, kStart + 1h, [](const AuditRecord&) { return true; });
  ASSERT_FALSE(scanned);
  EXPECT_EQ(scanned.error().code, Code::kCorrupt);
}

TEST_F(AuditLogTest, RecordIsFoundByItsId) {
  const auto wanted = new_audit_record("wanted", KeyId("k"), TenantId("t"), "x", kStart + 1500us);
  Batch batch;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(append_audit(*store_, batch, new_audit_record("other", {}, {}, "x", kStart)));
  }
  ASSERT_TRUE(append_audit(*store_, batch, wanted));
  ASSERT_TRUE(store_->write(batch));
  EXPECT_EQ(find_audit(*store_, wanted.id).value(), wanted);
  for (const auto& none :
       {std::string("audit_"), wanted.id + "0", new_audit_record("e", {}, {}, "x", kStart).id}) {
    EXPECT_FALSE(find_audit(*store_, none).value()) << none;
  }
}

}  // namespace
}  // namespace tessera

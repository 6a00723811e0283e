#include "tenancy/hash_chain.hpp"

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tenancy/audit_log.hpp"
#include "tenancy/usage_ledger.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kStart{1000s};

class HashChainTest : public testing::Test {
 protected:
  // Ten usage records, one a second.
  void write_usage() {
    UsageLedger ledger(*store_);
    for (int i = 0; i < 10; ++i) {
      ASSERT_TRUE(ledger.record({.request = RequestId("req_" + std::to_string(i)),
                                 .tenant = TenantId("t"),
                                 .prompt_tokens = i,
                                 .finished = kStart + i * 1s}));
    }
  }
  static std::string key(int i) {
    return keys::usage_record(kStart + i * 1s, "req_" + std::to_string(i));
  }
  ChainReport report(Chain chain = Chain::kUsage) { return verify_chain(*store_, chain).value(); }

  TempDir directory_;
  std::unique_ptr<Store> store_ = open_rocks_store(directory_.path()).value();
};

TEST_F(HashChainTest, EmptyStoreHolds) {
  EXPECT_TRUE(report().holds());
  EXPECT_EQ(report().num_links, 0U);
}

TEST_F(HashChainTest, EveryUsageRecordHasALinkAndARepeatedOneNone) {
  write_usage();
  write_usage();
  EXPECT_TRUE(report().holds());
  EXPECT_EQ(report().num_links, 10U);
}

TEST_F(HashChainTest, HeadDependsOnEveryRecord) {
  write_usage();
  const ChainHash before = report().head;
  UsageLedger(*store_).record({.request = RequestId("req_x"), .finished = kStart}).value();
  EXPECT_NE(report().head, before);
  EXPECT_TRUE(report().holds());
}

TEST_F(HashChainTest, AlteredRecordIsFound) {
  write_usage();
  auto text = **store_->get(Family::kLedger, key(4));
  text.replace(text.find("req_4"), 5, "req_5");
  ASSERT_TRUE(store_->write(Batch().put(Family::kLedger, key(4), text)));
  EXPECT_FALSE(report().holds());
  EXPECT_EQ(report().first_fault, 5U);
}

TEST_F(HashChainTest, RemovedRecordIsFound) {
  write_usage();
  ASSERT_TRUE(store_->write(Batch().erase(Family::kLedger, key(2))));
  EXPECT_EQ(report().first_fault, 3U);
}

TEST_F(HashChainTest, RemovedLinkIsFoundInTheMiddleAndAtTheEnd) {
  write_usage();
  ASSERT_TRUE(store_->write(
      Batch().erase(Family::kLedger, key(9)).erase(Family::kLedger, keys::chain_link('u', 10))));
  EXPECT_EQ(report().first_fault, 10U);
  ASSERT_TRUE(store_->write(Batch().erase(Family::kLedger, keys::chain_link('u', 7))));
  EXPECT_EQ(report().first_fault, 7U);
}

TEST_F(HashChainTest, RecordThatWasSlippedInIsCounted) {
  write_usage();
  const auto text = **store_->get(Family::kLedger, key(1));
  ASSERT_TRUE(store_->write(
      Batch().put(Family::kLedger, keys::usage_record(kStart + 1h, "req_new"), text)));
  EXPECT_EQ(report().first_fault, 0U);
  EXPECT_EQ(report().num_unlinked, 1U);
  EXPECT_FALSE(report().holds());
}

TEST_F(HashChainTest, SeveralRecordsOfOneBatchAreLinkedInTurn) {
  Batch batch;
  for (int i = 0; i < 3; ++i) {
    const auto record = new_audit_record("event", KeyId("k"), TenantId("t"), "x", kStart);
    ASSERT_TRUE(append_audit(*store_, batch, record));
  }
  ASSERT_TRUE(store_->write(batch));
  EXPECT_TRUE(report(Chain::kAudit).holds());
  EXPECT_EQ(report(Chain::kAudit).num_links, 3U);
}

TEST_F(HashChainTest, OfTwoWritersWithoutALockOneFails) {
  Batch first;
  Batch second;
  for (Batch* batch : {&first, &second}) {
    ASSERT_TRUE(append_audit(*store_, *batch, new_audit_record("e", {}, {}, "x", kStart)));
  }
  ASSERT_TRUE(store_->write(first));
  const auto written = store_->write(second);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kPreconditionFailed);
  EXPECT_TRUE(report(Chain::kAudit).holds());
}

TEST_F(HashChainTest, DamagedHeadStopsTheWriterWithAClearError) {
  write_usage();
  ASSERT_TRUE(store_->write(Batch().put(Family::kLedger, keys::chain_head('u'), "x")));
  const auto recorded = UsageLedger(*store_).record({.request = RequestId("req_y")});
  ASSERT_FALSE(recorded);
  EXPECT_EQ(recorded.error().code, Code::kCorrupt);
  EXPECT_FALSE(report().holds());
}

}  // namespace
}  // namespace tessera

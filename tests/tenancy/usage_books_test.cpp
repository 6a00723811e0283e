#include "tenancy/usage_books.hpp"

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tenancy/hash_chain.hpp"
#include "tenancy/records.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kStart{100'000s};
constexpr std::uint32_t kDay = 1;  // of kStart

UsageRecord request(int number, const std::string& tenant) {
  return {.request = RequestId("req_" + std::to_string(number)),
          .tenant = TenantId(tenant),
          .key = KeyId("key of " + tenant),
          .prompt_tokens = 100,
          .completion_tokens = number,
          .started = kStart,
          .finished = kStart + number * 1s};
}

class UsageBooksTest : public testing::Test {
 protected:
  // As the ledger does: a record, its link and the head in one batch.
  void record(UsageBooks& books, int number, const std::string& tenant) {
    ASSERT_TRUE(books.catch_up());
    const UsageRecord record = request(number, tenant);
    Batch batch;
    books.begin(batch);
    const auto changes = books.prepare(record);
    ASSERT_TRUE(changes);
    ChainAppender chain(Chain::kUsage, chain_end(*store_, Chain::kUsage).value(), batch);
    const auto linked =
        chain.append(keys::usage_record(record.finished, record.request.str()), encode(record));
    chain.finish();
    ASSERT_TRUE(store_->write(batch, Durability::kBuffered));
    books.add(linked, record, *changes);
  }

  void fold(UsageBooks& books) {
    while (books.fold_some(true).value()) continue;
  }

  std::int64_t stored_requests(const std::string& tenant) {
    const auto text = store_->get(Family::kLedger, keys::totals_of_tenant(tenant)).value();
    return text ? decode<CountedTotals>(*text)->totals.requests : 0;
  }

  // Of tenants, adapters and days.
  int num_stored_totals() {
    int count = 0;
    for (const std::string_view kind : {"t", "a", "d"}) {
      const auto counted = [&](std::string_view, std::string_view) { return ++count > 0; };
      EXPECT_TRUE(store_->scan(Family::kLedger, kind, kind, counted));
    }
    return count;
  }

  static std::int64_t requests(UsageBooks& books, const std::string& tenant) {
    return books.of_tenant(tenant).value().requests;
  }

  TempDir directory_;
  std::unique_ptr<Store> store_ = open_rocks_store(directory_.path()).value();
};

TEST_F(UsageBooksTest, TotalsAreToldAtOnceAndWrittenLater) {
  UsageBooks books(*store_);
  record(books, 1, "a");
  record(books, 2, "a");
  record(books, 3, "b");
  EXPECT_EQ(requests(books, "a"), 2);
  EXPECT_EQ(stored_requests("a"), 0);
  EXPECT_FALSE(books.fold_some(false).value()) << "a fold was not due";
  EXPECT_EQ(stored_requests("a"), 0);
  fold(books);
  EXPECT_EQ(stored_requests("a"), 2);
  EXPECT_EQ(stored_requests("b"), 1);
  EXPECT_EQ(requests(books, "a"), 2);
}

TEST_F(UsageBooksTest, WhatAKillHasLeftUnfoldedIsMadeUpForFromTheRecords) {
  UsageBooks killed(*store_);
  record(killed, 1, "a");
  fold(killed);
  record(killed, 2, "a");
  record(killed, 3, "b");
  UsageBooks next(*store_);
  EXPECT_EQ(next.of_tenant("a").value(), (UsageTotals{2, 200, 0, 3}));
  EXPECT_EQ(next.of_adapters("b").value().at("").requests, 1);
  EXPECT_EQ(next.of_days("b", "key of b", kDay, kDay).value().at(kDay).completion_tokens, 3);
  record(next, 4, "a");
  fold(next);
  EXPECT_EQ(UsageBooks(*store_).of_tenant("a").value(), (UsageTotals{3, 300, 0, 7}));
}

// The number that all totals have is written last; until then some have more than it says.
TEST_F(UsageBooksTest, AFoldThatAKillCutsOffAddsNothingTwice) {
  constexpr int kTenants = 40;  // four totals each: more than a step of the fold writes
  UsageBooks killed(*store_);
  for (int i = 0; i < kTenants; ++i) record(killed, i, "t" + std::to_string(i));
  ASSERT_TRUE(killed.fold_some(true).value()) << "one step was enough";
  EXPECT_GT(num_stored_totals(), 0);
  EXPECT_LT(num_stored_totals(), 4 * kTenants);
  UsageBooks next(*store_);
  for (int i = 0; i < kTenants; ++i) EXPECT_EQ(requests(next, "t" + std::to_string(i)), 1) << i;
  fold(next);
  UsageBooks last(*store_);
  for (int i = 0; i < kTenants; ++i) EXPECT_EQ(requests(last, "t" + std::to_string(i)), 1) << i;
}

TEST_F(UsageBooksTest, WhatChangesDuringAFoldIsWrittenByTheNext) {
  constexpr int kTenants = 40;
  UsageBooks books(*store_);
  for (int i = 0; i < kTenants; ++i) record(books, i, "t" + std::to_string(i));
  ASSERT_TRUE(books.fold_some(true).value());
  for (int i = 0; i < kTenants; ++i) record(books, kTenants + i, "t" + std::to_string(i));
  fold(books);
  fold(books);
  for (int i = 0; i < kTenants; ++i) EXPECT_EQ(stored_requests("t" + std::to_string(i)), 2) << i;
  EXPECT_EQ(requests(books, "t0"), 2);
}

TEST_F(UsageBooksTest, TotalsOfAnOlderBuildAreWhole) {
  Batch batch;
  batch.put(Family::kLedger, keys::totals_of_tenant("a"),
            R"({"requests":5,"prompt_tokens":500,"cached_tokens":0,"completion_tokens":9})");
  ChainAppender chain(Chain::kUsage, {}, batch);
  const UsageRecord old = request(1, "a");
  chain.append(keys::usage_record(old.finished, old.request.str()), encode(old));
  chain.finish();
  ASSERT_TRUE(store_->write(batch));
  UsageBooks books(*store_);
  EXPECT_EQ(requests(books, "a"), 5);
  record(books, 2, "a");
  EXPECT_EQ(requests(books, "a"), 6);
  EXPECT_EQ(requests(*std::make_unique<UsageBooks>(*store_), "a"), 6);
}

TEST_F(UsageBooksTest, TotalsOfDaysAreThoseOfTheDaysAskedFor) {
  UsageBooks books(*store_);
  record(books, 1, "a");
  EXPECT_EQ(books.of_days("a", "", kDay, kDay + 5).value().size(), 1U);
  EXPECT_TRUE(books.of_days("a", "", kDay + 1, kDay + 5).value().empty());
  EXPECT_TRUE(books.of_days("a", "another key", kDay, kDay).value().empty());
  EXPECT_TRUE(books.of_adapters("c").value().empty());
}

TEST_F(UsageBooksTest, ARecordThatIsGoneBeforeItWasAddedUpIsCorruption) {
  UsageBooks killed(*store_);
  record(killed, 1, "a");
  const UsageRecord lost = request(1, "a");
  ASSERT_TRUE(store_->write(
      Batch().erase(Family::kLedger, keys::usage_record(lost.finished, lost.request.str()))));
  EXPECT_EQ(UsageBooks(*store_).of_tenant("a").error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace tessera

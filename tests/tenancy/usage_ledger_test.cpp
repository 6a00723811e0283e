#include "tenancy/usage_ledger.hpp"

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tenancy/hash_chain.hpp"
#include "tenancy/records.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kStart{100'000s};

UsageRecord request(int number, const std::string& tenant, const std::string& adapter,
                    WallTime finished = kStart) {
  return {.request = RequestId("req_" + std::to_string(number)),
          .tenant = TenantId(tenant),
          .key = KeyId("key of " + tenant),
          .adapter = adapter,
          .model = adapter.empty() ? "base" : "bot@1",
          .prompt_tokens = 100,
          .cached_tokens = 64,
          .completion_tokens = number,
          .finish = "stop",
          .started = finished - 1s,
          .finished = finished};
}

class UsageLedgerTest : public testing::Test {
 protected:
  void reopen() {
    ledger_.reset();
    store_.reset();
    store_ = open_rocks_store(directory_.path()).value();
    ledger_.emplace(*store_);
  }

  int num_records() const {
    int count = 0;
    EXPECT_TRUE(ledger_->scan(WallTime(0s), kStart + 1000h, [&](const UsageRecord&) {
      ++count;
      return true;
    }));
    return count;
  }

  TempDir directory_;
  std::unique_ptr<Store> store_ = open_rocks_store(directory_.path()).value();
  std::optional<UsageLedger> ledger_{*store_};
};

TEST_F(UsageLedgerTest, BucketsMayBeOfOneOperation) {
  UsageRecord embedding = request(1, "a", "");
  embedding.operation = "embeddings";
  ASSERT_TRUE(ledger_->record(embedding));
  ASSERT_TRUE(ledger_->record(request(2, "a", "")));
  const auto requests = [&](const std::optional<std::string>& operation) {
    const UsageQuery query{
        .from = kStart - 60s, .to = kStart + 60s, .bucket_width = 120s, .operation = operation};
    const auto buckets = usage_buckets(*ledger_, query).value();
    return buckets.at(0).groups.empty() ? 0 : buckets.at(0).groups.at(0).totals.requests;
  };
  EXPECT_EQ(requests(std::nullopt), 2);
  EXPECT_EQ(requests("embeddings"), 1);
  EXPECT_EQ(requests(""), 1);
  EXPECT_EQ(requests("other"), 0);
}

TEST_F(UsageLedgerTest, RemembersWhatAPeriodHasUsed) {
  const WallTime noon = WallTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 21)) + 12h;
  const auto started_at = [](int number, const std::string& key, WallTime started, Money cost) {
    UsageRecord record = request(number, "a", "", started + 1s);
    record.key = KeyId(key);
    record.started = started;
    record.cost = cost;
    return record;
  };
  ASSERT_TRUE(ledger_->record(started_at(1, "k", noon, Money{10})));
  ASSERT_TRUE(ledger_->record(started_at(2, "l", noon - 1h, Money{20})));
  ASSERT_TRUE(ledger_->record(started_at(3, "k", noon - 24h, Money{40})));
  ASSERT_TRUE(ledger_->record(started_at(4, "k", noon - 24h * 21, Money{80})));  // of October
  reopen();
  const PeriodUse tenant = ledger_->period_use(TenantId("a"), KeyId(), noon).value();
  EXPECT_EQ(tenant.requests_today, 2);
  EXPECT_EQ(tenant.tokens_today, 203);
  EXPECT_EQ(tenant.tokens_this_month, 306);
  EXPECT_EQ(tenant.spend_this_month, Money{70});
  const PeriodUse key = ledger_->period_use(TenantId("a"), KeyId("k"), noon).value();
  EXPECT_EQ(key.requests_today, 1);
  EXPECT_EQ(key.tokens_this_month, 204);
  EXPECT_EQ(key.spend_this_month, Money{50});
  EXPECT_EQ(ledger_->period_use(TenantId("b"), KeyId(), noon).value().requests_today, 0);
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("a")).value().cost, Money{150});
}

TEST_F(UsageLedgerTest, SumsByTenantAndByAdapter) {
  ASSERT_TRUE(ledger_->record(request(1, "a", "aa")));
  ASSERT_TRUE(ledger_->record(request(2, "a", "")));
  ASSERT_TRUE(ledger_->record(request(4, "a", "aa")));
  ASSERT_TRUE(ledger_->record(request(8, "b", "aa")));
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("a")).value(), (UsageTotals{3, 300, 192, 7}));
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("b")).value().completion_tokens, 8);
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("c")).value(), UsageTotals());
  const auto adapters = ledger_->adapters_of(TenantId("a")).value();
  ASSERT_EQ(adapters.size(), 2U);
  EXPECT_EQ(adapters[0], std::pair(std::string(""), UsageTotals{1, 100, 64, 2}));
  EXPECT_EQ(adapters[1], std::pair(std::string("aa"), UsageTotals{2, 200, 128, 5}));
}

TEST_F(UsageLedgerTest, TheSameRequestCountsOnce) {
  ASSERT_TRUE(ledger_->record(request(1, "a", "")));
  ASSERT_TRUE(ledger_->record(request(1, "a", "")));
  UsageRecord later = request(1, "a", "aa");
  later.finished += 1h;
  ASSERT_TRUE(ledger_->record(later));
  EXPECT_EQ(num_records(), 1);
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("a")).value().requests, 1);
  reopen();
  ASSERT_TRUE(ledger_->record(request(1, "a", "")));
  EXPECT_EQ(num_records(), 1);
}

TEST_F(UsageLedgerTest, RecordsComeBackWholeInOrderOfTheirEnd) {
  const auto second = request(1, "a", "aa", kStart + 2s);
  const auto first = request(2, "b", "", kStart + 1s);
  ASSERT_TRUE(ledger_->record(second));
  ASSERT_TRUE(ledger_->record(first));
  std::vector<UsageRecord> records;
  ASSERT_TRUE(ledger_->scan(kStart, kStart + 1h, [&](const UsageRecord& record) {
    records.push_back(record);
    return true;
  }));
  EXPECT_EQ(records, (std::vector{first, second}));
}

TEST_F(UsageLedgerTest, TotalsAreTheSumOfTheRecordsAfterThreadsAndReopening) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {  // every request is recorded by two threads
        const int number = (t / 2) * 50 + i;
        const std::string tenant = number % 3 == 0 ? "a" : "b";
        EXPECT_TRUE(ledger_->record(request(number, tenant, number % 2 == 0 ? "" : "aa")));
      }
    });
  }
  threads.clear();
  reopen();
  std::map<std::string, UsageTotals> sums;
  ASSERT_TRUE(ledger_->scan(kStart, kStart + 1s, [&](const UsageRecord& record) {
    sums[record.tenant.str()] += totals_of(record);
    return true;
  }));
  EXPECT_EQ(sums["a"].requests + sums["b"].requests, 100);
  for (const auto& [tenant, sum] : sums) {
    EXPECT_EQ(ledger_->totals_by_tenant(TenantId(tenant)).value(), sum);
    UsageTotals by_adapter;
    for (const auto& [adapter, totals] : ledger_->adapters_of(TenantId(tenant)).value()) {
      by_adapter += totals;
    }
    EXPECT_EQ(by_adapter, sum);
  }
}

// All goes to the store behind it.
class ForwardingStore : public Store {
 public:
  explicit ForwardingStore(Store& store) : store_(store) {}

  Result<std::optional<std::string>> get(Family family, std::string_view key) const override {
    return store_.get(family, key);
  }
  Result<void> scan(
      Family family, std::string_view prefix, std::string_view start,
      const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    return store_.scan(family, prefix, start, visit);
  }
  Result<void> write(const Batch& batch, Durability durability) override {
    return store_.write(batch, durability);
  }
  Result<void> sync() override { return store_.sync(); }

 protected:
  Store& store_;
};

// Counts syncs, and fails them on demand.
class CountingStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  Result<void> sync() override {
    ++syncs;
    if (fails) return Error{Code::kIo, "the disk is broken"};
    return store_.sync();
  }

  std::atomic<int> syncs = 0;
  std::atomic<bool> fails = false;
};

TEST_F(UsageLedgerTest, FlushSyncsExactlyWhatIsNotSynced) {
  CountingStore counting(*store_);
  UsageLedger ledger(counting);
  ASSERT_TRUE(ledger.flush());
  EXPECT_EQ(counting.syncs, 0);
  ASSERT_TRUE(ledger.record(request(1, "a", "")));
  counting.fails = true;
  EXPECT_EQ(ledger.flush().error().code, Code::kIo);
  counting.fails = false;
  ASSERT_TRUE(ledger.flush());
  const int syncs = counting.syncs;
  EXPECT_GE(syncs, 2);
  ASSERT_TRUE(ledger.flush());
  EXPECT_EQ(counting.syncs, syncs);
}

// As the gateway makes their ids.
UsageRecord request_made(WallTime made) {
  UsageRecord record = request(1, "a", "", made + 1s);
  record.request = RequestId("req_" + new_ulid(made));
  return record;
}

// Notes whether a batch has asked for a request.
class AskingStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  Result<void> write(const Batch& batch, Durability durability) override {
    for (const auto& expected : batch.expectations) num_asked += expected.key.starts_with("q");
    return store_.write(batch, durability);
  }

  int num_asked = 0;
};

TEST_F(UsageLedgerTest, AsksTheStoreForOldRequestsAlone) {
  const UsageRecord before = request_made(kStart);
  ASSERT_TRUE(ledger_->record(before));
  AskingStore asking(*store_);
  UsageLedger ledger(asking);
  ASSERT_TRUE(ledger.record(before));
  EXPECT_EQ(asking.num_asked, 1);
  const UsageRecord after = request_made(kStart + 1h);
  for (int time = 0; time < 3; ++time) ASSERT_TRUE(ledger.record(after));
  ASSERT_TRUE(ledger.record(request_made(kStart + 1h)));
  EXPECT_EQ(asking.num_asked, 1);
  EXPECT_EQ(num_records(), 3);
  EXPECT_TRUE(verify_chain(*store_, Chain::kUsage).value().holds());
}

TEST_F(UsageLedgerTest, DestructionSyncsTheRest) {
  CountingStore counting(*store_);
  {
    UsageLedger ledger(counting);
    ASSERT_TRUE(ledger.record(request(1, "a", "")));
  }
  EXPECT_EQ(counting.syncs, 1);
}

TEST_F(UsageLedgerTest, BucketsCoverTheTimeWithoutGapsAndGroupAsAsked) {
  ASSERT_TRUE(ledger_->record(request(1, "a", "aa", kStart)));
  ASSERT_TRUE(ledger_->record(request(2, "b", "", kStart + 59s)));
  ASSERT_TRUE(ledger_->record(request(4, "a", "aa", kStart + 120s)));
  ASSERT_TRUE(ledger_->record(request(8, "a", "aa", kStart + 150s)));  // at the end: not in
  const auto buckets = usage_buckets(
      *ledger_, {.from = kStart, .to = kStart + 150s, .bucket_width = 60s, .by_tenant = true});
  ASSERT_TRUE(buckets);
  ASSERT_EQ(buckets->size(), 3U);
  ASSERT_EQ((*buckets)[0].groups.size(), 2U);
  EXPECT_EQ((*buckets)[0].groups[0].tenant.str(), "a");
  EXPECT_EQ((*buckets)[0].groups[0].model, "");
  EXPECT_EQ((*buckets)[0].groups[1].totals.completion_tokens, 2);
  EXPECT_TRUE((*buckets)[1].groups.empty());
  EXPECT_EQ((*buckets)[2].groups[0].totals.completion_tokens, 4);
  EXPECT_EQ((*buckets)[2].end, kStart + 150s);
}

TEST_F(UsageLedgerTest, BucketsOfOneTenantHoldNoOthers) {
  ASSERT_TRUE(ledger_->record(request(1, "a", "aa")));
  ASSERT_TRUE(ledger_->record(request(2, "b", "")));
  const auto buckets = usage_buckets(*ledger_, {.from = kStart,
                                                .to = kStart + 60s,
                                                .bucket_width = 60s,
                                                .tenants = {"b"},
                                                .by_key = true,
                                                .by_model = true,
                                                .by_adapter = true});
  ASSERT_EQ(buckets->size(), 1U);
  ASSERT_EQ((*buckets)[0].groups.size(), 1U);
  EXPECT_EQ((*buckets)[0].groups[0].key.str(), "key of b");
  EXPECT_EQ((*buckets)[0].groups[0].model, "base");
}

TEST_F(UsageLedgerTest, BucketsAreCutDownToSomeKeysAndModelsAndGroupedByTier) {
  UsageRecord flex = request(1, "a", "aa");
  flex.service_tier = "flex";
  ASSERT_TRUE(ledger_->record(flex));
  ASSERT_TRUE(ledger_->record(request(2, "a", "aa")));
  ASSERT_TRUE(ledger_->record(request(4, "b", "")));
  ASSERT_TRUE(ledger_->record(request(8, "c", "")));
  const auto groups = [&](UsageQuery query) {
    query.from = kStart;
    query.to = kStart + 60s;
    query.bucket_width = 60s;
    std::map<std::string, std::int64_t> sums;
    const auto buckets = usage_buckets(*ledger_, query).value();
    for (const UsageGroup& group : buckets.at(0).groups) {
      sums[group.tenant.str() + '/' + group.service_tier] = group.totals.completion_tokens;
    }
    return sums;
  };
  using Sums = std::map<std::string, std::int64_t>;
  EXPECT_EQ(groups({.by_tier = true}), (Sums{{"/default", 14}, {"/flex", 1}}));
  EXPECT_EQ(groups({.tenants = {"a", "c"}, .by_tenant = true}), (Sums{{"a/", 3}, {"c/", 8}}));
  EXPECT_EQ(groups({.keys = {"key of b", "key of c"}}), (Sums{{"/", 12}}));
  EXPECT_EQ(groups({.models = {"bot@1"}}), (Sums{{"/", 3}}));
  EXPECT_EQ(groups({.models = {"bot"}}), (Sums{{"/", 3}})) << "all versions";
  EXPECT_EQ(groups({.models = {"base", "bot@2"}}), (Sums{{"/", 12}}));
  EXPECT_EQ(groups({.tenants = {"nobody"}}), Sums());
}

TEST_F(UsageLedgerTest, WhatAnIdempotencyKeyWasChargedIsWrittenWithTheRecord) {
  UsageRecord record = request(1, "a", "");
  KeyCharge charge{.first = record.request, .begun = kStart, .charged = Money{5}, .requests = 1};
  charge.place.bytes[0] = 1;
  record.key_charge = std::make_shared<const KeyCharge>(charge);
  ASSERT_TRUE(ledger_->record(record));
  ASSERT_TRUE(ledger_->record(record)) << "once";
  const auto day = static_cast<std::uint32_t>(
      std::chrono::floor<std::chrono::days>(kStart).time_since_epoch().count());
  const auto text = store_->get(Family::kLedger, keys::key_charge(day, charge.place)).value();
  ASSERT_TRUE(text);
  KeyCharge stored = decode<KeyCharge>(*text).value();
  stored.place = charge.place;
  EXPECT_EQ(stored, charge);
  EXPECT_EQ(num_records(), 1);
}

TEST_F(UsageLedgerTest, SenselessBucketsAreRefused) {
  const auto code_of = [&](const UsageQuery& query) {
    const auto buckets = usage_buckets(*ledger_, query);
    return buckets ? Code::kInternalError : buckets.error().code;
  };
  EXPECT_EQ(code_of({.from = kStart, .to = kStart - 1s, .bucket_width = 60s}), Code::kInvalidValue);
  EXPECT_EQ(code_of({.from = kStart, .to = kStart + 1s, .bucket_width = 0s}), Code::kInvalidValue);
  EXPECT_EQ(code_of({.from = kStart, .to = kStart + 10'001s, .bucket_width = 1s}),
            Code::kInvalidValue);
}

// A store that can be full.
class FullableStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  Result<void> write(const Batch& batch, Durability durability) override {
    if (is_full) return Error{Code::kStorageFull, "no space left"};
    return store_.write(batch, durability);
  }
  Result<void> sync() override {
    if (is_full) return Error{Code::kStorageFull, "no space left"};
    return store_.sync();
  }

  std::atomic<bool> is_full = false;
};

TEST_F(UsageLedgerTest, ItsSyncIsAsOldAsTheLastThatSucceeded) {
  using SteadyClock = std::chrono::steady_clock;
  ledger_.reset();
  FullableStore fullable(*store_);
  UsageLedger ledger(fullable);
  ASSERT_TRUE(ledger.record(request(1, "a", "")));
  fullable.is_full = true;
  const auto full_since = SteadyClock::now();
  EXPECT_FALSE(ledger.flush());
  const auto asked = SteadyClock::now();
  EXPECT_GE(ledger.sync_age(), asked - full_since);
  fullable.is_full = false;
  const auto begun = SteadyClock::now();
  ASSERT_TRUE(ledger.flush());
  const auto age = ledger.sync_age();
  EXPECT_LE(age, SteadyClock::now() - begun);
}

TEST_F(UsageLedgerTest, WhatAFullDiskRefusesIsWrittenOnceThereIsRoom) {
  ledger_.reset();
  FullableStore fullable(*store_);
  {
    UsageLedger ledger(fullable);
    ASSERT_TRUE(ledger.record(request(1, "a", "")));
    fullable.is_full = true;
    for (int i = 2; i <= 5; ++i) {
      EXPECT_EQ(ledger.record(request(i, "a", "")).error().code, Code::kStorageFull);
    }
    EXPECT_EQ(ledger.num_unwritten(), 4U);
    EXPECT_EQ(ledger.totals_by_tenant(TenantId("a")).value().requests, 1);
    EXPECT_FALSE(ledger.flush());
    fullable.is_full = false;
    ASSERT_TRUE(ledger.record(request(6, "a", "")));
    EXPECT_EQ(ledger.num_unwritten(), 0U);
  }
  ledger_.emplace(*store_);
  EXPECT_EQ(num_records(), 6);
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("a")).value(), (UsageTotals{6, 600, 384, 21}));
  const auto chain = verify_chain(*store_, Chain::kUsage).value();
  EXPECT_TRUE(chain.holds());
  EXPECT_EQ(chain.num_links, 6U);
}

TEST_F(UsageLedgerTest, RecordsThatWaitTogetherAreEachWrittenOnceInOrder) {
  constexpr int kRecords = 200;
  std::atomic<int> done = 0;
  for (int i = 1; i <= kRecords; ++i) {
    ledger_->record_later(request(i, i % 3 == 0 ? "a" : "b", ""), [&](const Result<void>& written) {
      EXPECT_TRUE(written);
      ++done;
      done.notify_all();
    });
    // Some come twice, in the same batch or later.
    if (i % 10 == 0) ledger_->record_later(request(i, "a", ""), [](const Result<void>&) {});
  }
  for (int seen = done; seen < kRecords; seen = done) done.wait(seen);
  reopen();
  EXPECT_EQ(num_records(), kRecords);
  const auto a = ledger_->totals_by_tenant(TenantId("a")).value().requests;
  EXPECT_EQ(a + ledger_->totals_by_tenant(TenantId("b")).value().requests, kRecords);
  const auto chain = verify_chain(*store_, Chain::kUsage).value();
  EXPECT_TRUE(chain.holds());
  EXPECT_EQ(chain.num_links, std::uint64_t{kRecords});
}

TEST_F(UsageLedgerTest, WhatWaitsIsWrittenBeforeTheEnd) {
  int done = 0;
  for (int i = 1; i <= 20; ++i) {
    ledger_->record_later(request(i, "a", ""), [&](const Result<void>&) { ++done; });
  }
  reopen();
  EXPECT_EQ(done, 20);
  EXPECT_EQ(num_records(), 20);
}

TEST_F(UsageLedgerTest, RecordsAtOnceAreRecordsLikeOthers) {
  const auto first = ledger_->record_at_once(request(1, "a", ""));
  ASSERT_TRUE(first);
  EXPECT_TRUE(*first);
  ASSERT_TRUE(ledger_->record(request(2, "a", "")));
  const auto again = ledger_->record_at_once(request(2, "a", ""));
  ASSERT_TRUE(again);
  EXPECT_TRUE(*again);
  EXPECT_EQ(num_records(), 2);
  EXPECT_EQ(ledger_->totals_by_tenant(TenantId("a")).value().requests, 2);
  EXPECT_TRUE(verify_chain(*store_, Chain::kUsage).value().holds());
}

// A store that others write to, or whose disk is slow.
class BusyStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  Result<bool> write_at_once(const Batch& batch) override {
    if (is_busy) return false;
    std::this_thread::sleep_for(delay);
    return store_.write_at_once(batch);
  }

  bool is_busy = false;
  std::chrono::milliseconds delay{0};
};

TEST_F(UsageLedgerTest, NothingIsRecordedAtOnceWhereThatWouldHaveToWait) {
  BusyStore store(*store_);
  UsageLedger ledger(store);
  store.is_busy = true;
  EXPECT_FALSE(ledger.record_at_once(request(1, "a", "")));
  EXPECT_EQ(num_records(), 0);
  EXPECT_EQ(ledger.totals_by_tenant(TenantId("a")).value().requests, 0);
  ASSERT_TRUE(ledger.record(request(1, "a", ""))) << "who waits is not turned away";
  store.is_busy = false;
  ASSERT_TRUE(ledger.record_at_once(request(2, "a", "")));
  EXPECT_EQ(num_records(), 2);
  EXPECT_TRUE(verify_chain(*store_, Chain::kUsage).value().holds());
}

TEST_F(UsageLedgerTest, ADiskThatStallsHoldsUpWhoMustNotWaitOnceInAWhile) {
  using SteadyClock = std::chrono::steady_clock;
  BusyStore store(*store_);
  UsageLedger ledger(store);
  store.delay = 5 * UsageLedger::kLongWrite;
  const auto begun = SteadyClock::now();
  ASSERT_TRUE(ledger.record_at_once(request(1, "a", "")));
  int num_refused = 0;
  while (!ledger.record_at_once(request(2, "a", "")) && SteadyClock::now() < begun + 60s) {
    ++num_refused;
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_GT(num_refused, 0);
  EXPECT_GE(SteadyClock::now() - begun, (UsageLedger::kRestAfter + 1) * store.delay);
  EXPECT_EQ(num_records(), 2);
}

TEST_F(UsageLedgerTest, WhatItRemembersGivesWayToWhatAnotherWrote) {
  UsageLedger other(*store_);
  ASSERT_TRUE(ledger_->record(request(1, "a", "")));
  ASSERT_TRUE(other.record(request(1, "a", "")));
  ASSERT_TRUE(other.record(request(2, "a", "")));
  ASSERT_TRUE(ledger_->record(request(3, "a", "")));
  EXPECT_EQ(num_records(), 3);
  EXPECT_EQ(other.totals_by_tenant(TenantId("a")).value().requests, 3);
  EXPECT_TRUE(verify_chain(*store_, Chain::kUsage).value().holds());
}

TEST_F(UsageLedgerTest, ARequestThatAnotherHasRecordedCountsOnce) {
  const UsageRecord first = request_made(kStart), second = request_made(kStart + 1s);
  ASSERT_TRUE(ledger_->record(first));
  UsageLedger other(*store_);
  ASSERT_TRUE(other.record(second));
  ASSERT_TRUE(ledger_->record(second));
  ASSERT_TRUE(other.record(first));
  EXPECT_EQ(num_records(), 2);
  EXPECT_EQ(other.totals_by_tenant(TenantId("a")).value().requests, 2);
  EXPECT_TRUE(verify_chain(*store_, Chain::kUsage).value().holds());
}

}  // namespace
}  // namespace tessera

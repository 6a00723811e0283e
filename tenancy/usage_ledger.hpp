// usage_ledger.hpp — what each request consumed, written exactly once.
//
// A record goes into the store only if no record of that request is there yet, which memory knows
// of requests of late (recent_requests.hpp) and the store of the others: a repeated call changes
// nothing. Nobody else adds to the chain, or the batch would expect another end of it. The totals
// that are told are the sum of the records at every instant, after every crash (usage_books.hpp).
//
// Durability: record() returns once the batch is in the operating system's hands, so it survives
// kill -9; call it before the last byte of an answer is sent. Power loss can take the records since
// the last sync; a background thread syncs every kSyncInterval, and flush() at once.
//
// Each record is linked into a hash chain (tenancy/hash_chain.hpp).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/store.hpp"
#include "tenancy/meter.hpp"
#include "tenancy/money.hpp"
#include "tenancy/recent_requests.hpp"

namespace tessera {

struct ChainEnd;
class UsageBooks;

// What the requests of one Idempotency-Key have been charged. Written in one batch with the record
// of each, so that no crash comes between a charge and the knowledge of it.
struct KeyCharge {
  ContentDigest place = {};    // of the caller, method, target and key; not part of its value
  ContentDigest content = {};  // of the body
  RequestId first = {};        // the request that was charged first, or tried
  WallTime begun = {};         // when that came
  Money charged = {};          // in all
  bool complete = false;       // one of them had the whole of its answer
  std::int64_t requests = 0;   // with this key

  bool operator==(const KeyCharge&) const = default;
};

struct UsageRecord {
  RequestId request = {};
  TenantId tenant = {};
  KeyId key = {};
  std::string adapter = {};  // digest in hex of the version that answered; empty: the base
  std::string model = {};    // the pinned name, such as "support-bot@7"
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the prompt, found in the prefix cache
  std::int64_t completion_tokens = 0;
  std::string service_tier = {};  // empty: "default"
  std::string operation = {};     // empty: a completion; or "embeddings"
  std::string trace = {};         // the caller's trace, 32 hex digits; empty: none was told
  Money cost = {};                // by the price table of the moment
  std::string finish = {};        // "stop", "length", "client_closed_request" or an error's code
  WallTime started = {};
  WallTime finished = {};
  // The request whose charge, by its Idempotency-Key, is set against this one's; empty: none.
  RequestId charged_as = {};
  // What is written beside the record; no part of it. Null: there was no Idempotency-Key.
  std::shared_ptr<const KeyCharge> key_charge = {};

  bool operator==(const UsageRecord&) const = default;
};

struct UsageTotals {
  std::int64_t requests = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t completion_tokens = 0;
  Money cost = {};

  UsageTotals& operator+=(const UsageTotals& other);
  bool operator==(const UsageTotals&) const = default;
};

// What `record` adds to the totals.
UsageTotals totals_of(const UsageRecord& record);

// Thread-safe; owned by the gateway's main, outlived by `store`.
class UsageLedger {
 public:
  static constexpr std::chrono::milliseconds kSyncInterval{1000};
  static constexpr std::size_t kMaxUnwritten = 100'000;
  // After a write at once of kLongWrite or more the disk may stall: nobody writes at once for
  // kRestAfter times as long, so that it holds up whoever must not wait for a small part of the
  // time. (Most often it was no disk, but a thread that came between.)
  static constexpr std::chrono::milliseconds kLongWrite{2};
  static constexpr int kRestAfter = 32;

  explicit UsageLedger(Store& store);
  ~UsageLedger();  // syncs what is not yet synced
  UsageLedger(const UsageLedger&) = delete;
  UsageLedger& operator=(const UsageLedger&) = delete;

  // Appends `record`, which is in the totals of its tenant, adapter and days from then on; does
  // nothing if that request is recorded already. Errors: those of Store; then nothing was written,
  // and where the store is full or fails, the record is kept and written when it takes writes again
  // (tried at the next record() and every kSyncInterval), if the process lives to see it: totals
  // lack it until then. Of kMaxUnwritten such records the oldest are kept.
  Result<void> record(const UsageRecord& record);
  // The same by somebody who must not wait: nullopt, and nothing was done, if he would have to, for
  // others who write, or because a write has lately taken long. Else what record() returns.
  std::optional<Result<void>> record_at_once(const UsageRecord& record);
  // The same, later and without waiting: a thread of the ledger's writes what has come meanwhile in
  // one batch, and tells each `done` what record() would have returned. A disk that stalls so holds
  // up those whose records wait for it, and nobody else. `done` must not block.
  using Done = std::function<void(const Result<void>&)>;
  void record_later(UsageRecord record, Done done);
  // Ends that thread when all who wait have been told; what comes later is written by its caller.
  // Before what `done` reaches for goes, and when nobody else calls.
  void finish_waiting();
  std::size_t num_unwritten() const;

  // Makes everything recorded so far survive power loss. Errors: those of Store.
  Result<void> flush();
  // For how long there has been something that is not known to survive power loss; below
  // kSyncInterval or so as long as the disk does its work.
  std::chrono::nanoseconds sync_age() const;

  // Zero if there is no record. Errors: kCorrupt, those of Store; so for all below.
  Result<UsageTotals> totals_by_tenant(const TenantId& tenant) const;
  // Every adapter the tenant has used, by digest; the base's digest is "".
  Result<std::vector<std::pair<std::string, UsageTotals>>> adapters_of(
      const TenantId& tenant) const;

  // What of the day and month of `now` is used up, by the days on which the requests started: of
  // the tenant, or of one key if `key` is not empty.
  Result<PeriodUse> period_use(const TenantId& tenant, const KeyId& key, WallTime now) const;

  // Visits the records with from <= finished < to, oldest first, until `visit` returns false.
  Result<void> scan(WallTime from, WallTime to,
                    const std::function<bool(const UsageRecord&)>& visit) const;

 private:
  struct Waiting {
    std::vector<UsageRecord> records;
    std::vector<Done> done;  // of each
  };

  enum class Patience : std::uint8_t { kNone, kAny };

  Result<void> write_or_keep(std::span<const UsageRecord> records);
  void keep(const Error& error, std::span<const UsageRecord> records) TESSERA_REQUIRES(mutex_);
  Result<void> write_each(std::span<const UsageRecord> records) TESSERA_REQUIRES(mutex_);
  Result<void> write(std::span<const UsageRecord> records) TESSERA_REQUIRES(mutex_);
  Result<bool> write(std::span<const UsageRecord> records, Patience patience)
      TESSERA_REQUIRES(mutex_);
  Result<bool> write(const Batch& batch, Patience patience);
  Result<void> find_end() TESSERA_REQUIRES(mutex_);
  Result<void> write_unwritten() TESSERA_REQUIRES(mutex_);
  bool wait_for_records();
  void write_waiting();
  void sync_periodically(const std::stop_token& stop);
  void close();

  Store& store_;
  const std::unique_ptr<UsageBooks> books_;
  mutable Mutex mutex_;                                       // one batch of records at a time
  std::unique_ptr<ChainEnd> end_ TESSERA_GUARDED_BY(mutex_);  // null: to be read
  RecentRequests recent_ TESSERA_GUARDED_BY(mutex_);          // as of end_
  std::deque<UsageRecord> unwritten_ TESSERA_GUARDED_BY(mutex_);
  bool dirty_ TESSERA_GUARDED_BY(mutex_) = false;
  std::atomic<std::chrono::steady_clock::rep> synced_at_;
  std::atomic<std::chrono::steady_clock::rep> rests_until_ = 0;  // from writing at once
  Mutex sleep_;                                                  // the syncer's
  std::condition_variable_any wake_;
  std::mutex queue_;
  Waiting waiting_;          // guarded by queue_
  bool is_closing_ = false;  // guarded by queue_
  std::condition_variable has_waiting_;
  std::jthread syncer_;  // last, with the next: they stop before the rest is destroyed
  std::jthread writer_;
};

// Records summed up by time and by what the caller groups by, as GET /v1/organization/usage wants.
struct UsageQuery {
  WallTime from = {};
  WallTime to = {};
  std::chrono::seconds bucket_width = {};
  std::set<std::string, std::less<>> tenants = {};  // only these three; empty: all
  std::set<std::string, std::less<>> keys = {};
  std::set<std::string, std::less<>> models = {};  // "support-bot@7", or "support-bot" for all
  std::optional<std::string> operation = {};       // only this one; "" are completions
  bool by_tenant = false;
  bool by_key = false;
  bool by_model = false;
  bool by_adapter = false;
  bool by_tier = false;
};

struct UsageGroup {
  TenantId tenant = {};  // the fields that are not grouped by are empty
  KeyId key = {};
  std::string model = {};
  std::string adapter = {};
  std::string service_tier = {};
  UsageTotals totals = {};
};

struct UsageBucket {
  WallTime start;
  WallTime end;
  std::vector<UsageGroup> groups;  // sorted; empty if nothing finished in this time
};

// Buckets from `from` to `to` without gaps; the last may be shorter. At most kMaxUsageBuckets.
// Errors: kInvalidValue if the times or the width make no sense or too many buckets.
inline constexpr std::int64_t kMaxUsageBuckets = 10'000;
Result<std::vector<UsageBucket>> usage_buckets(const UsageLedger& ledger, const UsageQuery& query);

}  // namespace tessera

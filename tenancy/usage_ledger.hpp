// usage_ledger.hpp — what each request consumed, written exactly once.
//
// A record and the totals it changes go into the store in one batch, on the expectation that no
// record of that request is there yet: a repeated call changes nothing, and the totals are the sum
// of the records at every instant, after every crash.
//
// Durability: record() returns once the batch is in the operating system's hands, so it survives
// kill -9; call it before the last byte of an answer is sent. Power loss can take the records since
// the last sync; a background thread syncs every kSyncInterval, and flush() at once.
//
// Each record is linked into a hash chain (tenancy/hash_chain.hpp).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/store.hpp"
#include "tenancy/meter.hpp"
#include "tenancy/money.hpp"

namespace tessera {

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
  Money cost = {};                // by the price table of the moment
  std::string finish = {};        // "stop", "length", "client_closed_request" or an error's code
  WallTime started = {};
  WallTime finished = {};

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

  explicit UsageLedger(Store& store);
  ~UsageLedger();  // syncs what is not yet synced
  UsageLedger(const UsageLedger&) = delete;
  UsageLedger& operator=(const UsageLedger&) = delete;

  // Appends `record` and adds it to the totals of its tenant, adapter and days; does nothing if
  // that request is recorded already. Errors: those of Store; then nothing was written.
  Result<void> record(const UsageRecord& record);

  // Makes everything recorded so far survive power loss. Errors: those of Store.
  Result<void> flush();

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
  void sync_periodically(const std::stop_token& stop);

  Store& store_;
  Mutex mutex_;  // totals are read, changed and written under it
  bool dirty_ TESSERA_GUARDED_BY(mutex_) = false;
  std::condition_variable_any wake_;
  std::jthread syncer_;  // last: stops before the rest is destroyed
};

// Records summed up by time and by what the caller groups by, as GET /v1/organization/usage wants.
struct UsageQuery {
  WallTime from;
  WallTime to;
  std::chrono::seconds bucket_width;
  std::optional<TenantId> tenant = {};  // only this one
  bool by_tenant = false;
  bool by_key = false;
  bool by_model = false;
  bool by_adapter = false;
};

struct UsageGroup {
  TenantId tenant = {};  // the fields that are not grouped by are empty
  KeyId key = {};
  std::string model = {};
  std::string adapter = {};
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

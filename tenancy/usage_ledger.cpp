#include "tenancy/usage_ledger.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "storage/keys.hpp"
#include "storage/log.hpp"
#include "tenancy/hash_chain.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

// The totals under `key`, zero if there are none.
Result<UsageTotals> totals_at(const Store& store, const std::string& key) {
  const auto found = store.get(Family::kLedger, key);
  if (!found) return found.error();
  if (!*found) return UsageTotals();
  return decode<UsageTotals>(**found);
}

// Adds to `batch` the totals under `key` with `more` added to them.
Result<void> add_totals(const Store& store, Batch& batch, const std::string& key,
                        const UsageTotals& more) {
  auto totals = totals_at(store, key);
  if (!totals) return totals.error();
  *totals += more;
  batch.put(Family::kLedger, key, encode(*totals));
  return {};
}

std::uint32_t number_of(std::chrono::sys_days day) {
  return static_cast<std::uint32_t>(day.time_since_epoch().count());
}

std::int64_t tokens_of(const UsageTotals& totals) {
  return totals.prompt_tokens + totals.completion_tokens;
}

}  // namespace

UsageTotals& UsageTotals::operator+=(const UsageTotals& other) {
  requests += other.requests;
  prompt_tokens += other.prompt_tokens;
  cached_tokens += other.cached_tokens;
  completion_tokens += other.completion_tokens;
  cost += other.cost;
  return *this;
}

UsageTotals totals_of(const UsageRecord& record) {
  return {.requests = 1,
          .prompt_tokens = record.prompt_tokens,
          .cached_tokens = record.cached_tokens,
          .completion_tokens = record.completion_tokens,
          .cost = record.cost};
}

UsageLedger::UsageLedger(Store& store)
    : store_(store), syncer_([this](const std::stop_token& stop) { sync_periodically(stop); }) {}

UsageLedger::~UsageLedger() {
  syncer_.request_stop();
  syncer_.join();
  if (auto flushed = flush(); !flushed) {
    log_error("ledger_not_synced", {{"error", flushed.error().message}});
  }
}

Result<void> UsageLedger::record(const UsageRecord& record) {
  Batch batch;
  batch.expect(Family::kLedger, keys::usage_by_request(record.request.str()), std::nullopt)
      .put(Family::kLedger, keys::usage_by_request(record.request.str()),
           keys::big_endian(record.finished));

  const MutexLock lock(mutex_);
  auto appended = append_to_chain(store_, Chain::kUsage,
                                  keys::usage_record(record.finished, record.request.str()),
                                  encode(record), batch);
  if (!appended) return appended;
  const std::string& tenant = record.tenant.str();
  const std::uint32_t day = number_of(day_of(record.started));
  for (const std::string& key :
       {keys::totals_of_tenant(tenant), keys::totals_of_adapter(tenant, record.adapter),
        keys::totals_of_day(tenant, "", day), keys::totals_of_day(tenant, record.key.str(), day)}) {
    if (auto added = add_totals(store_, batch, key, totals_of(record)); !added) return added;
  }
  auto written = store_.write(batch, Durability::kBuffered);
  if (!written && written.error().code == Code::kPreconditionFailed) return {};  // again
  if (written) dirty_ = true;
  return written;
}

Result<void> UsageLedger::flush() {
  {
    const MutexLock lock(mutex_);
    if (!std::exchange(dirty_, false)) return {};
  }
  auto synced = store_.sync();
  if (!synced) {
    const MutexLock lock(mutex_);
    dirty_ = true;
  }
  return synced;
}

void UsageLedger::sync_periodically(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      const MutexLock lock(mutex_);
      wake_.wait_for(mutex_, stop, kSyncInterval, [] { return false; });
    }
    if (auto flushed = flush(); !flushed) {
      log_error("ledger_not_synced", {{"error", flushed.error().message}});
    }
  }
}

Result<UsageTotals> UsageLedger::totals_by_tenant(const TenantId& tenant) const {
  return totals_at(store_, keys::totals_of_tenant(tenant.str()));
}

Result<std::vector<std::pair<std::string, UsageTotals>>> UsageLedger::adapters_of(
    const TenantId& tenant) const {
  std::vector<std::pair<std::string, UsageTotals>> adapters;
  const std::string prefix = keys::adapter_totals(tenant.str());
  const auto scanned = scan_records<UsageTotals>(
      store_, Family::kLedger, prefix, "", [&](std::string_view key, const UsageTotals& totals) {
        adapters.emplace_back(key.substr(prefix.size()), totals);
        return true;
      });
  if (!scanned) return scanned.error();
  return adapters;
}

Result<PeriodUse> UsageLedger::period_use(const TenantId& tenant, const KeyId& key,
                                          WallTime now) const {
  const std::uint32_t today = number_of(day_of(now));
  const std::uint32_t first = number_of(day_of(start_of(Period::kMonth, now)));
  PeriodUse use;
  const auto scanned = scan_records<UsageTotals>(
      store_, Family::kLedger, keys::totals_of_days(tenant.str(), key.str()),
      keys::totals_of_day(tenant.str(), key.str(), first),
      [&](std::string_view at, const UsageTotals& totals) {
        const std::uint32_t day = keys::number_at_end(at);
        if (day > today) return false;
        use.tokens_this_month += tokens_of(totals);
        use.spend_this_month += totals.cost;
        if (day < today) return true;
        use.requests_today = totals.requests;
        use.tokens_today = tokens_of(totals);
        return true;
      });
  if (!scanned) return scanned.error();
  return use;
}

Result<void> UsageLedger::scan(WallTime from, WallTime to,
                               const std::function<bool(const UsageRecord&)>& visit) const {
  return scan_records<UsageRecord>(store_, Family::kLedger, keys::usage_records(),
                                   keys::usage_records_from(from),
                                   [&](std::string_view, const UsageRecord& record) {
                                     return record.finished < to && visit(record);
                                   });
}

// Buckets.

namespace {

using GroupKey = std::tuple<std::string, std::string, std::string, std::string>;

GroupKey group_of(const UsageRecord& record, const UsageQuery& query) {
  return {query.by_tenant ? record.tenant.str() : "", query.by_key ? record.key.str() : "",
          query.by_model ? record.model : "", query.by_adapter ? record.adapter : ""};
}

std::vector<UsageGroup> to_groups(const std::map<GroupKey, UsageTotals>& sums) {
  std::vector<UsageGroup> groups;
  for (const auto& [key, totals] : sums) {
    const auto& [tenant, api_key, model, adapter] = key;
    groups.push_back({TenantId(tenant), KeyId(api_key), model, adapter, totals});
  }
  return groups;
}

}  // namespace

Result<std::vector<UsageBucket>> usage_buckets(const UsageLedger& ledger, const UsageQuery& query) {
  if (query.to < query.from || query.bucket_width.count() < 1) {
    return Error{Code::kInvalidValue, "the end lies before the start, or the width is not positive",
                 "start_time"};
  }
  const std::chrono::microseconds width = query.bucket_width;
  const std::int64_t num_buckets = (query.to - query.from + width - WallTime::duration(1)) / width;
  if (num_buckets > kMaxUsageBuckets) {
    return Error{Code::kInvalidValue, "too many buckets: ask for less time or wider buckets",
                 "bucket_width"};
  }

  std::vector<std::map<GroupKey, UsageTotals>> sums(static_cast<std::size_t>(num_buckets));
  const auto scanned = ledger.scan(query.from, query.to, [&](const UsageRecord& record) {
    if (query.tenant && record.tenant != *query.tenant) return true;
    const auto index = static_cast<std::size_t>((record.finished - query.from) / width);
    sums[index][group_of(record, query)] += totals_of(record);
    return true;
  });
  if (!scanned) return scanned.error();

  std::vector<UsageBucket> buckets;
  for (WallTime start = query.from; start < query.to; start += width) {
    buckets.push_back({start, std::min(start + width, query.to), to_groups(sums[buckets.size()])});
  }
  return buckets;
}

}  // namespace tessera

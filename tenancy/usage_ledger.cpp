#include "tenancy/usage_ledger.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

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

std::uint32_t number_of(std::chrono::sys_days day) {
  return static_cast<std::uint32_t>(day.time_since_epoch().count());
}

// Of all that the record adds to.
std::array<std::string, 4> totals_keys(const UsageRecord& record) {
  const std::string& tenant = record.tenant.str();
  const std::uint32_t day = number_of(day_of(record.started));
  return {keys::totals_of_tenant(tenant), keys::totals_of_adapter(tenant, record.adapter),
          keys::totals_of_day(tenant, "", day), keys::totals_of_day(tenant, record.key.str(), day)};
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

// At most kMaxTotals of them; those of ten thousand tenants, of their keys and days, are more.
class UsageLedger::Books {
 public:
  // What is pointed at is to be changed along with the store, or forgotten. Valid until the next
  // call, that of another's totals excepted. Errors: those of Store, kCorrupt.
  Result<ChainEnd*> end(const Store& store) {
    if (!end_) {
      auto read = chain_end(store, Chain::kUsage);
      if (!read) return read.error();
      end_ = *read;
      totals_.clear();
    }
    if (totals_.size() > kMaxTotals) totals_.clear();
    return &*end_;
  }
  struct Counted {
    UsageTotals totals;
    std::uint64_t changed_by = 0;  // the number of the last batch that has them
  };
  using Entry = std::pair<const std::string, Counted>;  // under its key in the store
  Result<Entry*> totals(const Store& store, std::string key) {
    const auto found = totals_.find(key);
    if (found != totals_.end()) return &*found;
    auto read = totals_at(store, key);
    if (!read) return read.error();
    return &*totals_.emplace(std::move(key), Counted{*read}).first;
  }
  std::uint64_t next_batch() { return ++num_batches_; }
  void forget() {
    end_.reset();
    totals_.clear();
  }

 private:
  static constexpr std::size_t kMaxTotals = 200'000;  // some 40 MB

  std::optional<ChainEnd> end_;
  std::uint64_t num_batches_ = 0;
  std::unordered_map<std::string, Counted> totals_;
};

UsageLedger::UsageLedger(Store& store)
    : store_(store),
      books_(std::make_unique<Books>()),
      syncer_([this](const std::stop_token& stop) { sync_periodically(stop); }),
      writer_([this](const std::stop_token& stop) { write_waiting(stop); }) {}

UsageLedger::~UsageLedger() {
  finish_waiting();
  syncer_.request_stop();
  syncer_.join();
  if (auto flushed = flush(); !flushed) {
    log_error("ledger_not_synced", {{"error", flushed.error().message}});
  }
}

Result<void> UsageLedger::record(const UsageRecord& record) {
  return write_or_keep(std::span(&record, 1));
}

void UsageLedger::finish_waiting() {
  if (!writer_.joinable()) return;
  writer_.request_stop();
  writer_.join();
}

void UsageLedger::record_later(UsageRecord record, Done done) {
  if (!writer_.joinable()) return done(write_or_keep(std::span(&record, 1)));
  {
    const std::lock_guard lock(queue_);
    waiting_.records.push_back(std::move(record));
    waiting_.done.push_back(std::move(done));
  }
  has_waiting_.notify_one();
}

// Until it is stopped and nobody waits.
void UsageLedger::write_waiting(const std::stop_token& stop) {
  for (;;) {
    Waiting now;
    {
      std::unique_lock lock(queue_);
      has_waiting_.wait(lock, stop, [this] { return !waiting_.records.empty(); });
      if (waiting_.records.empty()) return;
      std::swap(now, waiting_);
    }
    Result<void> written;
    try {
      written = write_or_keep(now.records);
    } catch (const std::exception& failure) {  // no memory, most likely
      written = Error{Code::kInternalError, failure.what()};
      const MutexLock lock(mutex_);
      books_->forget();  // they may be ahead of the store
    }
    for (const Done& done : now.done) done(written);
  }
}

Result<void> UsageLedger::write_or_keep(std::span<const UsageRecord> records) {
  const MutexLock lock(mutex_);
  auto written = write_unwritten();  // they come first in the chain
  if (written) written = write(records);
  if (written || written.error().code == Code::kCorrupt) return written;
  for (const UsageRecord& record : records) {
    if (unwritten_.size() < kMaxUnwritten) unwritten_.push_back(record);
  }
  return written;
}

std::size_t UsageLedger::num_unwritten() const {
  const MutexLock lock(mutex_);
  return unwritten_.size();
}

Result<void> UsageLedger::write_unwritten() {
  while (!unwritten_.empty()) {
    if (auto written = write(std::span(&unwritten_.front(), 1)); !written) return written;
    unwritten_.pop_front();
  }
  return {};
}

// All of them in one batch; one by one if one was there already.
Result<void> UsageLedger::write(std::span<const UsageRecord> records) {
  const auto end = books_->end(store_);
  if (!end) return end.error();
  Batch batch;
  const std::uint64_t number = books_->next_batch();
  std::vector<const Books::Entry*> changed;
  std::unordered_set<std::string_view> requests;
  for (const UsageRecord& record : records) {
    if (!requests.insert(record.request.str()).second) continue;
    std::string name = keys::usage_by_request(record.request.str());
    batch.expect(Family::kLedger, name, std::nullopt)
        .put(Family::kLedger, std::move(name), keys::big_endian(record.finished));
    append_to_chain(**end, Chain::kUsage, keys::usage_record(record.finished, record.request.str()),
                    encode(record), batch);
    for (std::string& key : totals_keys(record)) {
      const auto entry = books_->totals(store_, std::move(key));
      if (!entry) {
        books_->forget();
        return entry.error();
      }
      Books::Counted& counted = (*entry)->second;
      counted.totals += totals_of(record);
      if (std::exchange(counted.changed_by, number) != number) changed.push_back(*entry);
    }
  }
  for (const auto* entry : changed) {
    batch.put(Family::kLedger, entry->first, encode(entry->second.totals));
  }
  auto written = store_.write(batch, Durability::kBuffered);
  if (written) {
    dirty_ = true;
    return written;
  }
  books_->forget();
  return written.error().code == Code::kPreconditionFailed ? write_each(records) : written;
}

// One was recorded already, or another ledger has written to the chain.
Result<void> UsageLedger::write_each(std::span<const UsageRecord> records) {
  for (const UsageRecord& record : records) {
    const auto there = store_.get(Family::kLedger, keys::usage_by_request(record.request.str()));
    if (!there) return there.error();
    if (*there) continue;
    if (auto written = write(std::span(&record, 1)); !written) return written;
  }
  return {};
}

Result<void> UsageLedger::flush() {
  {
    const MutexLock lock(mutex_);
    if (auto written = write_unwritten(); !written) return written;
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
    if (query.operation && record.operation != *query.operation) return true;
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

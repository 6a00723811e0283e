#include "tenancy/usage_ledger.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "storage/background.hpp"
#include "storage/keys.hpp"
#include "storage/log.hpp"
#include "tenancy/hash_chain.hpp"
#include "tenancy/records.hpp"
#include "tenancy/usage_books.hpp"

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Between two steps of a fold: whoever serves has most of the time.
constexpr std::chrono::milliseconds kFoldPause{3};

std::uint32_t number_of(std::chrono::sys_days day) {
  return static_cast<std::uint32_t>(day.time_since_epoch().count());
}

void put_charge(const KeyCharge& charge, Batch& batch) {
  const std::uint32_t day = number_of(day_of(charge.begun));
  batch.put(Family::kLedger, keys::key_charge(day, charge.place), encode(charge));
}

// Requests that were recorded by the time of the end were made by then, but for what a clock that
// was set, and threads that overtake each other, put out of order.
constexpr std::chrono::seconds kClockSlack{10};

// Until when requests may have been made that are recorded up to `end`.
Result<WallTime> time_of_link(const Store& store, const ChainEnd& end) {
  if (end.number == 0) return WallTime::min();
  std::string key;
  auto scanned =
      scan_chain(store, Chain::kUsage, end.number, [&](std::uint64_t, std::string_view record_key) {
        key = record_key;
        return false;
      });
  if (!scanned) return scanned.error();
  const auto text = store.get(Family::kLedger, key);
  if (!text) return text.error();
  if (!*text) return Error{Code::kCorrupt, "the last usage record is gone"};
  const auto record = decode<UsageRecord>(**text);
  if (!record) return record.error();
  return record->finished + kClockSlack;
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
    : store_(store),
      books_(std::make_unique<UsageBooks>(store)),
      synced_at_(std::chrono::steady_clock::now().time_since_epoch().count()),
      syncer_([this](const std::stop_token& stop) { sync_periodically(stop); }),
      writer_([this] { write_waiting(); }) {
  // What a kill has left to add up is read now, not at the first request, which tells a failure.
  (void)books_->catch_up();
}

UsageLedger::~UsageLedger() {
  finish_waiting();
  syncer_.request_stop();
  syncer_.join();
  close();
}

// Leaves nothing to make up for.
void UsageLedger::close() {
  Result<bool> folded = true;
  while (folded && *folded) folded = books_->fold_some(true);
  auto flushed = flush();
  if (folded && flushed) return;
  log_error("ledger_not_synced",
            {{"error", folded ? flushed.error().message : folded.error().message}});
}

Result<void> UsageLedger::record(const UsageRecord& record) {
  return write_or_keep(std::span(&record, 1));
}

std::optional<Result<void>> UsageLedger::record_at_once(const UsageRecord& record) {
  const auto begun = SteadyClock::now();
  if (begun.time_since_epoch().count() < rests_until_.load(std::memory_order_relaxed)) return {};
  if (!mutex_.try_lock()) return {};
  const MutexLock lock(mutex_, std::adopt_lock);
  if (!unwritten_.empty()) return {};  // they come first in the chain
  const auto written = write(std::span(&record, 1), Patience::kNone);
  const auto ended = SteadyClock::now();
  if (ended - begun >= kLongWrite) {
    const auto rested = ended + kRestAfter * (ended - begun);
    rests_until_.store(rested.time_since_epoch().count(), std::memory_order_relaxed);
  }
  if (written && !*written) return {};
  if (written) return Result<void>();
  keep(written.error(), std::span(&record, 1));
  return written.error();
}

void UsageLedger::finish_waiting() {
  if (!writer_.joinable()) return;
  {
    const std::lock_guard lock(queue_);
    is_closing_ = true;
  }
  has_waiting_.notify_one();
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

// False if it is closed and nobody waits.
bool UsageLedger::wait_for_records() {
  std::unique_lock lock(queue_);
  const auto has_some = [this] { return !waiting_.records.empty(); };
  if (!has_some()) has_waiting_.wait(lock, [&] { return is_closing_ || has_some(); });
  return has_some();
}

void UsageLedger::write_waiting() {
  let_wakers_go_on();  // a batch takes all that they bring
  Waiting now;
  for (;;) {
    if (!wait_for_records()) return;
    {
      const std::lock_guard lock(queue_);
      std::swap(now, waiting_);
    }
    Result<void> written;
    try {
      written = write_or_keep(now.records);
    } catch (const std::exception& failure) {  // no memory, most likely
      written = Error{Code::kInternalError, failure.what()};
      const MutexLock lock(mutex_);
      end_.reset();  // it may be behind the store
    }
    for (const Done& done : now.done) done(written);
    now.records.clear();
    now.done.clear();
  }
}

Result<void> UsageLedger::write_or_keep(std::span<const UsageRecord> records) {
  const MutexLock lock(mutex_);
  auto written = write_unwritten();  // they come first in the chain
  if (written) written = write(records);
  if (!written) keep(written.error(), records);
  return written;
}

// What the store could not take, and may take later.
void UsageLedger::keep(const Error& error, std::span<const UsageRecord> records) {
  if (error.code == Code::kCorrupt) return;
  for (const UsageRecord& record : records) {
    if (unwritten_.size() < kMaxUnwritten) unwritten_.push_back(record);
  }
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

// Where the chain ends, and the books with it.
Result<void> UsageLedger::find_end() {
  if (end_) return {};
  auto end = chain_end(store_, Chain::kUsage);
  if (!end) return end.error();
  const auto last = time_of_link(store_, *end);
  if (!last) return last.error();
  if (auto caught_up = books_->catch_up(); !caught_up) return caught_up;
  recent_.begin(*last);
  end_ = std::make_unique<ChainEnd>(*end);
  return {};
}

Result<void> UsageLedger::write(std::span<const UsageRecord> records) {
  if (auto written = write(records, Patience::kAny); !written) return written.error();
  return {};
}

// All of them in one batch; one by one if one was there already. False if that would have to wait
// and there is no patience for it.
Result<bool> UsageLedger::write(std::span<const UsageRecord> records, Patience patience) {
  if (auto found = find_end(); !found) return found.error();
  Batch batch;
  ChainAppender chain(Chain::kUsage, *end_, batch);
  books_->begin(batch);
  struct Linked {
    const UsageRecord* record;
    std::uint64_t number;
    UsageBooks::Changes changes;
  };
  std::vector<Linked> linked;
  linked.reserve(records.size());
  std::unordered_set<std::string_view> requests;
  for (const UsageRecord& record : records) {
    if (records.size() > 1 && !requests.insert(record.request.str()).second) continue;
    const auto is_recorded = recent_.is_recorded(record.request);
    if (is_recorded == true) continue;
    const auto changes = books_->prepare(record);
    if (!changes) return changes.error();
    std::string name = keys::usage_by_request(record.request.str());
    if (!is_recorded) batch.expect(Family::kLedger, name, std::nullopt);
    batch.put(Family::kLedger, std::move(name), keys::big_endian(record.finished));
    if (record.key_charge) put_charge(*record.key_charge, batch);
    const auto number =
        chain.append(keys::usage_record(record.finished, record.request.str()), encode(record));
    linked.push_back({.record = &record, .number = number, .changes = *changes});
  }
  if (linked.empty()) return true;
  const ChainEnd end = chain.finish();
  const auto written = write(batch, patience);
  if (!written) {
    end_.reset();
    if (written.error().code != Code::kPreconditionFailed) return written.error();
    if (auto each = write_each(records); !each) return each.error();
    return true;
  }
  if (!*written) return false;
  for (const Linked& each : linked) {
    books_->add(each.number, *each.record, each.changes);
    recent_.note_recorded(each.record->request);
  }
  *end_ = end;
  dirty_ = true;
  return true;
}

Result<bool> UsageLedger::write(const Batch& batch, Patience patience) {
  if (patience == Patience::kNone) return store_.write_at_once(batch);
  if (auto written = store_.write(batch, Durability::kBuffered); !written) return written.error();
  return true;
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
  const auto begun = std::chrono::steady_clock::now();
  bool dirty = false;
  {
    const MutexLock lock(mutex_);
    if (auto written = write_unwritten(); !written) return written;
    dirty = std::exchange(dirty_, false);
  }
  auto synced = dirty ? store_.sync() : Result<void>();
  if (synced) {
    synced_at_.store(begun.time_since_epoch().count(), std::memory_order_relaxed);
  } else {
    const MutexLock lock(mutex_);
    dirty_ = true;
  }
  return synced;
}

std::chrono::nanoseconds UsageLedger::sync_age() const {
  const SteadyClock::duration synced(synced_at_.load(std::memory_order_relaxed));
  return SteadyClock::now().time_since_epoch() - synced;
}

// Folds the books a little at a time, too.
void UsageLedger::sync_periodically(const std::stop_token& stop) {
  step_back();
  auto next_sync = std::chrono::steady_clock::now() + kSyncInterval;
  std::chrono::milliseconds pause = kSyncInterval;
  while (!stop.stop_requested()) {
    {
      const MutexLock lock(sleep_);
      wake_.wait_for(sleep_, stop, pause, [] { return false; });
    }
    const auto more = books_->fold_some(false);
    pause = more && *more ? kFoldPause : kSyncInterval;
    if (!more) log_error("totals_not_written", {{"error", more.error().message}});
    if (std::chrono::steady_clock::now() < next_sync) continue;
    next_sync += kSyncInterval;
    if (auto flushed = flush(); !flushed) {
      log_error("ledger_not_synced", {{"error", flushed.error().message}});
    }
  }
}

Result<UsageTotals> UsageLedger::totals_by_tenant(const TenantId& tenant) const {
  return books_->of_tenant(tenant.str());
}

Result<std::vector<std::pair<std::string, UsageTotals>>> UsageLedger::adapters_of(
    const TenantId& tenant) const {
  auto adapters = books_->of_adapters(tenant.str());
  if (!adapters) return adapters.error();
  return std::vector<std::pair<std::string, UsageTotals>>(adapters->begin(), adapters->end());
}

Result<PeriodUse> UsageLedger::period_use(const TenantId& tenant, const KeyId& key,
                                          WallTime now) const {
  const std::uint32_t today = number_of(day_of(now));
  const std::uint32_t first = number_of(day_of(start_of(Period::kMonth, now)));
  const auto days = books_->of_days(tenant.str(), key.str(), first, today);
  if (!days) return days.error();
  PeriodUse use;
  for (const auto& [day, totals] : *days) {
    use.tokens_this_month += tokens_of(totals);
    use.spend_this_month += totals.cost;
    if (day < today) continue;
    use.requests_today = totals.requests;
    use.tokens_today = tokens_of(totals);
  }
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

using GroupKey = std::tuple<std::string, std::string, std::string, std::string, std::string>;

std::string tier_of(const UsageRecord& record) {
  return record.service_tier.empty() ? "default" : record.service_tier;
}

GroupKey group_of(const UsageRecord& record, const UsageQuery& query) {
  return {query.by_tenant ? record.tenant.str() : "", query.by_key ? record.key.str() : "",
          query.by_model ? record.model : "", query.by_adapter ? record.adapter : "",
          query.by_tier ? tier_of(record) : ""};
}

// A name without a version means all of them.
bool is_asked_model(const UsageQuery& query, const std::string& model) {
  return query.models.empty() || query.models.contains(model) ||
         query.models.contains(std::string_view(model).substr(0, model.find('@')));
}

bool asks_for(const UsageQuery& query, const UsageRecord& record) {
  const auto is_one = [](const auto& wanted, const std::string& value) {
    return wanted.empty() || wanted.contains(value);
  };
  return is_one(query.tenants, record.tenant.str()) && is_one(query.keys, record.key.str()) &&
         is_asked_model(query, record.model) &&
         (!query.operation || record.operation == *query.operation);
}

std::vector<UsageGroup> to_groups(const std::map<GroupKey, UsageTotals>& sums) {
  std::vector<UsageGroup> groups;
  for (const auto& [key, totals] : sums) {
    const auto& [tenant, api_key, model, adapter, tier] = key;
    groups.push_back({TenantId(tenant), KeyId(api_key), model, adapter, tier, totals});
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
    if (!asks_for(query, record)) return true;
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

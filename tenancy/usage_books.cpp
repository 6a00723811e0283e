#include "tenancy/usage_books.hpp"

#include <algorithm>
#include <iterator>
#include <optional>

#include "storage/keys.hpp"
#include "tenancy/calendar.hpp"
#include "tenancy/hash_chain.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

std::uint32_t day_of_start(const UsageRecord& record) {
  return static_cast<std::uint32_t>(day_of(record.started).time_since_epoch().count());
}

// Of all that the record adds to.
std::array<std::string, 4> totals_keys(const UsageRecord& record) {
  const std::string& tenant = record.tenant.str();
  const std::uint32_t day = day_of_start(record);
  return {keys::totals_of_tenant(tenant), keys::totals_of_adapter(tenant, record.adapter),
          keys::totals_of_day(tenant, "", day), keys::totals_of_day(tenant, record.key.str(), day)};
}

// The same for all records that add to the same totals.
std::string callers_name(const UsageRecord& record) {
  std::string name = keys::big_endian(std::uint64_t{day_of_start(record)});
  for (const std::string& part : {record.key.str(), record.tenant.str(), record.adapter}) {
    name.append(part).push_back('\0');
  }
  return name;
}

// None if the store has no such number: its totals are an older build's, and whole.
Result<std::optional<std::uint64_t>> stored_through(const Store& store) {
  const auto text = store.get(Family::kLedger, keys::totals_through());
  if (!text) return text.error();
  if (!*text) return std::optional<std::uint64_t>();
  std::uint64_t number = 0;
  if ((*text)->size() != sizeof number) {
    return Error{Code::kCorrupt, "the number of the records that were added up is damaged"};
  }
  for (const char byte : **text) number = number << 8 | static_cast<std::uint8_t>(byte);
  return std::optional(number);
}

void put_through(std::uint64_t number, Batch& batch) {
  batch.put(Family::kLedger, keys::totals_through(), keys::big_endian(number));
}

}  // namespace

Result<void> UsageBooks::catch_up() {
  const MutexLock lock(mutex_);
  return catch_up_here();
}

Result<void> UsageBooks::catch_up_here() {
  const auto end = chain_end(store_, Chain::kUsage);
  if (!end) return end.error();
  if (!is_open_) {
    if (auto opened = open(); !opened) return opened;
  }
  if (end->number <= counted_) return {};
  std::vector<std::string> record_keys;
  auto scanned = scan_chain(store_, Chain::kUsage, counted_ + 1,
                            [&](std::uint64_t number, std::string_view record_key) {
                              if (number > end->number) return false;
                              record_keys.emplace_back(record_key);
                              return true;
                            });
  if (!scanned) return scanned;
  for (const std::string& record_key : record_keys) {
    if (auto counted = count(counted_ + 1, record_key); !counted) return counted;
  }
  return {};
}

Result<void> UsageBooks::open() {
  const auto through = stored_through(store_);
  if (!through) return through.error();
  const auto end = chain_end(store_, Chain::kUsage);
  if (!end) return end.error();
  is_told_ = through->has_value();
  counted_ = folded_ = through->value_or(end->number);
  is_open_ = true;
  return {};
}

// Adds a record of the store.
Result<void> UsageBooks::count(std::uint64_t number, std::string_view record_key) {
  const auto text = store_.get(Family::kLedger, record_key);
  if (!text) return text.error();
  if (!*text) return Error{Code::kCorrupt, "a usage record that was not added up yet is gone"};
  const auto record = decode<UsageRecord>(**text);
  if (!record) return record.error();
  const auto changes = prepare_here(*record);
  if (!changes) return changes.error();
  add_here(number, *record, *changes);
  return {};
}

// What need not be here goes once that is the most of it.
void UsageBooks::begin(Batch& batch) {
  const MutexLock lock(mutex_);
  if (!is_told_) put_through(folded_, batch);
  const std::size_t num_needed = changed_.size() + folding_.size() + kFoldedAtOnce;
  if (totals_.size() <= kMaxTotals || totals_.size() <= 2 * num_needed) return;
  std::erase_if(totals_, [](const Entry& entry) { return !entry.second.changed; });
  known_.clear();
}

Result<UsageBooks::Changes> UsageBooks::prepare(const UsageRecord& record) {
  const MutexLock lock(mutex_);
  return prepare_here(record);
}

// Who asks again with the same key changes the same totals.
Result<UsageBooks::Changes> UsageBooks::prepare_here(const UsageRecord& record) {
  std::string name = callers_name(record);
  const auto known = known_.find(name);
  if (known != known_.end()) return known->second;
  auto changes = changes_of(record);
  if (changes) known_.emplace(std::move(name), *changes);
  return changes;
}

Result<UsageBooks::Changes> UsageBooks::changes_of(const UsageRecord& record) {
  Changes changes{};
  auto keys = totals_keys(record);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto found = entry(std::move(keys[i]));
    if (!found) return found.error();
    changes[i] = *found;
  }
  return changes;
}

void UsageBooks::add(std::uint64_t number, const UsageRecord& record, const Changes& changes) {
  const MutexLock lock(mutex_);
  is_told_ = true;
  if (number > counted_) add_here(number, record, changes);
}

void UsageBooks::add_here(std::uint64_t number, const UsageRecord& record, const Changes& changes) {
  const UsageTotals added = totals_of(record);
  for (Entry* entry : changes) {
    Counted& counted = entry->second;
    if (number <= counted.through) continue;  // it was written when the fold had got so far
    counted.totals += added;
    counted.through = number;
    if (!std::exchange(counted.changed, true)) changed_.push_back(entry);
  }
  days_.insert(day_of_start(record));
  counted_ = number;
}

Result<UsageBooks::Entry*> UsageBooks::entry(std::string key) {
  const auto found = totals_.find(key);
  if (found != totals_.end()) return &*found;
  const auto text = store_.get(Family::kLedger, key);
  if (!text) return text.error();
  Counted counted;
  if (*text) {
    const auto stored = decode<CountedTotals>(**text);
    if (!stored) return stored.error();
    counted = Counted{*stored};
  }
  return &*totals_.emplace(std::move(key), counted).first;
}

Result<UsageTotals> UsageBooks::of_tenant(std::string_view tenant) {
  const MutexLock lock(mutex_);
  if (auto caught_up = catch_up_here(); !caught_up) return caught_up.error();
  const auto found = entry(keys::totals_of_tenant(tenant));
  if (!found) return found.error();
  return (*found)->second.totals;
}

Result<std::map<std::string, UsageTotals>> UsageBooks::of_adapters(std::string_view tenant) {
  const std::string prefix = keys::adapter_totals(tenant);
  Found found;
  {
    const MutexLock lock(mutex_);
    if (auto caught_up = catch_up_here(); !caught_up) return caught_up.error();
    for (const auto& [key, counted] : totals_) {
      if (key.starts_with(prefix)) found.emplace(key, counted);
    }
  }
  if (auto added = add_stored(prefix, "", found); !added) return added.error();
  std::map<std::string, UsageTotals> adapters;
  for (const auto& [key, counted] : found) {
    if (counted.totals.requests > 0) adapters.emplace(key.substr(prefix.size()), counted.totals);
  }
  return adapters;
}

Result<std::map<std::uint32_t, UsageTotals>> UsageBooks::of_days(std::string_view tenant,
                                                                 std::string_view key,
                                                                 std::uint32_t first,
                                                                 std::uint32_t last) {
  Found found;
  {
    const MutexLock lock(mutex_);
    if (auto caught_up = catch_up_here(); !caught_up) return caught_up.error();
    for (const std::uint32_t day : days_) {
      const auto at = totals_.find(keys::totals_of_day(tenant, key, day));
      if (at != totals_.end()) found.emplace(at->first, at->second);
    }
  }
  const std::string prefix = keys::totals_of_days(tenant, key);
  auto added = add_stored(prefix, keys::totals_of_day(tenant, key, first), found);
  if (!added) return added.error();
  std::map<std::uint32_t, UsageTotals> days;
  for (const auto& [at, counted] : found) {
    const std::uint32_t day = keys::number_at_end(at);
    if (day >= first && day <= last) days.emplace(day, counted.totals);
  }
  return days;
}

// What the store has and `found`, which was here before it was looked at, has not or has older.
Result<void> UsageBooks::add_stored(std::string_view prefix, std::string_view start,
                                    Found& found) const {
  return scan_records<CountedTotals>(store_, Family::kLedger, prefix, start,
                                     [&](std::string_view key, const CountedTotals& stored) {
                                       const auto [at, is_new] = found.emplace(key, stored);
                                       if (!is_new && stored.through > at->second.through)
                                         at->second = stored;
                                       return true;
                                     });
}

// False if a fold is not due. Beside each other totals cost the store half of what they cost one
// here and one there; to put so many in order takes a while, and nobody has to wait for it.
bool UsageBooks::begin_fold(bool wanted) {
  std::vector<Entry*> due;
  {
    const MutexLock lock(mutex_);
    if (!folding_.empty()) return true;
    if (!wanted && counted_ - folded_ < kMaxUnfolded) return false;
    due.swap(changed_);
    folding_to_ = counted_;
  }
  std::ranges::sort(due, std::ranges::greater(),
                    [](const Entry* entry) -> const std::string& { return entry->first; });
  const MutexLock lock(mutex_);
  folding_.swap(due);
  return true;
}

// Totals that go on changing while they wait are written as they are by then.
std::vector<UsageBooks::Folded> UsageBooks::fold_next(Batch& batch) {
  const MutexLock lock(mutex_);
  std::vector<Folded> folded;
  while (!folding_.empty() && folded.size() < kFoldedAtOnce) {
    Entry& entry = *folding_.back();
    folding_.pop_back();
    batch.put(Family::kLedger, entry.first,
              encode(static_cast<const CountedTotals&>(entry.second)));
    folded.push_back({.entry = &entry, .through = entry.second.through});
  }
  if (folding_.empty() && folding_to_ > folded_) put_through(folding_to_, batch);
  return folded;
}

Result<bool> UsageBooks::fold_some(bool wanted) {
  if (!begin_fold(wanted)) return false;
  Batch batch;
  const auto folded = fold_next(batch);
  if (batch.puts.empty()) return false;
  auto written = store_.write(batch, Durability::kBuffered);
  const MutexLock lock(mutex_);
  for (const auto& [entry, through] : folded) {
    if (!written) {
      folding_.push_back(entry);
    } else if (entry->second.through != through) {
      changed_.push_back(entry);
    } else {
      entry->second.changed = false;
    }
  }
  if (!written) return written.error();
  if (folding_.empty()) folded_ = folding_to_;
  is_told_ |= folding_.empty();
  return !folding_.empty();
}

}  // namespace tessera

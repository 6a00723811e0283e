// usage_books.hpp — the totals of the usage ledger, in memory ahead of those in the store.
//
// A record changes four totals, and with ten thousand tenants hardly ever those that the last one
// changed: written with each record they were more than half of what it costs. Here they are added
// up, and written later, many records at once ("folded"): each with the number of the last record
// that it has, and when all are written the number that all of them have. What is not folded is
// made up for from the records, by the links of their chain: after a kill, and where another ledger
// has written to the store. So what is told is the sum of the records at every instant, and none is
// added twice.
//
// Thread-safe but where it is said; owned by the ledger. No call but fold_some() waits for a write.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "storage/mutex.hpp"
#include "storage/store.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

// A total as the store keeps it.
struct CountedTotals {
  UsageTotals totals = {};
  std::uint64_t through = 0;  // number of the last record that it has; 0: an older build's

  bool operator==(const CountedTotals&) const = default;
};

class UsageBooks {
 private:
  struct Counted : CountedTotals {
    bool changed = false;  // since the store has it; then it is in changed_, folding_ or on its way
  };

 public:
  static constexpr std::size_t kMaxUnfolded = 100'000;  // records; a start after a kill reads them
  static constexpr std::size_t kFoldedAtOnce = 64;  // totals: a record may have to wait for as many

  explicit UsageBooks(Store& store) : store_(store) {}

  // Adds what the store's chain has and the books have not. Errors: those of Store, kCorrupt.
  Result<void> catch_up();

  // The ledger's writer, one at a time: begin() a batch of records; prepare() each, which reads the
  // totals that it changes; when the batch is written add() each, which cannot fail. add() does
  // nothing if catch_up() was there first. Errors: those of Store, kCorrupt.
  using Entry = std::pair<const std::string, Counted>;  // under its key in the store
  using Changes = std::array<Entry*, 4>;                // valid until the next begin()
  void begin(Batch& batch);
  Result<Changes> prepare(const UsageRecord& record);
  void add(std::uint64_t number, const UsageRecord& record, const Changes& changes);

  // Zero if there is no record. Errors: those of Store, kCorrupt.
  Result<UsageTotals> of_tenant(std::string_view tenant);
  // By digest.
  Result<std::map<std::string, UsageTotals>> of_adapters(std::string_view tenant);
  // Of the tenant if `key` is empty, on the days from `first` to `last` (since 1970).
  Result<std::map<std::uint32_t, UsageTotals>> of_days(std::string_view tenant,
                                                       std::string_view key, std::uint32_t first,
                                                       std::uint32_t last);

  // Writes some of the totals that have changed if that is due, because many records have come, or
  // `wanted`. True if more is to be written. By one thread at a time. Errors: those of Store; the
  // next call tries again.
  Result<bool> fold_some(bool wanted);

 private:
  static constexpr std::size_t kMaxTotals = 200'000;  // that need not be here; some 40 MB

  // A total that is on its way to the store.
  struct Folded {
    Entry* entry;
    std::uint64_t through;
  };
  using Found = std::map<std::string, CountedTotals, std::less<>>;

  Result<void> catch_up_here() TESSERA_REQUIRES(mutex_);
  Result<void> open() TESSERA_REQUIRES(mutex_);
  Result<void> count(std::uint64_t number, std::string_view record_key) TESSERA_REQUIRES(mutex_);
  Result<Changes> prepare_here(const UsageRecord& record) TESSERA_REQUIRES(mutex_);
  Result<Changes> changes_of(const UsageRecord& record) TESSERA_REQUIRES(mutex_);
  void add_here(std::uint64_t number, const UsageRecord& record, const Changes& changes)
      TESSERA_REQUIRES(mutex_);
  Result<Entry*> entry(std::string key) TESSERA_REQUIRES(mutex_);
  bool begin_fold(bool wanted) TESSERA_EXCLUDES(mutex_);
  std::vector<Folded> fold_next(Batch& batch) TESSERA_EXCLUDES(mutex_);
  Result<void> add_stored(std::string_view prefix, std::string_view start, Found& found) const;

  Store& store_;
  mutable Mutex mutex_;
  bool is_open_ TESSERA_GUARDED_BY(mutex_) = false;
  bool is_told_ TESSERA_GUARDED_BY(mutex_) = false;       // to the store: folded_, or one before
  std::uint64_t counted_ TESSERA_GUARDED_BY(mutex_) = 0;  // number of the last record added
  std::uint64_t folded_ TESSERA_GUARDED_BY(mutex_) = 0;   // of the last that all stored totals have
  std::uint64_t folding_to_ TESSERA_GUARDED_BY(mutex_) = 0;  // the same once the fold is done
  std::unordered_map<std::string, Counted> totals_ TESSERA_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Changes> known_ TESSERA_GUARDED_BY(mutex_);  // by who asks
  std::vector<Entry*> changed_ TESSERA_GUARDED_BY(mutex_);
  std::vector<Entry*> folding_ TESSERA_GUARDED_BY(mutex_);   // what is left of the fold
  std::set<std::uint32_t> days_ TESSERA_GUARDED_BY(mutex_);  // of what was added
};

}  // namespace tessera

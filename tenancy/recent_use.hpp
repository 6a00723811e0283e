// recent_use.hpp — what was used in the last minutes before a start, so that rates go on.
//
// Buckets of a rate are in memory, and a process that was killed has lost them: with full ones
// every tenant would have its burst a second time. The ledger says what was used. The rebuilt level
// is meant to be no lower than the one that was lost: a request counts from when it ended, rounded
// up, though it was admitted before, and whoever used anything in the last kRecentWindow is taken
// to have had nothing left at its beginning, for a bucket that is used at its rate stays as low as
// it once was. That costs nobody anything whose burst is so many minutes'
// worth and who uses less than the rate.
//
// Not seen: what was still running when the process died, which is in no ledger and counts for
// nothing, as it does for the calendar's limits; and larger bursts used before that window by those
// who were silent in it. Times are the ledger's, of the wall clock.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"
#include "tenancy/meter.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

inline constexpr std::chrono::minutes kRecentWindow{2};
inline constexpr std::chrono::milliseconds kRecentGrain{100};  // what ends within it is one moment

// Immutable once read, hence thread-safe.
class RecentUses {
 public:
  // Errors: those of UsageLedger::scan.
  static Result<RecentUses> read(const UsageLedger& ledger, Now now);

  // Oldest first; empty if there is none. An empty key means all of the tenant's; a model is named
  // without version or alias.
  std::vector<RecentUse> of(const TenantId& tenant, const KeyId& key) const;
  std::vector<RecentUse> of_all() const;
  std::vector<RecentUse> of_model(const TenantId& tenant, std::string_view model) const;

 private:
  void add(const std::string& place, SteadyTime at, std::int64_t tokens);
  std::vector<RecentUse> find(const std::string& place) const;

  SteadyTime begin_ = {};  // of the window
  std::unordered_map<std::string, std::vector<RecentUse>> uses_;
};

}  // namespace tessera

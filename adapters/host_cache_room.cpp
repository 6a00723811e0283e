// host_cache_room.cpp — who has to go when one more adapter is to stay or a tenant may have less,
// and room that is lent and given back. A part of HostCache.
#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "adapters/host_cache.hpp"

namespace tessera {

HostCache::Pressure HostCache::take_pressure() {
  MutexLock lock(mutex_);
  Pressure pressure = std::exchange(pressure_, {});
  pressure.unfilled_bytes = unfilled();
  return pressure;
}

void HostCache::add_room(std::size_t bytes) {
  {
    MutexLock lock(mutex_);
    max_bytes_ += bytes;
  }
  forget_failures_for_room();
}

int HostCache::give_unfilled(std::size_t unit, int most, std::size_t keep) {
  MutexLock lock(mutex_);
  return lower_limit(unit, most, keep);
}

int HostCache::give_idle(std::size_t unit, int most) {
  MutexLock lock(mutex_);
  const std::size_t wanted = unit * static_cast<std::size_t>(most);
  for (const Entries::iterator& victim : idle_by_worth()) {
    if (unfilled() >= wanted) break;
    let_go(victim, garbage_);
  }
  if (!garbage_.empty()) has_work_.notify_one();
  return lower_limit(unit, most, 0);
}

int HostCache::lower_limit(std::size_t unit, int most, std::size_t keep) {
  const std::size_t spare = unfilled() - std::min(unfilled(), keep);
  const std::size_t given = std::min(spare / unit, static_cast<std::size_t>(most));
  max_bytes_ -= given * unit;
  return static_cast<int>(given);
}

std::size_t HostCache::unfilled() const {
  return max_bytes_ - std::min(max_bytes_, stats_.bytes);
}

// Those that may go, the one worth least first.
std::vector<HostCache::Entries::iterator> HostCache::idle_by_worth() {
  std::vector<Entries::iterator> idle;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const bool is_idle = entry->second.state == State::kReady && entry->second.pinned_by.empty() &&
                         entry->second.adapter.use_count() == 1;  // nobody can take one meanwhile
    if (is_idle) idle.push_back(entry);
  }
  std::ranges::sort(idle, {}, [](const Entries::iterator& entry) {
    return std::pair(entry->second.worth, entry->second.last_use);
  });
  return idle;
}

// What would be here once the victims have gone and the new one has come.
struct HostCache::Plan {
  struct Share {
    std::size_t adapters = 0;
    std::size_t bytes = 0;
  };

  std::vector<Entries::iterator> candidates;
  std::unordered_map<std::string, Share> held = {};
  std::size_t total = 0;
  std::vector<Entries::iterator> victims = {};

  void take(std::vector<Entries::iterator>::iterator victim) {
    const std::size_t freed = (*victim)->second.adapter->footprint();
    Share& share = held.at((*victim)->second.tenant);
    share.bytes -= freed;
    --share.adapters;
    total -= freed;
    victims.push_back(*victim);
    candidates.erase(victim);
  }

  // Within the tenant's allowance, at the cost of its own. False: those that it uses fill it.
  bool keep(const Allowance& allowed, const std::string& tenant) {
    while (exceeds(allowed, held.at(tenant))) {
      const auto victim = std::ranges::find_if(candidates, [&](const Entries::iterator& entry) {
        return entry->second.tenant == tenant;
      });
      if (victim == candidates.end()) return false;
      take(victim);
    }
    return true;
  }

  // Within `max_bytes`, at the cost of those first who have more than an equal share of them.
  bool fit(std::size_t max_bytes, std::size_t bytes, const std::string& tenant) {
    const std::size_t share = max_bytes / held.size();
    while (total > max_bytes) {
      auto victim = std::ranges::find_if(candidates, [&](const Entries::iterator& entry) {
        return held.at(entry->second.tenant).bytes > share;
      });
      if (victim == candidates.end() && held.at(tenant).bytes == bytes) victim = candidates.begin();
      if (victim == candidates.end()) return false;
      take(victim);
    }
    return true;
  }

  static bool exceeds(const Allowance& allowed, const Share& share) {
    return (allowed.adapters && std::cmp_greater(share.adapters, *allowed.adapters)) ||
           (allowed.bytes && std::cmp_greater(share.bytes, *allowed.bytes));
  }
};

// Evicts until `bytes` more of `tenant` fit, handing the pages to the caller; evicts nothing if
// they cannot be made to fit.
HostCache::Room HostCache::make_room(std::size_t bytes, const std::string& tenant,
                                     std::vector<Pin>& evicted) {
  if (bytes > config_.max_bytes) return Room::kTooLarge;
  const Allowance allowed = config_.allowance ? config_.allowance(tenant) : Allowance{};
  if (Plan::exceeds(allowed, {.adapters = 1, .bytes = bytes})) return Room::kBeyondAllowance;
  const auto found = held_by_tenant_.find(tenant);
  Plan::Share share{.adapters = 1, .bytes = bytes};
  if (found != held_by_tenant_.end()) {
    share.adapters += found->second.adapters.size();
    share.bytes += found->second.bytes;
  }
  if (stats_.bytes + bytes <= max_bytes_ && !Plan::exceeds(allowed, share)) return Room::kMade;

  Plan plan{.candidates = idle_by_worth(), .total = stats_.bytes + bytes};
  for (const auto& [name, held] : held_by_tenant_) {
    plan.held[name] = {.adapters = held.adapters.size(), .bytes = held.bytes};
  }
  plan.held[tenant] = share;
  if (!plan.keep(allowed, tenant)) return Room::kNoneOfAllowance;
  if (!plan.fit(max_bytes_, bytes, tenant)) {
    pressure_.missing_bytes = std::max(pressure_.missing_bytes, bytes);
    return Room::kNone;
  }
  for (const Entries::iterator& victim : plan.victims) {
    pressure_.evicted_bytes += victim->second.adapter->footprint();
    let_go(victim, evicted);
  }
  return Room::kMade;
}

struct HostCache::Own {
  Entries::iterator entry;
  bool is_kept;    // another tenant has pinned it
  bool is_pinned;  // its own has
  bool is_in_use;  // when it was looked at: it may have been released since
};

void HostCache::allowance_changed(std::string_view tenant) {
  MutexLock lock(mutex_);
  for (auto& [digest, entry] : entries_) {
    const bool was_refused = entry.state == State::kFailed && entry.tenant == tenant;
    if (was_refused) entry.retry_after = clock_.steady_now();
  }
  changed_.emplace(tenant);
  meet_allowances();
  change_is_new_ = true;
  has_work_.notify_one();
}

std::vector<AdapterDigest> HostCache::drop_excess() {
  MutexLock lock(mutex_);
  std::vector<AdapterDigest> in_use = meet_allowances();
  if (!garbage_.empty()) has_work_.notify_one();
  return in_use;
}

// Those in use of all tenants that are beyond their allowance.
std::vector<AdapterDigest> HostCache::meet_allowances() {
  std::vector<AdapterDigest> in_use;
  for (auto tenant = changed_.begin(); tenant != changed_.end();) {
    const std::vector<AdapterDigest> own = meet_allowance(*tenant);
    in_use.insert(in_use.end(), own.begin(), own.end());
    tenant = own.empty() ? changed_.erase(tenant) : std::next(tenant);
  }
  has_excess_.store(!changed_.empty(), std::memory_order_relaxed);
  return in_use;
}

// The same of one tenant; nothing if it is within its allowance, or will never be. What would have
// to go and cannot is marked, so that the tenant does not get it anew.
std::vector<AdapterDigest> HostCache::meet_allowance(const std::string& tenant) {
  const auto found = held_by_tenant_.find(tenant);
  if (found == held_by_tenant_.end()) return {};
  const Allowance allowed = config_.allowance ? config_.allowance(tenant) : Allowance{};
  Plan::Share share{.adapters = found->second.adapters.size(), .bytes = found->second.bytes};
  std::vector<AdapterDigest> in_use;
  bool waits = false;
  for (const Own& own : own_by_worth(tenant)) {
    const bool must_go = !own.is_kept && Plan::exceeds(allowed, share);
    own.entry->second.is_excess = must_go && own.is_in_use;
    waits = waits || own.entry->second.is_excess;
    if (own.is_in_use) in_use.push_back(own.entry->first);
    if (!must_go) continue;
    --share.adapters;
    share.bytes -= own.entry->second.adapter->footprint();
    if (!own.is_in_use) let_go(own.entry, garbage_);
  }
  return waits ? in_use : std::vector<AdapterDigest>();
}

// What is pinned after what is not, what is in use after what is not, the one worth least first.
std::vector<HostCache::Own> HostCache::own_by_worth(const std::string& tenant) {
  std::vector<Own> all;
  for (const AdapterDigest& digest : held_by_tenant_.at(tenant).adapters) {
    const auto entry = entries_.find(digest);
    const std::set<std::string>& pinned_by = entry->second.pinned_by;
    const bool is_pinned = pinned_by.contains(tenant);
    all.push_back({.entry = entry,
                   .is_kept = pinned_by.size() > (is_pinned ? 1U : 0U),
                   .is_pinned = is_pinned,
                   .is_in_use = entry->second.adapter.use_count() > 1});
  }
  std::ranges::sort(all, {}, [](const Own& own) {
    return std::tuple(own.is_pinned, own.is_in_use, own.entry->second.worth,
                      own.entry->second.last_use);
  });
  return all;
}

void HostCache::let_go(Entries::iterator victim, std::vector<Pin>& evicted) {
  worth_.evicted(victim->second.worth);
  evicted.push_back(victim->second.adapter);
  drop(victim);
  ++stats_.evictions;
}

}  // namespace tessera

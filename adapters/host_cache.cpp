#include "adapters/host_cache.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "storage/background.hpp"

namespace tessera {
namespace {

// When a tenant's rate is all that waits, or what is in use beyond an allowance.
constexpr std::chrono::milliseconds kLongestSleep{100};

LoadLimits load_limits(const HostCache::Config& config) {
  LoadLimits limits = config.loads;
  limits.max_loading_of_tenant =
      std::clamp(limits.max_loading_of_tenant, 1, std::max(1, config.num_loaders - 1));
  return limits;
}

}  // namespace

HostCache::HostCache(Load load, Config config, const Clock& clock)
    : load_(std::move(load)),
      config_(config),
      clock_(clock),
      queue_(load_limits(config)),
      max_bytes_(config.max_bytes) {
  assert(config.num_loaders >= 1);
  for (int i = 0; i < config.num_loaders; ++i) {
    loaders_.emplace_back([this](const std::stop_token& stop) {
      step_back();
      run_loader(stop);
    });
  }
}

HostCache::~HostCache() {
  for (std::jthread& loader : loaders_) loader.request_stop();
}

void HostCache::set_wake(std::function<void()> wake) {
  MutexLock lock(wake_mutex_);
  wake_ = std::move(wake);
}

HostCache::Lookup HostCache::get(const AdapterDigest& digest, std::string_view tenant) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) {
    start_load(digest, tenant);
    return {.state = State::kLoading};
  }
  Entry& entry = found->second;
  switch (entry.state) {
    case State::kLoading:
      break;
    case State::kReady:
      if (entry.is_excess && entry.tenant == tenant) {
        return {.state = State::kFailed,
                .error = error_of(Room::kNoneOfAllowance),
                .exceeds_allowance = true};
      }
      ++entry.uses;
      use(entry);
      ++stats_.hits;
      return {.state = State::kReady, .adapter = entry.adapter};
    case State::kFailed:
      if (clock_.steady_now() < entry.retry_after) {
        return {.state = State::kFailed,
                .error = entry.error,
                .exceeds_allowance = entry.exceeds_allowance};
      }
      start_load(digest, tenant);
      break;
  }
  return {.state = State::kLoading};
}

void HostCache::prefetch(const AdapterDigest& digest, std::string_view tenant) {
  MutexLock lock(mutex_);
  if (!entries_.contains(digest)) start_load(digest, tenant);
}

void HostCache::insert(const AdapterDigest& digest, std::string_view tenant, const Pin& adapter) {
  std::vector<Pin> evicted;
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found != entries_.end() && found->second.state != State::kFailed) return;
  if (adapter->footprint() > config_.max_bytes) return;
  if (make_room(adapter->footprint(), std::string(tenant), evicted) != Room::kMade) return;
  const auto entry = entries_.insert_or_assign(digest, Entry{}).first;
  entry->second.tenant = tenant;
  settle(entry, adapter);
}

Result<void> HostCache::pin(const AdapterDigest& digest, std::string_view tenant) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end() || found->second.state == State::kFailed) start_load(digest, tenant);
  Entry& entry = entries_.at(digest);
  const std::string name(tenant);
  if (entry.pinned_by.contains(name)) return {};
  if (!may_pin(name, entry.adapter ? entry.adapter->footprint() : 0)) {
    return Error{Code::kStorageQuotaExceeded,
                 "The adapters that are to stay in memory would be more than the project's share."};
  }
  entry.pinned_by.insert(name);
  count_pins();
  return {};
}

void HostCache::unpin(const AdapterDigest& digest, std::string_view tenant) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) return;
  found->second.pinned_by.erase(std::string(tenant));
  count_pins();
}

bool HostCache::evict(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end() || found->second.state != State::kReady) return false;
  if (!found->second.pinned_by.empty() || found->second.adapter.use_count() > 1) return false;
  garbage_.push_back(found->second.adapter);
  drop(found);
  ++stats_.evictions;
  has_work_.notify_one();
  return true;
}

HostCache::Residency HostCache::where(const AdapterDigest& digest) const {
  using Place = Residency::Place;
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) return {};
  const Entry& entry = found->second;
  const bool pinned = !entry.pinned_by.empty();
  switch (entry.state) {
    case State::kLoading:
      return {.place = Place::kLoading, .pinned = pinned};
    case State::kFailed:
      return {.place = Place::kFailed, .pinned = pinned};
    case State::kReady:
      break;
  }
  return {.place = Place::kHost,
          .bytes = entry.adapter->footprint(),
          .pinned = pinned,
          .in_use = entry.adapter.use_count() > 1};
}

std::vector<HostCache::Listed> HostCache::list() const {
  std::vector<Listed> all;
  {
    MutexLock lock(mutex_);
    for (const auto& [digest, entry] : entries_) {
      if (entry.state != State::kReady) continue;
      all.push_back({.digest = digest,
                     .tenant = entry.tenant,
                     .bytes = entry.adapter->footprint(),
                     .pinned = !entry.pinned_by.empty(),
                     .in_use = entry.adapter.use_count() > 1});
    }
  }
  std::ranges::sort(all, [](const Listed& a, const Listed& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.digest.bytes < b.digest.bytes;
  });
  return all;
}

void HostCache::forget(const AdapterDigest& digest) {
  Pin forgotten;
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end() || found->second.state == State::kLoading) return;
  forgotten = found->second.adapter;
  drop(found);
}

void HostCache::forget_failure(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) return;
  if (found->second.state == State::kLoading) found->second.is_retried = true;
  if (found->second.state == State::kFailed) drop(found);
}

void HostCache::forget_failures_for_room() {
  MutexLock lock(mutex_);
  for (auto& [digest, entry] : entries_) {
    if (entry.state == State::kFailed && entry.error.code == Code::kNoCapacity) {
      entry.retry_after = clock_.steady_now();
    }
  }
}

HostCache::Held HostCache::held_by(std::string_view tenant) const {
  MutexLock lock(mutex_);
  const auto held = held_by_tenant_.find(std::string(tenant));
  return held == held_by_tenant_.end() ? Held{} : held->second;
}

Error HostCache::too_large() {
  return {Code::kStorageQuotaExceeded, "The adapter is larger than this server's adapter memory."};
}

Error HostCache::error_of(Room room) {
  switch (room) {
    case Room::kMade:
    case Room::kNone:
      break;
    case Room::kTooLarge:
      return too_large();
    case Room::kNoneOfAllowance:
      return {Code::kNoCapacity,
              "The adapters in use fill what the project may have in memory. Try again soon."};
    case Room::kBeyondAllowance:
      return {Code::kStorageQuotaExceeded,
              "The adapter is larger than what the project may have in memory."};
  }
  return {Code::kNoCapacity, "the adapters in use fill the host cache"};
}

HostCache::Stats HostCache::stats() const {
  MutexLock lock(mutex_);
  Stats stats = stats_;
  stats.max_bytes = max_bytes_;
  return stats;
}

// One that failed before keeps the pins that were asked for.
void HostCache::start_load(const AdapterDigest& digest, std::string_view tenant) {
  Entry entry;
  entry.tenant = tenant;
  const auto found = entries_.find(digest);
  if (found != entries_.end()) entry.pinned_by = std::move(found->second.pinned_by);
  entries_.insert_or_assign(digest, std::move(entry));
  queue_.push(tenant, digest);
  ++stats_.loading;
  has_work_.notify_one();
}

void HostCache::run_loader(const std::stop_token& stop) {
  for (;;) {
    std::optional<LoadQueue::Job> job;
    std::vector<Pin> garbage;
    bool looked = false;  // for what is to go: who keeps it, or waits for its room, is woken
    {
      MutexLock lock(mutex_);
      if (!wait_for_work(stop, job)) return;
      looked = !changed_.empty();
      change_is_new_ = false;
      meet_allowances();
      garbage.swap(garbage_);
    }
    garbage.clear();
    if (job) finish_load(*job, load_(job->digest));
    if (!job && !looked) continue;
    MutexLock lock(wake_mutex_);
    if (wake_) wake_();
  }
}

// Waits for a load that may begin, for garbage, or until it is time to look at changed allowances;
// false when it is time to stop.
bool HostCache::wait_for_work(const std::stop_token& stop, std::optional<LoadQueue::Job>& job) {
  const auto has_work = [&]() TESSERA_REQUIRES(mutex_) {
    job = queue_.pop(clock_.steady_now());
    return job.has_value() || !garbage_.empty() || change_is_new_;
  };
  while (!stop.stop_requested()) {
    const auto due = queue_.next_due();
    if (!due && changed_.empty()) return has_work_.wait(mutex_, stop, has_work);
    std::chrono::nanoseconds wait = kLongestSleep;
    if (due) wait = std::min<std::chrono::nanoseconds>(wait, *due - clock_.steady_now());
    if (has_work_.wait_for(mutex_, stop, wait, has_work)) return true;
    if (!changed_.empty()) return !stop.stop_requested();
  }
  return false;
}

void HostCache::finish_load(const LoadQueue::Job& job, Result<Pin> loaded) {
  std::vector<Pin> evicted;  // freed after the lock is: that may take a while
  MutexLock lock(mutex_);
  queue_.finish(job.tenant);
  if (queue_.has_waiting()) has_work_.notify_one();  // the tenant's next one waited for this
  const auto found = entries_.find(job.digest);
  Entry& entry = found->second;
  --stats_.loading;
  const Room room = loaded ? make_room((*loaded)->footprint(), job.tenant, evicted) : Room::kMade;
  if (room != Room::kMade) loaded = error_of(room);
  if (loaded) {
    ++stats_.loads;
    return settle(found, *std::move(loaded));
  }
  ++stats_.failures;
  if (entry.is_retried) return drop(found);
  entry.state = State::kFailed;
  entry.error = loaded.error();
  entry.exceeds_allowance = room == Room::kNoneOfAllowance;
  entry.retry_after = clock_.steady_now() + config_.failure_memory;
}

// The adapter is here from now on.
void HostCache::settle(Entries::iterator found, Pin adapter) {
  Entry& entry = found->second;
  entry.state = State::kReady;
  entry.adapter = std::move(adapter);
  const std::size_t bytes = entry.adapter->footprint();
  Held& held = held_by_tenant_[entry.tenant];
  held.adapters.push_back(found->first);
  held.bytes += bytes;
  stats_.bytes += bytes;
  ++stats_.entries;
  use(entry);
  std::erase_if(entry.pinned_by, [&](const std::string& tenant) TESSERA_REQUIRES(mutex_) {
    return !may_pin(tenant, 0);  // whose pins count it by now
  });
  count_pins();
}

void HostCache::use(Entry& entry) {
  entry.worth = worth_.worth(entry.uses, entry.adapter->footprint());
  entry.last_use = ++num_uses_;
}

// Whether `bytes` more than what the tenant has pinned, and what all have, are within the quotas.
bool HostCache::may_pin(const std::string& tenant, std::size_t bytes) const {
  std::size_t own = bytes;
  std::size_t all = bytes;
  for (const auto& [digest, entry] : entries_) {
    if (entry.state != State::kReady || entry.pinned_by.empty()) continue;
    all += entry.adapter->footprint();
    if (entry.pinned_by.contains(tenant)) own += entry.adapter->footprint();
  }
  return own <= config_.max_bytes / config_.pin_share_inverse_of_tenant &&
         all <= config_.max_bytes / config_.pin_share_inverse;
}

void HostCache::count_pins() {
  stats_.pinned_bytes = 0;
  for (const auto& [digest, entry] : entries_) {
    if (entry.state != State::kReady || entry.pinned_by.empty()) continue;
    stats_.pinned_bytes += entry.adapter->footprint();
  }
}

void HostCache::drop(Entries::iterator entry) {
  if (entry->second.state == State::kReady) {
    const std::size_t bytes = entry->second.adapter->footprint();
    stats_.bytes -= bytes;
    --stats_.entries;
    const auto held = held_by_tenant_.find(entry->second.tenant);
    held->second.bytes -= bytes;
    std::erase(held->second.adapters, entry->first);
    if (held->second.adapters.empty()) held_by_tenant_.erase(held);
  }
  const bool was_pinned = !entry->second.pinned_by.empty();
  entries_.erase(entry);
  if (was_pinned) count_pins();
}

}  // namespace tessera

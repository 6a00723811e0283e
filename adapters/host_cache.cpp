#include "adapters/host_cache.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace tessera {

HostCache::HostCache(Load load, Config config, const Clock& clock)
    : load_(std::move(load)), config_(config), clock_(clock) {
  assert(config.num_loaders >= 1);
  for (int i = 0; i < config.num_loaders; ++i) {
    loaders_.emplace_back([this](const std::stop_token& stop) { run_loader(stop); });
  }
}

HostCache::~HostCache() {
  for (std::jthread& loader : loaders_) loader.request_stop();
}

void HostCache::set_wake(std::function<void()> wake) {
  MutexLock lock(wake_mutex_);
  wake_ = std::move(wake);
}

HostCache::Lookup HostCache::get(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) {
    start_load(digest);
    return {.state = State::kLoading};
  }
  Entry& entry = found->second;
  switch (entry.state) {
    case State::kLoading:
      break;
    case State::kReady:
      by_use_.splice(by_use_.end(), by_use_, entry.place);
      ++stats_.hits;
      return {.state = State::kReady, .adapter = entry.adapter};
    case State::kFailed:
      if (clock_.steady_now() < entry.retry_after) {
        return {.state = State::kFailed, .error = entry.error};
      }
      start_load(digest);
      break;
  }
  return {.state = State::kLoading};
}

void HostCache::prefetch(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  if (!entries_.contains(digest)) start_load(digest);
}

void HostCache::forget(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end() || found->second.state == State::kLoading) return;
  drop(found);
}

void HostCache::forget_failure(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) return;
  if (found->second.state == State::kLoading) found->second.is_retried = true;
  if (found->second.state == State::kFailed) drop(found);
}

Error HostCache::too_large() {
  return {Code::kStorageQuotaExceeded, "The adapter is larger than this server's adapter memory."};
}

HostCache::Stats HostCache::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

void HostCache::start_load(const AdapterDigest& digest) {
  entries_.insert_or_assign(digest, Entry{});
  queue_.push_back(digest);
  ++stats_.loading;
  has_work_.notify_one();
}

void HostCache::run_loader(const std::stop_token& stop) {
  for (;;) {
    AdapterDigest digest;
    {
      MutexLock lock(mutex_);
      if (!has_work_.wait(mutex_, stop,
                          [this]() TESSERA_REQUIRES(mutex_) { return !queue_.empty(); }))
        return;
      digest = queue_.front();
      queue_.pop_front();
    }
    finish_load(digest, load_(digest));
    MutexLock lock(wake_mutex_);
    if (wake_) wake_();
  }
}

void HostCache::finish_load(const AdapterDigest& digest, Result<Pin> loaded) {
  std::vector<Pin> evicted;  // freed after the lock is: that may take a while
  MutexLock lock(mutex_);
  Entry& entry = entries_.at(digest);
  --stats_.loading;
  if (loaded && (*loaded)->bytes() > config_.max_bytes) loaded = too_large();
  if (loaded && !make_room((*loaded)->bytes(), evicted)) {
    loaded = Error{Code::kNoCapacity, "the adapters in use fill the host cache"};
  }
  if (!loaded) {
    ++stats_.failures;
    if (entry.is_retried) return drop(entries_.find(digest));
    entry.state = State::kFailed;
    entry.error = loaded.error();
    entry.retry_after = clock_.steady_now() + config_.failure_memory;
    return;
  }
  entry.state = State::kReady;
  entry.adapter = std::move(*loaded);
  entry.place = by_use_.insert(by_use_.end(), digest);
  stats_.bytes += entry.adapter->bytes();
  ++stats_.entries;
  ++stats_.loads;
}

// Evicts until `bytes` more fit, handing the pages to the caller; evicts nothing if they cannot be
// made to fit.
bool HostCache::make_room(std::size_t bytes, std::vector<Pin>& evicted) {
  std::size_t evictable = 0;
  std::vector<AdapterDigest> victims;
  for (const AdapterDigest& digest : by_use_) {
    if (stats_.bytes - evictable + bytes <= config_.max_bytes) break;
    const Pin& adapter = entries_.at(digest).adapter;
    if (adapter.use_count() > 1) continue;  // in use; nobody else can take a pin meanwhile
    evictable += adapter->bytes();
    victims.push_back(digest);
  }
  if (stats_.bytes - evictable + bytes > config_.max_bytes) return false;
  for (const AdapterDigest& victim : victims) {
    const auto entry = entries_.find(victim);
    evicted.push_back(entry->second.adapter);
    drop(entry);
  }
  stats_.evictions += victims.size();
  return true;
}

void HostCache::drop(std::unordered_map<AdapterDigest, Entry, DigestHash>::iterator entry) {
  if (entry->second.state == State::kReady) {
    stats_.bytes -= entry->second.adapter->bytes();
    --stats_.entries;
    by_use_.erase(entry->second.place);
  }
  entries_.erase(entry);
}

}  // namespace tessera

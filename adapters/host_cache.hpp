// host_cache.hpp — packed adapters in host memory, loaded in the background, evicted by age of use.
//
// The engine asks with get() at every step and is never made to wait: the answer is ready, loading
// or failed, and a miss starts a load on a loader thread. When a load ends, `wake` is called.
//
// A pin is a shared_ptr. Only entries that nobody but the cache holds are evicted, least recently
// asked for first, so memory in use is never freed and the byte limit counts what is really there.
// If everything is pinned and a new adapter does not fit, its load fails with kNoCapacity; if it is
// larger than the whole cache, with kStorageQuotaExceeded. Failures are remembered for a moment, so
// that a broken adapter is not read again at each step.
//
// Keyed by digest alone: names and tenants are the registry's business.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <unordered_map>
#include <vector>

#include "adapters/packed_adapter.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"

namespace tessera {

// Thread-safe. Joins its loader threads when destroyed; pins may outlive it.
class HostCache {
 public:
  using Pin = std::shared_ptr<const PackedAdapter>;
  // Reads and packs one adapter; called on loader threads, several at a time.
  using Load = std::function<Result<Pin>(const AdapterDigest&)>;

  struct Config {
    std::size_t max_bytes = std::size_t{1} << 30;
    int num_loaders = 1;
    std::chrono::nanoseconds failure_memory = std::chrono::seconds(2);
  };

  enum class State : std::uint8_t { kReady, kLoading, kFailed };

  struct Lookup {
    State state = State::kLoading;
    Pin adapter = {};  // when ready; keep it while the pages are in use
    Error error = {};  // when failed
  };

  struct Stats {
    std::uint64_t hits = 0;   // get() answered kReady
    std::uint64_t loads = 0;  // loads that succeeded
    std::uint64_t failures = 0;
    std::uint64_t evictions = 0;
    std::size_t entries = 0;  // resident now
    std::size_t bytes = 0;    // resident now
    std::size_t loading = 0;  // queued or being loaded now
  };

  // `clock` outlives the cache.
  HostCache(Load load, Config config, const Clock& clock);
  ~HostCache();
  HostCache(const HostCache&) = delete;
  HostCache& operator=(const HostCache&) = delete;

  // Called on a loader thread after each load has ended, well or badly, without the cache's lock
  // held. When set_wake() returns, the former callback is neither running nor called again.
  void set_wake(std::function<void()> wake);

  // The adapter if it is here; else starts its load, unless it failed a moment ago.
  Lookup get(const AdapterDigest& digest);
  // Starts the load if the adapter is neither here nor on its way.
  void prefetch(const AdapterDigest& digest);
  // Drops the adapter if it is here, because it was deleted; one that is on its way stays until it
  // is evicted. Pins stay valid.
  void forget(const AdapterDigest& digest);

  // Drops the memory of a failure, also of one that is about to happen: whoever asks next has the
  // adapter loaded anew. Adapters that are here stay.
  void forget_failure(const AdapterDigest& digest);

  Stats stats() const;
  std::size_t max_bytes() const { return config_.max_bytes; }

  // What is said of an adapter that is larger than max_bytes().
  static Error too_large();

 private:
  struct Entry {
    State state = State::kLoading;
    Pin adapter;                               // when ready
    Error error;                               // when failed
    bool is_retried = false;                   // when loading: a failure is not to be remembered
    SteadyTime retry_after;                    // when failed
    std::list<AdapterDigest>::iterator place;  // in by_use_, when ready
  };

  void run_loader(const std::stop_token& stop);
  void start_load(const AdapterDigest& digest) TESSERA_REQUIRES(mutex_);
  void finish_load(const AdapterDigest& digest, Result<Pin> loaded) TESSERA_EXCLUDES(mutex_);
  bool make_room(std::size_t bytes, std::vector<Pin>& evicted) TESSERA_REQUIRES(mutex_);
  void drop(std::unordered_map<AdapterDigest, Entry, DigestHash>::iterator entry)
      TESSERA_REQUIRES(mutex_);

  const Load load_;
  const Config config_;
  const Clock& clock_;

  mutable Mutex mutex_;
  std::condition_variable_any has_work_;
  std::unordered_map<AdapterDigest, Entry, DigestHash> entries_ TESSERA_GUARDED_BY(mutex_);
  std::list<AdapterDigest> by_use_ TESSERA_GUARDED_BY(mutex_);  // ready ones, oldest use first
  std::deque<AdapterDigest> queue_ TESSERA_GUARDED_BY(mutex_);  // loads not yet begun
  Stats stats_ TESSERA_GUARDED_BY(mutex_);

  Mutex wake_mutex_;  // held while wake_ runs; never together with mutex_
  std::function<void()> wake_ TESSERA_GUARDED_BY(wake_mutex_);

  std::vector<std::jthread> loaders_;  // last: they use all of the above
};

}  // namespace tessera

// host_cache.hpp — packed adapters in host memory, loaded in the background, evicted by worth.
//
// The engine asks with get() at every step and is never made to wait: the answer is ready, loading
// or failed, and a miss starts a load on a loader thread (load_queue.hpp says whose). When a load
// ends, `wake` is called.
//
// A Pin is a shared_ptr. Only entries that nobody but the cache holds are evicted, so memory in
// use is never freed and the byte limit counts what is really there. Whose turn it is:
//
//   - Whoever is worth least by recency, frequency and size goes first (greedy_dual.hpp).
//   - Tenants that have more than an equal share of the memory lose theirs first, so that one who
//     cycles through a thousand adapters evicts their own (reference: threats.md 17). An adapter is
//     its first asker's. One adapter is everybody's minimum.
//   - What a tenant has asked to be kept (pin()) stays, within a quota.
//   - A tenant with an allowance (Config::allowance) never holds more: its own go for its next one,
//     whatever room there is. What is beyond a lower allowance goes at once (allowance_changed()),
//     or as soon as nobody uses it.
//
// If no room can be made, the load fails with kNoCapacity; if the adapter is larger than the whole
// cache, or than its tenant's allowance, with kStorageQuotaExceeded. Failures are remembered for a
// moment, so that a broken adapter is not read again at each step.
//
// The byte limit is what max_bytes says, and what add_room() and give_room() have made of it since:
// memory that somebody else has and needs less (engine/memory_shares.hpp).
//
// Keyed by digest; a tenant is a name to be fair by, empty where there is none to tell.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "adapters/greedy_dual.hpp"
#include "adapters/load_queue.hpp"
#include "adapters/packed_adapter.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"

namespace tessera {

// Thread-safe. Joins its loader threads when destroyed; Pins may outlive it.
class HostCache {
 public:
  using Pin = std::shared_ptr<const PackedAdapter>;
  // Reads and packs one adapter; called on loader threads, several at a time.
  using Load = std::function<Result<Pin>(const AdapterDigest&)>;

  // What a tenant's adapters may come to, all together; nullopt: no limit of its own.
  struct Allowance {
    std::optional<std::int64_t> adapters = {};
    std::optional<std::int64_t> bytes = {};
  };

  struct Config {
    std::size_t max_bytes = std::size_t{1} << 30;
    int num_loaders = 1;
    std::chrono::nanoseconds failure_memory = std::chrono::seconds(2);
    LoadLimits loads = {};
    // One tenant may pin a quarter of max_bytes, and all of them together half.
    std::size_t pin_share_inverse_of_tenant = 4;
    std::size_t pin_share_inverse = 2;
    // Asked when room is made for an adapter of the tenant and after allowance_changed(), under the
    // cache's lock: it is quick and does not call the cache. Empty: nobody has an allowance.
    std::function<Allowance(std::string_view tenant)> allowance = {};
  };

  enum class State : std::uint8_t { kReady, kLoading, kFailed };

  struct Lookup {
    State state = State::kLoading;
    Pin adapter = {};  // when ready; keep it while the pages are in use
    Error error = {};  // when failed
    // When failed with kNoCapacity: those of its tenant that are in use fill its allowance.
    bool exceeds_allowance = false;
  };

  // What a tenant was the first to ask for, and is here.
  struct Held {
    std::vector<AdapterDigest> adapters = {};
    std::size_t bytes = 0;
  };

  // Where an adapter is, for people.
  struct Residency {
    enum class Place : std::uint8_t { kDisk, kLoading, kHost, kFailed };
    Place place = Place::kDisk;
    std::size_t bytes = 0;  // when kHost
    bool pinned = false;    // by whomever
    bool in_use = false;    // when kHost: somebody besides the cache holds it
  };

  // One of those that are here, for people.
  struct Listed {
    AdapterDigest digest;
    std::string tenant;  // the first who asked
    std::size_t bytes = 0;
    bool pinned = false;
    bool in_use = false;
  };

  struct Stats {
    std::uint64_t hits = 0;   // get() answered kReady
    std::uint64_t loads = 0;  // loads that succeeded
    std::uint64_t failures = 0;
    std::uint64_t evictions = 0;
    std::size_t entries = 0;       // resident now
    std::size_t bytes = 0;         // resident now
    std::size_t pinned_bytes = 0;  // of them, pinned
    std::size_t max_bytes = 0;     // the limit now
    std::size_t loading = 0;       // queued or being loaded now
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
  Lookup get(const AdapterDigest& digest, std::string_view tenant = {});
  // Starts the load if the adapter is neither here nor on its way.
  void prefetch(const AdapterDigest& digest, std::string_view tenant = {});
  // Takes pages that are at hand, if there is room for them and nobody is loading them.
  void insert(const AdapterDigest& digest, std::string_view tenant, const Pin& adapter);

  // Keeps the adapter here until unpin(), loading it if need be; one that is not here yet and turns
  // out to exceed the quota is loaded and not pinned. Errors: kStorageQuotaExceeded.
  Result<void> pin(const AdapterDigest& digest, std::string_view tenant);
  void unpin(const AdapterDigest& digest, std::string_view tenant);
  // Drops the adapter unless it is in use, loading or pinned. Whether it was dropped. Its pages are
  // freed by a loader, so that the engine may ask.
  bool evict(const AdapterDigest& digest);
  Residency where(const AdapterDigest& digest) const;
  // The largest first.
  std::vector<Listed> list() const;
  Held held_by(std::string_view tenant) const;

  // Drops the adapter if it is here, because it was deleted; one that is on its way stays until it
  // is evicted. Pins stay valid.
  void forget(const AdapterDigest& digest);

  // Drops the memory of a failure, also of one that is about to happen: whoever asks next has the
  // adapter loaded anew. Adapters that are here stay.
  void forget_failure(const AdapterDigest& digest);

  // Drops the memory of all failures for want of room, because somebody has let go of some.
  void forget_failures_for_room();

  // The tenant may hold more than before, or less: it gets what it was refused, or what is beyond
  // its allowance goes, the one worth least first and what it has pinned last; but for what another
  // tenant has pinned. What is in use goes when it is released, and until then the tenant does not
  // get it anew: get() says kFailed. A loader looks every tenth of a second, and wakes.
  void allowance_changed(std::string_view tenant);
  // Drops what is beyond a changed allowance and not in use. Returns what is in use of the tenants
  // that are still beyond theirs, the one worth least first: who keeps one without need lets go of
  // it and calls again.
  std::vector<AdapterDigest> drop_excess();
  // Whether drop_excess() may have anything to do; costs nothing.
  bool has_excess() const { return has_excess_.load(std::memory_order_relaxed); }

  // What a cache of more bytes would have been good for, since the last call.
  struct Pressure {
    std::size_t evicted_bytes = 0;   // had to go for others
    std::size_t missing_bytes = 0;   // of the largest that found no room among those in use
    std::size_t unfilled_bytes = 0;  // of the limit, now
  };
  Pressure take_pressure();
  // The limit is `bytes` higher, and those that found no room are loaded when next asked for.
  void add_room(std::size_t bytes);
  // Lower the limit by as many times `unit` bytes as they can, `most` times at most, and return how
  // many times: by what is unfilled but for `keep` bytes; or at the cost of those that nobody uses,
  // the one worth least first, whose pages a loader frees.
  int give_unfilled(std::size_t unit, int most, std::size_t keep);
  int give_idle(std::size_t unit, int most);

  Stats stats() const;
  // Of one adapter, and what quotas are parts of.
  std::size_t max_bytes() const { return config_.max_bytes; }

  // What is said of an adapter that is larger than max_bytes().
  static Error too_large();

 private:
  struct Entry {
    State state = State::kLoading;
    std::string tenant;          // the first asker
    Pin adapter;                 // when ready
    double worth = 0;            // when ready
    std::uint64_t uses = 1;      // when ready
    std::uint64_t last_use = 0;  // when ready: in uses of any
    bool is_excess = false;      // when ready: its tenant may not have it, and it is in use
    Error error;                 // when failed
    bool exceeds_allowance = false;
    bool is_retried = false;  // when loading: a failure is not to be remembered
    SteadyTime retry_after;   // when failed
    std::set<std::string> pinned_by = {};
  };
  using Entries = std::unordered_map<AdapterDigest, Entry, DigestHash>;

  void run_loader(const std::stop_token& stop);
  bool wait_for_work(const std::stop_token& stop, std::optional<LoadQueue::Job>& job)
      TESSERA_REQUIRES(mutex_);
  void start_load(const AdapterDigest& digest, std::string_view tenant) TESSERA_REQUIRES(mutex_);
  void finish_load(const LoadQueue::Job& job, Result<Pin> loaded) TESSERA_EXCLUDES(mutex_);
  void settle(Entries::iterator entry, Pin adapter) TESSERA_REQUIRES(mutex_);
  enum class Room : std::uint8_t { kMade, kNone, kNoneOfAllowance, kTooLarge, kBeyondAllowance };
  struct Plan;  // who has to go
  Room make_room(std::size_t bytes, const std::string& tenant, std::vector<Pin>& evicted)
      TESSERA_REQUIRES(mutex_);
  static Error error_of(Room room);
  std::vector<Entries::iterator> idle_by_worth() TESSERA_REQUIRES(mutex_);
  void let_go(Entries::iterator victim, std::vector<Pin>& evicted) TESSERA_REQUIRES(mutex_);
  std::vector<AdapterDigest> meet_allowances() TESSERA_REQUIRES(mutex_);
  std::vector<AdapterDigest> meet_allowance(const std::string& tenant) TESSERA_REQUIRES(mutex_);
  struct Own;  // one that a tenant holds, and whether it is in use
  std::vector<Own> own_by_worth(const std::string& tenant) TESSERA_REQUIRES(mutex_);
  std::size_t unfilled() const TESSERA_REQUIRES(mutex_);
  int lower_limit(std::size_t unit, int most, std::size_t keep) TESSERA_REQUIRES(mutex_);
  void use(Entry& entry) TESSERA_REQUIRES(mutex_);
  bool may_pin(const std::string& tenant, std::size_t bytes) const TESSERA_REQUIRES(mutex_);
  void count_pins() TESSERA_REQUIRES(mutex_);
  void drop(Entries::iterator entry) TESSERA_REQUIRES(mutex_);

  const Load load_;
  const Config config_;
  const Clock& clock_;

  mutable Mutex mutex_;
  std::condition_variable_any has_work_;
  Entries entries_ TESSERA_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Held> held_by_tenant_ TESSERA_GUARDED_BY(mutex_);
  LoadQueue queue_ TESSERA_GUARDED_BY(mutex_);           // loads not yet begun
  std::vector<Pin> garbage_ TESSERA_GUARDED_BY(mutex_);  // evicted and not freed yet
  GreedyDual worth_ TESSERA_GUARDED_BY(mutex_);
  std::uint64_t num_uses_ TESSERA_GUARDED_BY(mutex_) = 0;
  Stats stats_ TESSERA_GUARDED_BY(mutex_);
  std::size_t max_bytes_ TESSERA_GUARDED_BY(mutex_);
  Pressure pressure_ TESSERA_GUARDED_BY(mutex_);  // but for what is unfilled
  // Tenants whose allowance has changed, until they are within it.
  std::set<std::string> changed_ TESSERA_GUARDED_BY(mutex_);
  bool change_is_new_ TESSERA_GUARDED_BY(mutex_) = false;  // no loader has looked yet
  std::atomic<bool> has_excess_ = false;                   // whether there are any

  Mutex wake_mutex_;  // held while wake_ runs; never together with mutex_
  std::function<void()> wake_ TESSERA_GUARDED_BY(wake_mutex_);

  std::vector<std::jthread> loaders_;  // last: they use all of the above
};

}  // namespace tessera

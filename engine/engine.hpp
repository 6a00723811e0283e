// engine.hpp — the engine thread: token ids in through submit(), token ids out through streams.
//
// One std::jthread owns everything that computes (EngineCore) without a lock. Two things cross over
// to it: the inbox of new requests, bounded and under a mutex, and each stream's cancelled flag.
// The thread sleeps while there is nothing to compute. If anything throws, whatever is in flight
// finishes with kError and the thread goes on.
//
// Thread-safe; owned by the gateway's main, which outlives every stream's reader.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/engine_core.hpp"

namespace tessera {

class Engine {
 public:
  // Starts the thread. `host_cache` outlives the engine.
  Engine(std::unique_ptr<Backend> backend, const ModelSpec& spec, HostCache& host_cache,
         EngineConfig config);
  ~Engine();  // stops

  // Ends the step that runs and the thread; requests that are left finish with kCancelled, new ones
  // are refused. Everything may still be called afterwards.
  void stop();

  // Queues a request whose tokens and finish will come through `stream`. On an error the stream is
  // left alone. Where max_requests are there, one of the tenant with most of them that wait has to
  // go, the newest: if that is this one it is refused, else the other's stream ends with
  // kQueueFull. Errors: those of EngineCore::check; kQueueFull; kDraining.
  Result<void> submit(GenerationRequest request, std::shared_ptr<TokenStream> stream);

  // Refuses new requests from now on, and returns when none is left (true) or at the deadline
  // (false; those left are finished with kCancelled).
  bool drain(std::chrono::steady_clock::time_point deadline);

  // Tells the thread that something may have changed: an adapter's pages are in the HostCache, or
  // a stream was cancelled. Never blocks for long; may be called from any thread.
  void wake();

  // Has the adapter leave the device, unless it is in use by then; see EngineCore. Done between two
  // steps; does not wait for it.
  void evict_adapter(const AdapterDigest& digest);
  void forget_adapter(const AdapterDigest& digest);
  // Whether the device held the adapter after the last step.
  bool holds_adapter(const AdapterDigest& digest) const;

  // How long the thread has given no sign of life: it gives one before each step, and every
  // kHeartbeat while there is nothing to do.
  static constexpr std::chrono::milliseconds kHeartbeat{1000};
  std::chrono::nanoseconds heartbeat_age() const;

  EngineStats stats() const;
  int max_context() const { return core_.max_context(); }

 private:
  struct Submission {
    GenerationRequest request;
    std::shared_ptr<TokenStream> stream;
  };

  struct Eviction {
    AdapterDigest digest;
    bool deleted;
  };

  bool may_displace(const std::string& tenant) const;
  void request_eviction(const Eviction& eviction);
  void run(const std::stop_token& stop);
  void beat();
  void wait_for_work();
  bool turn();
  void take_inbox();
  void fail(std::string_view what);
  void publish();

  HostCache& host_cache_;
  const int max_requests_;

  EngineCore core_;                  // the engine thread's, but for check() and max_context()
  std::vector<Submission> arrived_;  // the engine thread's; empty between calls
  std::atomic<std::chrono::steady_clock::rep> beat_at_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // news for the engine thread, or the last request is gone
  // guarded by mutex_
  std::vector<Submission> inbox_;
  std::vector<Eviction> evictions_;
  std::vector<AdapterDigest> resident_;  // as of resident_version_ changes
  std::uint64_t resident_version_ = 0;
  int num_requests_ = 0;  // submitted and not finished
  std::map<std::string, int, std::less<>>
      waiting_;  // of the core, by tenant; empty if there is room
  bool woken_ = false;
  bool cancel_all_ = false;
  bool draining_ = false;
  EngineStats stats_;

  std::jthread thread_;
};

}  // namespace tessera

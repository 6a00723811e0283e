// engine_core.hpp — continuous batching without a thread: step() reads as schedule, run, update.
//
// A request goes: check, add, steps until its stream is finished. While its adapter's pages are
// being loaded it waits beside the queue and everyone else runs. One whose mask
// (guided_sequence.hpp) is not there when the logits are keeps them and sits out steps. A request
// that is cancelled leaves at the start of the next step. The thread, the inbox and the locks are
// engine.hpp's; tests drive this class directly and so are exactly repeatable.
//
// Not thread-safe, except check(): owned and called by the engine thread alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/host_cache.hpp"
#include "engine/adapter_slots.hpp"
#include "engine/drawn_rows.hpp"
#include "engine/engine_stats.hpp"
#include "engine/generation_request.hpp"
#include "engine/guided_sequence.hpp"
#include "engine/logit_adjuster.hpp"
#include "engine/mask_workers.hpp"
#include "engine/memory_shares.hpp"
#include "engine/sampler.hpp"
#include "engine/schedule/running_adapters.hpp"
#include "engine/schedule/scheduler.hpp"
#include "engine/schedule/step_batch.hpp"
#include "engine/token_stream.hpp"
#include "kernels/backend.hpp"
#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

struct EngineConfig {
  BackendLimits backend = {};         // what the backend was made with
  SlotLimits adapters;                // distinct ones that may run at a time, and their bytes
  ShareLimits shares;                 // of memory, between KV blocks and adapters
  int max_context = 0;                // tokens of prompt and answer; 0: the model's max_positions
  int max_requests = 1024;            // submitted and not finished; one more sheds one
  int max_logprobs = 20;              // that a request may ask for, for each token
  std::vector<TokenId> eos_ids = {};  // the model's own end tokens
  int mask_threads = 1;               // of MaskWorkers' fast lane; 0: masks are made by the step
  // How long after a step's beginning its masks are waited for. Who has none then sits out.
  std::chrono::microseconds mask_patience{1000};
  // Called on the engine thread with what the backend threw; for the log.
  std::function<void(std::string_view what)> on_failure = [](std::string_view) {};
};

class EngineCore {
 public:
  // `host_cache` outlives the engine.
  EngineCore(std::unique_ptr<Backend> backend, const ModelSpec& spec, HostCache& host_cache,
             EngineConfig config);
  ~EngineCore();  // requests that are left are finished with kCancelled

  // Whether `request` can be served at all. Thread-safe. Errors: kContextLengthExceeded if prompt
  // and max_tokens are more than max_context(); kInvalidValue, naming the parameter, if one or a
  // token id is out of its range.
  Result<void> check(const GenerationRequest& request) const;

  // For the thread that will call step(), once, before it does.
  void enter() { backend_->enter(); }

  // Takes a request that check() has passed. If it throws, the request was not taken, and
  // fail_all() must follow.
  void add(GenerationRequest request, std::shared_ptr<TokenStream> stream);

  // One step of at most `max_rows` tokens. False if there was nothing to do: if there are requests
  // at all, they wait for their adapters. If the backend throws, the running requests
  // finish with kError, and the engine goes on with the others. If anything else throws, it comes
  // out of here, and fail_all() must follow.
  bool step(int max_rows);
  bool step() { return step(config_.backend.max_rows); }

  // The adapter leaves the device and host memory if no request uses it, and the prefixes that are
  // cached for it go before others'.
  void evict_adapter(const AdapterDigest& digest);
  // The same, and what is cached for it is never found again: it was deleted.
  void forget_adapter(const AdapterDigest& digest);
  // What the device holds. A value of adapter_changes() has one answer.
  std::vector<AdapterDigest> resident_adapters() const { return slots_.resident(); }
  std::uint64_t adapter_changes() const { return slots_.num_loads() + slots_.num_evictions(); }

  // While there are more than max_requests, the newest of those who wait for their first step goes,
  // with kQueueFull: one of the tenant that has most of them.
  void shed();
  // How many wait for their first step.
  std::map<std::string, int, std::less<>> num_waiting_by_tenant() const;

  // Finishes every request that is left with kCancelled.
  void cancel_all();

  // Finishes every request that is left with kError and starts from an empty schedule, because
  // something threw between steps. `what` is for the log.
  void fail_all(std::string_view what);

  // What clients are told when the server, not the request, is at fault.
  static Error failure();
  static Error queue_full();
  static Error queue_of_tenant_full(int max_queue);

  int num_requests() const { return static_cast<int>(requests_.size()); }
  // Tokens that prompt and answer may have together: what the configuration, the model and the pool
  // of KV blocks allow.
  int max_context() const { return max_context_; }
  EngineStats stats() const;
  void check_invariants() const { scheduler_->check_invariants(); }

 private:
  // A sequence with what the scheduler need not know about it.
  struct Request;

  Request* newest_of_heaviest();
  void shed_queues();
  void drop_cancelled();
  void release_excess();
  void receive_adapters();
  void receive_adapter(Request& request);
  bool receive_pages(Request& request, std::size_t index);
  bool has_servable_pages(Request& request);
  void place_adapter(Request& request);
  bool may_get_room(const Request& request, const HostCache::Lookup& lookup);
  bool may_get_own_room(const Request& request);
  void schedule(int max_rows);
  bool get_missing_blocks();
  void balance_memory(int max_rows);
  void demote_evicted();
  void release_preempted();
  void pin_adapters();
  void request_masks();
  void run();
  void update();
  void read_prompt(Request& request, const BatchEntry& entry);
  void score_prompt(Request& request, int num_rows);
  void add_states(Request& request, int num_rows);
  void count_prompt(Request& request);
  bool resume_held();
  bool can_sample(Request& request);
  void draw();
  bool wants_draw(Request& request);
  // Where a token comes from: drawn by the backend, or to be sampled from logits.
  struct Source;
  std::optional<GeneratedToken> choose(const Request& request, const Source& source);
  void accept(Request& request, const Source& source);
  void accept_guided(Request& request, const Source& source);
  std::span<const float> adjusted(const Request& request, std::span<const float> logits);
  void append_sampled(Request& request, GeneratedToken token);
  void append_forced(Request& request, std::span<const TokenId> ids);
  void finish_if_cut(Request& request);
  bool ends(const Request& request, TokenId id) const;
  void finish(Request& request, FinishReason reason, Error error = {});
  void close(Request& request, FinishReason reason, Error error);
  static Error not_finite();
  void note_failure(std::string_view what);
  void fail_running(std::string_view what);
  void erase_finished();

  const EngineConfig config_;
  const int vocab_size_;
  const int num_layers_;
  const int max_context_;
  const int short_positions_;  // ModelSpec::short_positions()
  HostCache& host_cache_;
  std::unique_ptr<Backend> backend_;
  Sampler sampler_;
  LogitAdjuster adjuster_;
  std::optional<Scheduler> scheduler_;  // always there; made anew by fail_all()
  AdapterSlots slots_;                  // after the backend, which it calls
  const std::unique_ptr<AdapterRoom> room_;
  MemoryShares memory_;
  StepBatch batch_;
  DrawnRows drawn_rows_;
  int next_logits_ = 0;  // of the step's, those that have not been looked at
  int next_state_ = 0;
  std::vector<std::unique_ptr<Request>> requests_;  // in order of arrival
  std::vector<std::string> full_tenants_;           // this step's, none of whose idle slots is left
  MaskWorkers mask_workers_;
  MaskWorkers::Clock::time_point mask_deadline_;  // of this step
  std::uint64_t next_id_ = 1;
  EngineStats counters_;  // what has been counted; what is now is read when asked for
};

}  // namespace tessera

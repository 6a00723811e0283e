// scheduler.hpp — which sequences the next step computes, and how many tokens of each.
//
// A step has a budget of rows. Running sequences come first, in the order in which they started,
// and each gets the tokens it has left. A sequence starts only when rows remain after that, so all
// but the last one to start are past their prompts: answers go before prompts, and a long prompt is
// computed in chunks of what the answers leave.
//
// Waiting sequences start in fair order (VTC by tenant), when there are blocks for all of their
// tokens and their adapter fits among those in use. One that does not fit is passed over, but only
// so many times: then nobody overtakes it until it does.
//
// Of several that begin alike, such as the choices of one request, the first computes the beginning
// and the others wait for its blocks: one whose prompt a running sequence is at work on, by half or
// more of what it would compute itself, does not start before that is in the prefix cache.
//
// When an answer needs a block and none is free, the sequence that started last gives up its blocks
// and goes back to the head of its tenant's queue, to be computed again (from the prefix cache, if
// that has kept them). The first one always advances, so all of them end.
//
// Pure: no clock, no text, no device, no randomness; the same calls give the same steps. Owned and
// called by the engine thread alone.
#pragma once

#include <vector>

#include "engine/schedule/block_pool.hpp"
#include "engine/schedule/running_adapters.hpp"
#include "engine/schedule/sequence.hpp"
#include "engine/schedule/step_batch.hpp"
#include "tenancy/fair_queue.hpp"

namespace tessera {

struct SchedulerLimits {
  int max_seqs = 64;  // running at a time
  int num_blocks = 256;
  int block_size = 16;
  int max_prompt_logits = 16;  // rows of prompts whose logits one step may ask for; 0: none
  SlotLimits adapters;
  int max_times_passed = 32;  // sequences that may start before one that does not fit
  int max_scanned = 64;       // sequences that do not fit, looked at in a row
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // Whether a sequence of this many tokens can run to its end, if only alone.
  bool can_hold(int num_tokens) const { return pool_.blocks_for(num_tokens) <= pool_.num_blocks(); }

  // Queues a new sequence, which can_hold() and stays alive until remove(). One that names an
  // adapter waits outside the queue until adapter_ready(), with the size of the adapter's pages; by
  // then its `lora_start` and the bytes of what it mixes are set. An adapter that turns out not to
  // apply at all may be taken away before that.
  void add(Sequence& sequence);
  void adapter_ready(Sequence& sequence, std::size_t adapter_bytes);

  // Writes the next step into `batch`: at most `max_rows` >= 1 tokens, at least one if any running
  // sequence has tokens left or one in the queue may start. A running sequence that has caught up,
  // because it waits for its next token, keeps its blocks and sits out. After the step has been
  // computed, advance() must be told.
  void schedule(StepBatch& batch, int max_rows);
  void advance(const StepBatch& batch);

  // Forgets a sequence, in whatever state it is, and takes back what it holds.
  void remove(Sequence& sequence);

  int num_running() const { return static_cast<int>(running_.size()); }
  int num_waiting() const { return static_cast<int>(waiting_.size()); }
  int num_waiting_for_adapter() const { return num_waiting_for_adapter_; }
  const BlockPool& pool() const { return pool_; }
  BlockPool& pool() { return pool_; }  // for whoever lends blocks, between steps
  // Free blocks that the last step lacked: for whoever was first among those that were passed over,
  // or had to give up theirs.
  int num_missing_blocks() const { return num_missing_blocks_; }
  // The same of adapters' pages: what those in use and that sequence's would come to; 0 if they
  // have room.
  std::size_t wanted_adapter_bytes() const { return wanted_adapter_bytes_; }
  // What adapters in use may come to from the next step on.
  void set_adapter_bytes(const AdapterBytes& bytes) { adapters_.set_bytes(bytes); }
  // Of the blocks that cache prefixes of `adapter` and that nobody uses: demote() has them taken
  // first when blocks are needed, because the adapter left the device; forget() drops what they
  // cache, because the adapter was deleted.
  void demote(const AdapterDigest& adapter) { pool_.demote(adapter); }
  void forget(const AdapterDigest& adapter) { pool_.forget(adapter); }

  // Asserts what the states of Sequence promise. Tests call it after every operation.
  void check_invariants() const;

 private:
  void enqueue(Sequence& sequence);
  void continue_running(StepBatch& batch, int max_rows);
  void start_waiting(StepBatch& batch, int max_rows);
  Sequence* pop_startable(const StepBatch& batch);
  bool fits(const Sequence& sequence, const StepBatch& batch) const;
  void note_missing(const Sequence& sequence);
  bool awaits_prefix(const Sequence& sequence) const;
  int rows_for(const Sequence& sequence, const StepBatch& batch, int max_rows) const;
  void start(Sequence& sequence);
  bool cover_all_tokens(Sequence& sequence, StepBatch& batch);
  void preempt(Sequence& sequence, StepBatch& batch);
  void stop_running(Sequence& sequence);
  void put(Sequence& sequence, int num_rows, StepBatch& batch);

  SchedulerLimits limits_;
  BlockPool pool_;
  RunningAdapters adapters_;
  FairQueue<Sequence*> waiting_;
  std::vector<Sequence*> running_;  // in the order in which they started
  std::vector<Sequence*> passed_;   // scratch of pop_startable
  int num_waiting_for_adapter_ = 0;
  int num_missing_blocks_ = 0;
  std::size_t wanted_adapter_bytes_ = 0;
};

}  // namespace tessera

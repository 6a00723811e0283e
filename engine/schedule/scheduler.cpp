#include "engine/schedule/scheduler.hpp"

#include <algorithm>
#include <cassert>

namespace tessera {

namespace {

// Sequences that a step leaves to wait for a beginning; more are not looked at, and may start.
constexpr int kMaxAwaiting = 256;

// What the fair queue is charged for a token of a tenant of weight one: so much that weights divide
// it well, and so little that no sum of tokens overflows.
constexpr std::int64_t kTokenCost = 10'000;

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits)
    : limits_(limits), pool_(limits.num_blocks, limits.block_size), adapters_(limits.adapters) {
  assert(limits.max_seqs >= 1);
  running_.reserve(static_cast<std::size_t>(limits.max_seqs));
  passed_.reserve(static_cast<std::size_t>(limits.max_scanned));
}

void Scheduler::add(Sequence& sequence) {
  assert(can_hold(sequence.max_total_tokens));
  const int max_blocks = pool_.blocks_for(sequence.max_total_tokens);
  sequence.blocks.reserve(static_cast<std::size_t>(max_blocks));
  if (sequence.adapter) {
    sequence.state = SequenceState::kWaitingForAdapter;
    ++num_waiting_for_adapter_;
  } else {
    enqueue(sequence);
  }
}

void Scheduler::adapter_ready(Sequence& sequence, std::size_t adapter_bytes) {
  assert(sequence.state == SequenceState::kWaitingForAdapter);
  sequence.adapter_bytes = adapter_bytes;
  --num_waiting_for_adapter_;
  enqueue(sequence);
}

// Only now is it known what its blocks are called: an adapter may apply to a part of the prompt.
void Scheduler::enqueue(Sequence& sequence) {
  sequence.chain =
      PrefixChain(sequence.cache_salt, sequence.adapter, sequence.long_rope, sequence.lora_start);
  sequence.chain.reserve(pool_.blocks_for(sequence.max_total_tokens));
  sequence.chain.extend(sequence.tokens, pool_.block_size());
  sequence.state = SequenceState::kWaiting;
  waiting_.push(sequence.tenant, &sequence, sequence.queue_rank);
}

void Scheduler::schedule(StepBatch& batch, int max_rows) {
  assert(max_rows >= 1);
  batch.clear();
  num_missing_blocks_ = 0;
  wanted_adapter_bytes_ = 0;
  continue_running(batch, max_rows);
  // Whoever was preempted should find the blocks it will need again.
  if (batch.preempted().empty()) start_waiting(batch, max_rows);
}

void Scheduler::continue_running(StepBatch& batch, int max_rows) {
  for (std::size_t i = 0; i < running_.size(); ++i) {  // preemption shortens it from the back
    Sequence& sequence = *running_[i];
    if (!cover_all_tokens(sequence, batch)) return;
    const int rows = rows_for(sequence, batch, max_rows);
    if (rows > 0) put(sequence, rows, batch);
  }
}

void Scheduler::start_waiting(StepBatch& batch, int max_rows) {
  while (num_running() < limits_.max_seqs && batch.num_rows() < max_rows) {
    Sequence* sequence = pop_startable(batch);
    if (sequence == nullptr) return;
    start(*sequence);
    const int rows = rows_for(*sequence, batch, max_rows);
    if (rows > 0) put(*sequence, rows, batch);
  }
}

// The first one in fair order that fits, unless it would overtake one that has been passed over too
// often.
Sequence* Scheduler::pop_startable(const StepBatch& batch) {
  passed_.clear();
  bool may_overtake = true;
  int num_awaiting = 0;
  const auto popped = waiting_.pop_if([&](Sequence* sequence) {
    if (!may_overtake) return false;
    if (num_awaiting < kMaxAwaiting && awaits_prefix(*sequence)) {
      ++num_awaiting;
      return false;
    }
    if (fits(*sequence, batch)) return true;
    passed_.push_back(sequence);
    may_overtake = sequence->num_times_passed < limits_.max_times_passed &&
                   std::ssize(passed_) < limits_.max_scanned;
    return false;
  });
  if (!popped) {
    if (!passed_.empty()) note_missing(*passed_.front());
    return nullptr;
  }
  for (Sequence* passed : passed_) ++passed->num_times_passed;
  return *popped;
}

bool Scheduler::fits(const Sequence& sequence, const StepBatch& batch) const {
  return adapters_.fits(sequence.adapter_uses()) &&
         pool_.has_room(sequence.chain, sequence.matchable(), sequence.num_tokens()) &&
         rows_for(sequence, batch, batch.num_rows() + 1) > 0;
}

void Scheduler::note_missing(const Sequence& sequence) {
  wanted_adapter_bytes_ = adapters_.wanted_bytes(sequence.adapter_uses());
  num_missing_blocks_ =
      pool_.num_missing(sequence.chain, sequence.matchable(), sequence.num_tokens());
}

bool Scheduler::awaits_prefix(const Sequence& sequence) const {
  const int block_size = pool_.block_size();
  const auto tokens = sequence.matchable();
  const auto names =
      sequence.chain.names().first((tokens.size() - 1) / static_cast<std::size_t>(block_size));
  const int cached = pool_.num_matching(sequence.chain, tokens);
  const auto rest = names.subspan(static_cast<std::size_t>(cached));
  const int to_compute = sequence.num_tokens() - cached * block_size;
  return std::ranges::any_of(running_, [&](const Sequence* other) {
    const auto others = other->chain.names();
    if (std::ssize(others) <= cached) return false;
    if (other->num_computed >= (cached + 1) * block_size) return false;  // it will publish no more
    const auto coming = others.subspan(static_cast<std::size_t>(cached));
    const auto shared = std::ranges::mismatch(rest, coming).in1 - rest.begin();
    return shared > 0 && 2 * static_cast<int>(shared) * block_size >= to_compute;
  });
}

// What the step has left for the sequence: rows, and logits of its prompt.
int Scheduler::rows_for(const Sequence& sequence, const StepBatch& batch, int max_rows) const {
  const int rows = std::min(max_rows - batch.num_rows(), sequence.num_left());
  if (sequence.prompt_output != PromptOutput::kLogprobs) return rows;
  const int logits = limits_.max_prompt_logits - batch.num_prompt_logits();
  return std::min(rows, sequence.rows_within(logits));
}

void Scheduler::start(Sequence& sequence) {
  assert(sequence.state == SequenceState::kWaiting);
  sequence.num_computed = pool_.match_prefix(sequence.chain, sequence.matchable(), sequence.blocks);
  [[maybe_unused]] const bool grown = pool_.grow(sequence.blocks, sequence.num_tokens());
  assert(grown);
  if (!sequence.has_run) sequence.num_cached = sequence.num_computed;
  sequence.has_run = true;
  sequence.num_times_passed = 0;
  sequence.state = SequenceState::kRunning;
  adapters_.add(sequence.adapter_uses());
  running_.push_back(&sequence);
}

// False if the sequence had to give up its own blocks for want of others.
bool Scheduler::cover_all_tokens(Sequence& sequence, StepBatch& batch) {
  while (!pool_.grow(sequence.blocks, sequence.num_tokens())) {
    Sequence& newest = *running_.back();
    preempt(newest, batch);
    if (&newest == &sequence) return false;
  }
  return true;
}

void Scheduler::preempt(Sequence& sequence, StepBatch& batch) {
  stop_running(sequence);
  sequence.chain.extend(sequence.tokens, pool_.block_size());  // several may have been appended
  sequence.num_computed = 0;
  sequence.slot = kNoAdapter;
  for (SequenceAdapter& term : sequence.mix) term.slot = kNoAdapter;
  sequence.state = SequenceState::kWaiting;
  waiting_.put_back(sequence.tenant, &sequence);
  batch.add_preempted(sequence);
  num_missing_blocks_ += pool_.blocks_for(sequence.num_tokens());
}

void Scheduler::stop_running(Sequence& sequence) {
  assert(sequence.state == SequenceState::kRunning);
  std::erase(running_, &sequence);
  adapters_.remove(sequence.adapter_uses());
  pool_.release(sequence.blocks);
}

// Every computed token costs its tenant the same, divided by its weight.
void Scheduler::put(Sequence& sequence, int num_rows, StepBatch& batch) {
  batch.add(sequence, num_rows);
  waiting_.charge(sequence.tenant, num_rows * kTokenCost / sequence.weight);
}

void Scheduler::advance(const StepBatch& batch) {
  for (const BatchEntry& entry : batch.entries()) {
    Sequence& sequence = *entry.sequence;
    const int first_block = sequence.num_computed / pool_.block_size();
    sequence.num_computed += entry.num_rows;
    sequence.chain.extend(sequence.tokens, pool_.block_size());
    pool_.publish(sequence.blocks, sequence.chain, sequence.tokens, first_block,
                  sequence.num_computed / pool_.block_size());
  }
}

void Scheduler::remove(Sequence& sequence) {
  switch (sequence.state) {
    case SequenceState::kWaitingForAdapter:
      --num_waiting_for_adapter_;
      break;
    case SequenceState::kWaiting:
      waiting_.remove_if([&](const Sequence* queued) { return queued == &sequence; });
      break;
    case SequenceState::kRunning:
      stop_running(sequence);
      waiting_.finish(sequence.tenant);
      break;
    case SequenceState::kFinished:
      assert(false);
      break;
  }
  sequence.state = SequenceState::kFinished;
}

void Scheduler::check_invariants() const {
  pool_.check_invariants();
  assert(num_running() <= limits_.max_seqs);
  assert(adapters_.count() <= limits_.adapters.max_adapters);
  for ([[maybe_unused]] const Sequence* sequence : running_) {
    assert(sequence->state == SequenceState::kRunning);
    assert(sequence->num_computed <= sequence->num_tokens());
    assert(std::ssize(sequence->blocks) >= pool_.blocks_for(sequence->num_computed));
    assert(std::ssize(sequence->blocks) <= pool_.blocks_for(sequence->max_total_tokens));
  }
}

}  // namespace tessera

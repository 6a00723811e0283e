// step_batch.hpp — one step's rows as the flat arrays that kernels read.
//
// The scheduler fills it with (sequence, number of tokens) pairs; build() writes the arrays of
// StepInput from them. Everything is reserved when the batch is made, so a step does not allocate.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/sequence.hpp"
#include "kernels/backend.hpp"

namespace tessera {

// A sequence's part in a step: its next `num_rows` tokens.
struct BatchEntry {
  Sequence* sequence;
  int num_rows;
  bool catches_up;  // the last row is the sequence's last token
  bool continues;   // and its logits are wanted
  int num_outputs;  // of the prompt's rows: states, or logits that come before those
};

// Owned and called by the engine thread alone.
class StepBatch {
 public:
  // `max_context` is the most tokens a sequence may have.
  StepBatch(const BackendLimits& limits, int max_context);

  // Filling, by the scheduler.
  void clear();
  void add(Sequence& sequence, int num_rows);
  void add_preempted(Sequence& sequence) { preempted_.push_back(&sequence); }

  std::span<const BatchEntry> entries() const { return entries_; }
  // Sequences that lost their blocks, and with them their claim to an adapter slot, in this step.
  std::span<Sequence* const> preempted() const { return preempted_; }
  int num_rows() const { return num_rows_; }
  // Rows of prompts whose logits are wanted.
  int num_prompt_logits() const { return num_prompt_logits_; }
  bool empty() const { return entries_.empty(); }

  // Writes the arrays. Each sequence's slot must be set. The views live until the next clear().
  // The backend's logits and states come in the order of the entries.
  StepInput build();

 private:
  void add_output_rows(const BatchEntry& entry, std::int32_t first_row);

  int num_rows_ = 0;
  int num_prompt_logits_ = 0;
  std::vector<BatchEntry> entries_;
  std::vector<Sequence*> preempted_;

  std::vector<TokenId> tokens_;             // (rows,)
  std::vector<std::int32_t> positions_;     // (rows,)
  std::vector<std::int32_t> seq_indptr_;    // (seqs + 1,)
  std::vector<BlockId> blocks_;             // ragged
  std::vector<std::int32_t> block_indptr_;  // (seqs + 1,)
  std::vector<AdapterSlot> slots_;          // (seqs,)
  std::vector<std::int32_t> head_rows_;     // of prompts, and of entries that continue
  std::vector<std::int32_t> state_rows_;    // of prompts
  std::vector<std::uint8_t> long_rope_;     // (seqs,)
  std::vector<std::int32_t> lora_start_;    // (seqs,)
  std::vector<MixTerm> mixes_;              // ragged
  std::vector<std::int32_t> mix_indptr_;    // (seqs + 1,)
};

}  // namespace tessera

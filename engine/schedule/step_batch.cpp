#include "engine/schedule/step_batch.hpp"

#include <algorithm>
#include <cassert>

namespace tessera {

StepBatch::StepBatch(const BackendLimits& limits, int max_context) {
  const auto rows = static_cast<std::size_t>(limits.max_rows);
  const auto seqs = static_cast<std::size_t>(limits.max_seqs);
  const auto blocks_per_seq =
      static_cast<std::size_t>((max_context + limits.block_size - 1) / limits.block_size);
  entries_.reserve(seqs);
  preempted_.reserve(seqs);
  tokens_.reserve(rows);
  positions_.reserve(rows);
  seq_indptr_.reserve(seqs + 1);
  blocks_.reserve(seqs * blocks_per_seq);
  block_indptr_.reserve(seqs + 1);
  slots_.reserve(seqs);
  long_rope_.reserve(seqs);
  lora_start_.reserve(seqs);
  mixes_.reserve(seqs * kMaxMixTerms);
  mix_indptr_.reserve(seqs + 1);
  head_rows_.reserve(static_cast<std::size_t>(limits.max_logit_rows));
  state_rows_.reserve(rows);
}

void StepBatch::clear() {
  num_rows_ = 0;
  num_prompt_logits_ = 0;
  entries_.clear();
  preempted_.clear();
}

void StepBatch::add(Sequence& sequence, int num_rows) {
  assert(num_rows >= 1);
  assert(num_rows <= sequence.num_left());
  const bool catches_up = num_rows == sequence.num_left();
  const int num_outputs = sequence.unread_in(num_rows);
  entries_.push_back(
      {&sequence, num_rows, catches_up, catches_up && sequence.generates(), num_outputs});
  num_rows_ += num_rows;
  if (sequence.prompt_output == PromptOutput::kLogprobs) num_prompt_logits_ += num_outputs;
}

// `first_row` is the entry's.
void StepBatch::add_output_rows(const BatchEntry& entry, std::int32_t first_row) {
  const Sequence& sequence = *entry.sequence;
  auto& rows = sequence.prompt_output == PromptOutput::kLogprobs ? head_rows_ : state_rows_;
  const int first = std::max(sequence.unread_begin - sequence.num_computed, 0);
  for (int i = 0; i < entry.num_outputs; ++i) rows.push_back(first_row + first + i);
  if (entry.continues) head_rows_.push_back(first_row + entry.num_rows - 1);
}

StepInput StepBatch::build() {
  tokens_.clear();
  positions_.clear();
  blocks_.clear();
  slots_.clear();
  long_rope_.clear();
  lora_start_.clear();
  mixes_.clear();
  mix_indptr_.assign(1, 0);
  head_rows_.clear();
  state_rows_.clear();
  seq_indptr_.assign(1, 0);
  block_indptr_.assign(1, 0);
  for (const BatchEntry& entry : entries_) {
    const Sequence& sequence = *entry.sequence;
    const int end = sequence.num_computed + entry.num_rows;
    for (int position = sequence.num_computed; position < end; ++position) {
      tokens_.push_back(sequence.tokens[static_cast<std::size_t>(position)]);
      positions_.push_back(position);
    }
    blocks_.insert(blocks_.end(), sequence.blocks.begin(), sequence.blocks.end());
    slots_.push_back(sequence.slot);
    long_rope_.push_back(sequence.long_rope ? 1 : 0);
    lora_start_.push_back(sequence.lora_start);
    for (const SequenceAdapter& term : sequence.mix) mixes_.push_back({term.slot, term.weight});
    mix_indptr_.push_back(static_cast<std::int32_t>(mixes_.size()));
    seq_indptr_.push_back(static_cast<std::int32_t>(tokens_.size()));
    block_indptr_.push_back(static_cast<std::int32_t>(blocks_.size()));
    add_output_rows(entry, seq_indptr_.back() - entry.num_rows);
  }
  return {.tokens = tokens_,
          .positions = positions_,
          .seq_indptr = seq_indptr_,
          .blocks = blocks_,
          .block_indptr = block_indptr_,
          .slots = slots_,
          .head_rows = head_rows_,
          .long_rope = long_rope_,
          .lora_start = lora_start_,
          .mixes = mixes_,
          .mix_indptr = mix_indptr_,
          .state_rows = state_rows_};
}

}  // namespace tessera

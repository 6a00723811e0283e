#include "engine/schedule/step_batch.hpp"

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
  head_rows_.reserve(seqs);
}

void StepBatch::clear() {
  num_rows_ = 0;
  entries_.clear();
  preempted_.clear();
}

void StepBatch::add(Sequence& sequence, int num_rows) {
  assert(num_rows >= 1);
  assert(num_rows <= sequence.num_left());
  entries_.push_back({&sequence, num_rows, num_rows == sequence.num_left()});
  num_rows_ += num_rows;
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
    if (entry.catches_up) head_rows_.push_back(seq_indptr_.back() - 1);
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
          .mix_indptr = mix_indptr_};
}

}  // namespace tessera

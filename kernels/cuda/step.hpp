// step.hpp — one step as kernels see it: arrays in device memory whose addresses never change.
//
// The host writes a step's numbers into one pinned buffer and copies it whole; every kernel reads
// its counts from there. So a launch, and a graph of launches, depends on nothing but the bucket
// of rows that it was made for: kernels are launched for `capacity` rows and do nothing for those
// beyond counts->rows.
#pragma once

#include <cstdint>

#include "kernels/backend.hpp"

namespace tessera {

struct StepCounts {
  std::int32_t rows = 0;
  std::int32_t seqs = 0;
  std::int32_t head_rows = 0;
};

struct DeviceStep {
  const StepCounts* counts = nullptr;
  const TokenId* tokens = nullptr;             // (rows,)
  const std::int32_t* positions = nullptr;     // (rows,)
  const std::int32_t* seq_of_row = nullptr;    // (rows,)
  const std::int32_t* seq_indptr = nullptr;    // (seqs + 1,)
  const BlockId* blocks = nullptr;             // ragged, by block_indptr
  const std::int32_t* block_indptr = nullptr;  // (seqs + 1,)
  const std::int32_t* head_rows = nullptr;     // (head_rows,)
  const std::int32_t* long_rope = nullptr;     // (seqs,) 0 or 1
  // Adapters of each row, first to last; a slot of kNoAdapter ends the list. A row before its
  // sequence's lora_start has none. (rows, kMaxMixTerms)
  const MixTerm* terms = nullptr;
};

}  // namespace tessera

// step_runner.hpp — drives a Backend as the engine does: sequences, blocks, steps.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.hpp"

namespace tessera {

using Logits = std::vector<float>;  // (vocab_size,)

// The largest difference, as a fraction of the largest that was expected; a NaN if one is.
double relative_error(const Logits& actual, const Logits& expected);

// Runs the stages of one step.
void run_stages(Backend& backend, const ModelSpec& spec, const StepInput& input);

// One sequence: its tokens, its adapter and, as they are computed, its logits.
struct TestSequence {
  std::vector<TokenId> tokens;
  AdapterSlot slot = kNoAdapter;
  bool long_rope = false;       // StepInput::long_rope
  std::int32_t lora_start = 0;  // StepInput::lora_start
  std::vector<MixTerm> mix;     // instead of a slot
  std::vector<BlockId> blocks;
  std::vector<Logits> logits;  // of the positions computed so far

  int computed() const { return static_cast<int>(logits.size()); }
  int left() const { return static_cast<int>(tokens.size()) - computed(); }
};

// Part of a step: the next `count` tokens of a sequence.
struct Chunk {
  TestSequence* sequence;
  int count;
};

// Runs one step of the chunks and appends the logits of every row to its sequence.
void run_step(Backend& backend, const ModelSpec& spec, std::span<const Chunk> chunks);

}  // namespace tessera

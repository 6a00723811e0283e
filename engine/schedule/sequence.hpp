// sequence.hpp — one request as the scheduler sees it: token ids, and how many are computed.
//
// There is no prefill phase and no decode phase. A sequence has num_tokens() tokens, of which the
// keys and values of num_computed are in its blocks; a step lets the second number catch up with
// the first. When it has caught up, the last row's logits give one more token.
//
// States:
//   kWaitingForAdapter  its adapter's pages are not in host memory yet; not in the queue
//   kWaiting            in the fair queue; holds no blocks
//   kRunning            holds blocks; computed in steps
//   kFinished           holds nothing; the scheduler has forgotten it
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/schedule/block_pool.hpp"
#include "engine/schedule/prompt_output.hpp"
#include "engine/schedule/running_adapters.hpp"
#include "kernels/lora.hpp"
#include "kernels/model_spec.hpp"
#include "storage/digest.hpp"

namespace tessera {

// One of the adapters that a sequence mixes.
struct SequenceAdapter {
  AdapterDigest digest;
  float weight = 1.0F;
  std::size_t bytes = 0;          // of its pages; known when they are there
  AdapterSlot slot = kNoAdapter;  // valid while kRunning
};

// What a sequence uses, without a heap.
class AdapterUses {
 public:
  void push_back(const AdapterUse& use) { uses_[size_++] = use; }
  operator std::span<const AdapterUse>() const { return {uses_.data(), size_}; }

 private:
  std::array<AdapterUse, kMaxMixTerms> uses_;
  std::size_t size_ = 0;
};

enum class SequenceState : std::uint8_t { kWaitingForAdapter, kWaiting, kRunning, kFinished };

// Owned by whoever adds it to the Scheduler, and kept alive until it is removed. Between the two
// only the scheduler changes it, but for append() and `slot`.
struct Sequence {
  // `max_tokens` are reserved for generation, so that append() never allocates; 0 only where the
  // prompt has an output.
  Sequence(std::uint64_t sequence_id, std::vector<TokenId> prompt, int max_tokens,
           PromptOutput output = PromptOutput::kNone);

  std::uint64_t id;
  std::vector<TokenId> tokens;  // the prompt, then what was generated
  int num_prompt_tokens;
  int max_total_tokens;  // prompt and max_tokens

  // The positions of the prompt whose rows' output is still to be taken. Preemption takes back none
  // that was, and a row whose output is to come cannot be served by a cached prefix.
  PromptOutput prompt_output;
  int unread_begin = 0;
  int unread_end = 0;

  std::string tenant;                    // the fairness key
  int weight = 1;                        // >= 1: of its tokens as many cost what one does
  int queue_rank = 0;                    // see FairQueue
  bool long_rope = false;                // StepInput::long_rope
  std::uint64_t cache_salt = 0;          // who may share its blocks
  std::optional<AdapterDigest> adapter;  // none: the base alone; of a mix: the mix's own digest
  std::size_t adapter_bytes = 0;         // of its pages; known when its pages are there
  AdapterSlot slot = kNoAdapter;         // valid while kRunning with one adapter
  std::vector<SequenceAdapter> mix;      // what `adapter` is a mix of; empty: itself
  int lora_start = 0;                    // StepInput::lora_start; known when the pages are there

  SequenceState state = SequenceState::kWaiting;
  int num_computed = 0;      // tokens whose keys and values are in `blocks`
  int num_cached = 0;        // of its prompt, those found in the prefix cache when it first ran
  int num_times_passed = 0;  // others that started before it because it did not fit
  bool has_run = false;      // when waiting, it was preempted
  BlockTable blocks;
  PrefixChain chain;  // names of its full blocks

  int num_tokens() const { return static_cast<int>(tokens.size()); }
  int num_generated() const { return num_tokens() - num_prompt_tokens; }
  int num_left() const { return num_tokens() - num_computed; }
  AdapterUses adapter_uses() const;

  bool generates() const { return max_total_tokens > num_prompt_tokens; }
  bool is_unread() const { return unread_begin < unread_end; }
  // The tokens of which a cached prefix may serve all but the last.
  std::span<const TokenId> matchable() const;
  // How many of the next `num_rows` rows have output to be taken; they are adjacent.
  int unread_in(int num_rows) const;
  // As many of the rows that are left as have at most `max_outputs` of them.
  int rows_within(int max_outputs) const;

  void append(TokenId token) { tokens.push_back(token); }
};

}  // namespace tessera

// engine_request.hpp — a sequence with what the scheduler need not know about it. A part of
// EngineCore, for its own source files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine_core.hpp"

namespace tessera {

struct EngineCore::Source {
  int row = 0;                         // of the step's logits, and
  std::optional<std::size_t> drawn{};  // of drawn_rows_, if it was drawn; or
  std::span<const float> held = {};    // the logits that the request kept
};

struct EngineCore::Request : Sequence {
  Request(std::uint64_t request_id, GenerationRequest request,
          std::shared_ptr<TokenStream> token_stream)
      : Sequence(request_id, std::move(request.prompt), request.sampling.max_tokens,
                 request.prompt_output),
        sampling(std::move(request.sampling)),
        counts(tokens, sampling),
        stream(std::move(token_stream)) {
    tenant = std::move(request.tenant);
    weight = std::max(request.weight, 1);
    queue_rank = request.queue_rank;
    max_queue = request.max_queue;
    cache_salt = request.cache_salt;
    adapter = request.adapter;
    set_adapters(request);
    if (!request.constraint) return;
    guided = std::make_shared<GuidedSequence>(
        std::move(request.constraint),
        GuidedSequence::Options{.max_tokens = sampling.max_tokens,
                                .complete_within = request.complete_within_max_tokens,
                                .may_force = sampling.num_logprobs < 0});
  }

  void set_adapters(const GenerationRequest& request) {
    if (!adapter) return;
    for (const MixedAdapter& term : request.mix) {
      mix.push_back({.digest = term.digest, .weight = term.weight});
      wanted.push_back(term.digest);
    }
    if (wanted.empty()) wanted.push_back(*adapter);
    pages.resize(wanted.size());
    pins.reserve(wanted.size());
  }
  // The prompt has no use for its adapters.
  void leave_adapters() {
    adapter.reset();
    mix.clear();
    wanted.clear();
    pages.clear();
  }
  void release_pages() { std::ranges::fill(pages, nullptr); }
  bool holds_pages() const {
    return std::ranges::any_of(pages, [](const auto& pin) { return pin != nullptr; });
  }

  // The state that the prompt's output is, once all of its rows have been taken; or the one row's.
  std::vector<float> state_so_far() const {
    const bool is_mean = prompt_output == PromptOutput::kMeanState;
    const double count = is_mean ? static_cast<double>(num_prompt_tokens) : 1.0;
    std::vector<float> output;
    for (const double sum : state_sum) output.push_back(static_cast<float>(sum / count));
    return output;
  }

  bool waits_for_first_step() const {
    return state != SequenceState::kRunning && state != SequenceState::kFinished &&
           num_prompt_computed == 0;
  }

  // As Sequence's, and counted.
  void append(TokenId token) {
    Sequence::append(token);
    counts.add(token);
  }

  SamplingParams sampling;
  std::vector<double> state_sum;  // (hidden,) of the prompt's states so far
  TokenCounts counts;
  std::shared_ptr<TokenStream> stream;
  int num_prompt_computed = 0;          // at most; preemption does not take it back
  std::vector<AdapterDigest> wanted;    // its adapter, or those that it mixes
  std::vector<HostCache::Pin> pages;    // of each of them, once they are in host memory
  std::vector<AdapterSlots::Pin> pins;  // of each of them, while it runs
  bool answered = false;                // its first token was counted
  std::optional<int> max_queue;         // as GenerationRequest has it

  std::shared_ptr<GuidedSequence> guided;  // null: no constraint
  std::optional<std::size_t> drawn;        // of the step's drawn_rows_: its token
  bool held = false;                       // caught up, and waits for its mask with
  std::vector<float> held_logits;          // (vocab_size,)
};

}  // namespace tessera

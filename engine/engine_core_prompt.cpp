// engine_core_prompt.cpp — what requests want to know of their prompts: states, log-probabilities.
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/engine_core.hpp"
#include "engine/engine_request.hpp"

namespace tessera {

// Takes what the entry's rows say of the prompt. Who wanted no more than that is done then.
void EngineCore::read_prompt(Request& request, const BatchEntry& entry) {
  if (request.prompt_output == PromptOutput::kLogprobs) {
    score_prompt(request, entry.num_outputs);
  } else {
    add_states(request, entry.num_outputs);
  }
  request.unread_begin += entry.num_outputs;
  const bool is_done = entry.catches_up && !entry.continues;
  if (!is_done || request.state == SequenceState::kFinished) return;
  count_prompt(request);
  const bool is_state = request.prompt_output != PromptOutput::kLogprobs;
  finish(request, is_state ? FinishReason::kStop : FinishReason::kLength);
}

void EngineCore::score_prompt(Request& request, int num_rows) {
  for (int i = 0; i < num_rows; ++i) {
    const auto logits = backend_->logits(next_logits_++);
    if (request.state == SequenceState::kFinished) continue;
    const TokenId token = request.tokens[static_cast<std::size_t>(request.unread_begin + i + 1)];
    auto scored = sampler_.score(logits, token, request.sampling.num_logprobs);
    if (!scored) {
      finish(request, FinishReason::kError, not_finite());
    } else {
      request.stream->push_prompt(*std::move(scored));
    }
  }
}

// In order of position, whatever the steps were.
void EngineCore::add_states(Request& request, int num_rows) {
  for (int i = 0; i < num_rows; ++i) {
    const auto state = backend_->state(next_state_++);
    request.state_sum.resize(state.size());
    for (std::size_t j = 0; j < state.size(); ++j) {
      request.state_sum[j] += static_cast<double>(state[j]);
    }
  }
  const auto is_finite = [](double value) { return std::isfinite(value); };
  if (num_rows > 0 && !std::ranges::all_of(request.state_sum, is_finite)) {
    finish(request, FinishReason::kError, not_finite());
  }
}

void EngineCore::count_prompt(Request& request) {
  if (std::exchange(request.answered, true)) return;
  counters_.num_prompt_tokens += static_cast<std::uint64_t>(request.num_prompt_tokens);
  counters_.num_cached_tokens += static_cast<std::uint64_t>(request.num_cached);
}

}  // namespace tessera

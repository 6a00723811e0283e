// engine_core_check.cpp — whether a request can be served at all.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <string>

#include "engine/engine_core.hpp"

namespace tessera {
namespace {

Error invalid(std::string param, std::string range) {
  return {Code::kInvalidValue, "'" + param + "' must be " + range + ".", param};
}

Result<void> check_adjustments(const SamplingParams& params) {
  if (!std::isfinite(params.frequency_penalty)) return invalid("frequency_penalty", "a number");
  if (!std::isfinite(params.presence_penalty)) return invalid("presence_penalty", "a number");
  if (!(params.repetition_penalty > 0.0F) || std::isinf(params.repetition_penalty)) {
    return invalid("repetition_penalty", "a number above 0");
  }
  if (params.min_tokens < 0 || params.min_tokens > params.max_tokens) {
    return invalid("min_tokens", "between 0 and max_tokens");
  }
  return {};
}

Result<void> check_sampling(const SamplingParams& params, int max_logprobs) {
  if (!(params.temperature >= 0.0F) || std::isinf(params.temperature)) {
    return invalid("temperature", "a number that is at least 0");
  }
  if (params.top_k < 0) return invalid("top_k", "at least 0");
  if (!(params.top_p > 0.0F && params.top_p <= 1.0F)) return invalid("top_p", "in (0, 1]");
  if (!(params.min_p >= 0.0F && params.min_p <= 1.0F)) return invalid("min_p", "in [0, 1]");
  if (params.num_logprobs < -1 || params.num_logprobs > max_logprobs) {
    return invalid("top_logprobs", "between 0 and " + std::to_string(max_logprobs));
  }
  return check_adjustments(params);
}

Result<void> check_prompt_output(const GenerationRequest& request, const BackendLimits& limits) {
  const PromptOutput output = request.prompt_output;
  const int least = output == PromptOutput::kNone ? 1 : 0;
  if (request.sampling.max_tokens < least) {
    return invalid("max_tokens", "at least " + std::to_string(least));
  }
  const bool is_state = output == PromptOutput::kLastState || output == PromptOutput::kMeanState;
  if (is_state && request.sampling.max_tokens > 0) {
    return invalid("max_tokens", "0 where a state of the prompt is asked for");
  }
  if (output != PromptOutput::kLogprobs) return {};
  if (request.sampling.num_logprobs < 0) {
    return invalid("logprobs", "given where log-probabilities of the prompt are asked for");
  }
  if (limits.max_logit_rows <= limits.max_seqs) {
    return Error{Code::kUnsupportedParameter, "This server tells no log-probabilities of prompts.",
                 "echo"};
  }
  return {};
}

Result<void> check_guided(const GenerationRequest& request) {
  if (request.constraint && request.sampling.ignore_eos) {
    return invalid("ignore_eos", "false where the answer is constrained");
  }
  if (request.constraint && request.sampling.min_tokens > 0) {
    return invalid("min_tokens", "0 where the answer is constrained");
  }
  if (request.complete_within_max_tokens && request.sampling.num_logprobs >= 0) {
    return invalid("complete_within_max_tokens", "false where log-probabilities are asked for");
  }
  return {};
}

Result<void> check_adapters(const GenerationRequest& request, int max_adapters) {
  if (request.mix.empty()) return {};
  assert(request.adapter == mix_digest(request.mix));
  if (std::ssize(request.mix) > max_adapters) {
    return invalid("adapters", "at most " + std::to_string(max_adapters) + " adapters");
  }
  return check_mix(request.mix);
}

}  // namespace

Result<void> EngineCore::check(const GenerationRequest& request) const {
  if (const auto sampling = check_sampling(request.sampling, config_.max_logprobs); !sampling) {
    return sampling.error();
  }
  if (auto output = check_prompt_output(request, config_.backend); !output) return output;
  const auto is_known = [this](TokenId id) { return id >= 0 && id < vocab_size_; };
  if (request.prompt.empty() || !std::ranges::all_of(request.prompt, is_known)) {
    return invalid("prompt", "at least one token of the model's vocabulary");
  }
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    if (!is_known(token) || !std::isfinite(bias)) {
      return invalid("logit_bias", "a map from the model's token ids to numbers");
    }
  }
  if (!std::ranges::all_of(request.sampling.stop_token_ids, is_known)) {
    return invalid("stop_token_ids", "tokens of the model's vocabulary");
  }
  const std::size_t prompt = request.prompt.size();
  const std::size_t answer = static_cast<std::size_t>(request.sampling.max_tokens);
  if (prompt + answer > static_cast<std::size_t>(max_context_)) {
    return Error{Code::kContextLengthExceeded,
                 "This model's maximum context length is " + std::to_string(max_context_) +
                     " tokens; the request needs " + std::to_string(prompt + answer) + ": " +
                     std::to_string(prompt) + " in the prompt and " + std::to_string(answer) +
                     " for the answer. Shorten the prompt or ask for a shorter answer."};
  }
  if (auto adapters = check_adapters(request, config_.adapters.max_adapters); !adapters) {
    return adapters;
  }
  return check_guided(request);
}

}  // namespace tessera

// generation_request.hpp — what the gateway asks of the engine: token ids, and how to go on.
//
// A request names its adapter by digest, never by name, so an alias that moves while the request
// waits cannot change whose weights answer it (promise P1).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/adapter_mix.hpp"
#include "engine/schedule/prompt_output.hpp"
#include "kernels/model_spec.hpp"
#include "storage/digest.hpp"

namespace tessera {

namespace guided {
class Constraint;
}

// How the next token is chosen, and when to stop. The filters apply in the order in which they
// stand here, each to what the one before has left.
struct SamplingParams {
  float temperature = 1.0F;  // >= 0; 0 takes the most likely token and ignores the filters
  int top_k = 0;             // keep the k most likely; 0: all
  float top_p = 1.0F;        // (0, 1]: keep the smallest set of at least this probability
  float min_p = 0.0F;        // [0, 1]: drop what is less likely than min_p times the most likely
  std::uint64_t seed = 0;    // drawn by the gateway when the client gave none
  int max_tokens = 16;       // tokens to generate at most; 0: only with a PromptOutput
  int num_logprobs = -1;     // -1: none; 0: of the chosen token; n: and of the n most likely
  // Tell all raw logits with each token that is sampled. Hundreds of kilobytes a token: for the
  // server's own trials, never on a client's word. Without effect under a constraint.
  bool keep_logits = false;
  std::vector<TokenId> stop_token_ids = {};  // end the answer, like the model's own end tokens
  bool ignore_eos = false;                   // go on past the model's own end tokens
  // Before all of that: see logit_adjuster.hpp. Log-probabilities are told as if there were none.
  float frequency_penalty = 0.0F;
  float presence_penalty = 0.0F;
  float repetition_penalty = 1.0F;                         // > 0
  std::vector<std::pair<TokenId, float>> logit_bias = {};  // of different tokens
  int min_tokens = 0;                                      // at most max_tokens
};

struct GenerationRequest {
  std::vector<TokenId> prompt = {};  // at least one token
  SamplingParams sampling = {};
  // None: the base alone. With a mix: mix_digest() of it.
  std::optional<AdapterDigest> adapter = {};
  std::vector<MixedAdapter> mix = {};  // as check_mix() wants it; empty: `adapter` itself
  std::string tenant = {};             // the fairness key
  int weight = 1;                      // >= 1: its tenant's share beside others that wait
  int queue_rank = 0;                  // of its tenant's requests, smaller ones go first
  // If it has to wait for its first step, it is one of so many at most of its tenant's that do, or
  // finishes with kQueueFull. Nullopt: it is not counted.
  std::optional<int> max_queue = {};
  std::uint64_t cache_salt = 0;  // who may share cached prefixes: the server's, not theirs

  // What the answer has to be; null: anything. Of a vocabulary as wide as the model's, with the
  // engine's end tokens. Not with ignore_eos.
  std::shared_ptr<guided::Constraint> constraint = {};
  // End the answer, by a shortest way that the constraint allows, before max_tokens would cut it.
  // Not with log-probabilities, which tokens that are not sampled do not have.
  bool complete_within_max_tokens = false;

  // A state comes with the finish, and nothing is generated after it: max_tokens is 0. Of
  // log-probabilities as many are told of each token as sampling.num_logprobs asks for.
  PromptOutput prompt_output = PromptOutput::kNone;
};

}  // namespace tessera

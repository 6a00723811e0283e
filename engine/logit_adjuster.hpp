// logit_adjuster.hpp — what a request changes in the model's logits before a token is chosen:
// penalties for what was said already, biases, and no end before min_tokens.
//
//   repetition_penalty r (Keskar et al., 2019): of every token of prompt and answer, a positive
//       logit is divided by r and a negative one multiplied
//   frequency_penalty f, presence_penalty p (OpenAI): logit - f * count - p * (count > 0), over the
//       answer's tokens
//   logit_bias: added
//   min_tokens: the end tokens have no probability until the answer has so many tokens
//
// in that order. A function of the request and of its own tokens alone (promise P2).
#pragma once

#include <cstddef>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/generation_request.hpp"
#include "kernels/drawing.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// Whether any of them is asked for.
bool has_penalties(const SamplingParams& params);

// How often each token stands in a sequence; in the answer alone, and anywhere. Kept along with it,
// so that a step costs what its new tokens cost.
class TokenCounts {
 public:
  // Nothing is counted if `params` need no counts.
  TokenCounts(std::span<const TokenId> prompt, const SamplingParams& params);

  // One more token of the answer.
  void add(TokenId token);

  std::span<const SeenToken> seen() const { return seen_; }  // each token once

 private:
  SeenToken& entry(TokenId token);

  bool counts_;
  std::vector<SeenToken> seen_;                        // in the order in which they came
  std::unordered_map<TokenId, std::size_t> index_of_;  // in seen_
};

// Not thread-safe: owned by the engine thread. Allocates once.
class LogitAdjuster {
 public:
  explicit LogitAdjuster(int vocab_size) : vocab_size_(vocab_size) {}

  // `logits` (vocab_size,) as `params` want them, which are `logits` themselves if they want
  // nothing; else valid until the next call. `ends` are the tokens that end the answer, of which
  // `num_generated` tokens are there.
  std::span<const float> adjust(std::span<const float> logits, const SamplingParams& params,
                                const TokenCounts& counts, std::span<const TokenId> ends,
                                int num_generated);

 private:
  void penalise(const SamplingParams& params, const TokenCounts& counts);

  int vocab_size_;
  std::vector<float> adjusted_;
};

}  // namespace tessera

// sampler.hpp — from a row of logits to the next token.
//
// Drawing walks the vocabulary in order of id until the running probability passes a random number.
// The filters only find the last token that is kept in order of rank (higher logit first, ties by
// lower id), so the result is a function of logits, params and position, and of nothing else: no
// state, no sort whose order could matter, no dependence on the batch (promise P2). Probabilities
// are integers (kernels/drawing_math.hpp), whose sums have no order to keep: a backend that draws
// (Backend::draw) comes to the same token in whatever order it adds.
//
// Under a constraint the tokens outside of its mask have no probability from the start: the filters
// see, and the seed draws from, what is left. Log-probabilities stay the model's own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/generation_request.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/token_stream.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// Not thread-safe: owned by the engine thread. Its members are scratch space.
class Sampler {
 public:
  explicit Sampler(int vocab_size);

  // The token for `position` of a sequence whose model gave `logits` (vocab_size,), with the
  // log-probabilities that params.num_logprobs asks for. `mask` (of vocab_size; null: all) says
  // which tokens there may be. nullopt if the logits of those are no distribution (a NaN, an
  // infinity on top): the model has overflowed; or if there are none. Log-probabilities are those
  // of `model_logits` (empty: of `logits`), which a LogitAdjuster made `logits` of. Allocates only
  // for GeneratedToken::top.
  std::optional<GeneratedToken> sample(std::span<const float> logits, const SamplingParams& params,
                                       int position, const guided::TokenMask* mask = nullptr,
                                       std::span<const float> model_logits = {});

  // A token that is there already, with its log-probabilities as sample() tells them; nullopt if
  // the logits are no distribution.
  std::optional<GeneratedToken> score(std::span<const float> logits, TokenId id, int num_logprobs);

 private:
  TokenId draw(std::span<const float> logits, const SamplingParams& params, TokenId best,
               int position);
  void drop_after(TokenId last, std::span<const float> logits);
  void drop_below(std::uint64_t least);
  // The last token that top_k and top_p keep, in order of rank; nullopt if they drop none.
  std::optional<TokenId> last_kept(std::span<const float> logits, const SamplingParams& params);
  // The first of `ranked` at which their masses' running sum reaches `wanted`.
  std::optional<TokenId> first_to_reach(std::span<const TokenId> ranked,
                                        std::uint64_t wanted) const;
  // The `count` tokens that rank first, in order.
  std::span<const TokenId> rank_top(std::span<const float> logits, int count);
  void add_logprobs(std::span<const float> logits, int num_top, GeneratedToken& token);

  std::vector<std::uint64_t> masses_;  // (vocab_size,) mass_of() each
  std::vector<TokenId> ids_;           // (vocab_size,) in the order rank_top left them
  std::vector<float> masked_;          // (vocab_size,) once a mask was given
};

}  // namespace tessera

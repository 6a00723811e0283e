// sampler_kernels.hpp — tokens drawn on the device from logits that are there.
//
// Penalties, biases, bitmask, temperature, top-k, top-p, min-p, then one uniform number that is a
// function of (seed, position) alone, so that a sequence's tokens do not depend on its company.
// What each means, and in which order: the engine's logit adjuster and sampler, whose tokens these
// are.
//
// Probabilities are summed as integers, weights exp((logit - largest) / temperature) in units of
// 2^-45: sums that no order of additions changes, so that a whole CTA adds at once and two runs
// agree to the bit. Against sums of doubles that moves a boundary by 2^-28 of a probability.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// Largest vocabulary, so that weights of one add up in 64 bits.
inline constexpr int kMaxSampledVocab = 1 << 18;
inline constexpr int kMaxTopLogprobs = 20;

// How one row of logits is sampled; device memory, written by the host each step. Ranges are
// [begin, end) of the lists of SamplerLists.
struct SampleRow {
  float temperature = 1.0F;  // 0: the largest logit, the lowest id among equals
  float top_p = 1.0F;
  float min_p = 0.0F;
  std::int32_t top_k = 0;  // 0: all
  float repetition_penalty = 1.0F;
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  std::int32_t seen_begin = 0;  // tokens that stand in the prompt or the answer
  std::int32_t seen_end = 0;
  std::int32_t bias_begin = 0;  // what is added, once the penalties are paid
  std::int32_t bias_end = 0;
  std::int32_t banned_begin = 0;  // tokens that must not be drawn, after all biases
  std::int32_t banned_end = 0;
  std::int32_t mask = -1;          // row of `masks`, or -1
  std::int32_t num_logprobs = -1;  // -1: none; 0: of the drawn token; n: and of the n most likely
  std::uint64_t seed = 0;
  std::uint64_t position = 0;
};

struct SeenToken {
  TokenId token;
  std::int32_t count;  // in the answer; 0: only in the prompt
};
struct TokenBias {
  TokenId token;
  float bias;
};

// Lists of all rows; a row's tokens differ within each list. Device memory.
struct SamplerLists {
  const SeenToken* seen = nullptr;
  const TokenBias* biases = nullptr;
  const TokenId* banned = nullptr;
  // (masks, mask_words): bit i of word w allows token 64 w + i; mask_words = ceil(vocab_size / 64).
  const std::uint64_t* masks = nullptr;
};

// What came of a row.
struct SampledToken {
  TokenId token = -1;    // -1: the logits are no distribution, or the mask allows none
  float logprob = 0.0F;  // the model's own, before any change
  TokenId top[kMaxTopLogprobs] = {};
  float top_logprobs[kMaxTopLogprobs] = {};
};

struct SamplerCall {
  const std::int32_t* num_rows = nullptr;  // one number
  const float* logits = nullptr;           // (rows, vocab_size), left as they are
  int vocab_size = 0;                      // at most kMaxSampledVocab
  const SampleRow* rows = nullptr;         // (rows,)
  SamplerLists lists;
  float* adjusted = nullptr;        // (rows, vocab_size) scratch
  SampledToken* sampled = nullptr;  // (rows,)
};
// For at most `capacity` rows. Enqueued on `stream`.
void sample(CudaStream& stream, const SamplerCall& call, int capacity);

}  // namespace tessera

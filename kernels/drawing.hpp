// drawing.hpp — what is asked of a backend that draws tokens where its logits are, and the host's
// part of the same arithmetic.
//
// What the filters and penalties mean, and in which order they apply, is the engine's to say
// (engine/sampler.hpp, engine/logit_adjuster.hpp): a backend that draws gives the same tokens and
// the same numbers, bit for bit (tests/kernels/cuda/sampler_kernels_test.cpp).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kernels/drawing_math.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

inline constexpr int kMaxTopLogits = 20;

struct SeenToken {
  TokenId token;
  std::int32_t count;  // in the answer; 0: only in the prompt
};
struct TokenBias {
  TokenId token;
  float bias;
};

// How one row is drawn from. The names are SamplingParams'.
struct DrawParams {
  float temperature = 1.0F;  // 0: the largest logit, the lowest id among equals
  std::int32_t top_k = 0;    // 0: all
  float top_p = 1.0F;
  float min_p = 0.0F;
  float repetition_penalty = 1.0F;
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  std::int32_t num_logprobs = -1;  // at most kMaxTopLogits
  std::uint64_t seed = 0;
  std::uint32_t position = 0;
};

// One row of a step's logits. Host memory, which lives until draw() has returned; a row's tokens
// differ within each list.
struct DrawRow {
  int row = 0;  // as of Backend::logits()
  DrawParams params;
  std::span<const SeenToken> seen = {};      // tokens of prompt and answer, if there are penalties
  std::span<const TokenBias> biases = {};    // added once the penalties are paid
  std::span<const TokenId> banned = {};      // must not be drawn
  std::span<const std::uint64_t> mask = {};  // bit i of word w allows token 64 w + i; empty: all
};

// What came of it.
struct DrawnToken {
  TokenId token = -1;  // -1: the logits are no distribution, or the mask allows none
  // If num_logprobs >= 0, of the model's own logits: what log_probability() wants.
  float logit = 0.0F;       // of the token
  float largest = 0.0F;     // of all
  std::uint64_t total = 0;  // of all masses, at a temperature of 1
  std::int32_t num_top = 0;
  std::array<TokenId, kMaxTopLogits> top = {};  // the most likely, best first
  std::array<float, kMaxTopLogits> top_logits = {};
};

// masses[i] = mass_of(weight_of(logits[i], ...)).
void fill_masses(std::span<const float> logits, float largest, float temperature,
                 std::span<std::uint64_t> masses);

// The logarithm of a token's probability, where the masses of all add up to `total`.
float log_probability(float logit, float largest, std::uint64_t total);

}  // namespace tessera

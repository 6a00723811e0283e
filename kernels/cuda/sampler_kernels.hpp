// sampler_kernels.hpp — tokens drawn on the device from logits that are there (drawing.hpp).
//
// Penalties, biases, bitmask, temperature, top-k, top-p, min-p, then one uniform number that is a
// function of (seed, position) alone, so that a sequence's tokens do not depend on its company.
// Masses are integers that no order of additions changes, so that a whole CTA adds at once; they
// are the host's to the bit (drawing_math.hpp), and so are the tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.hpp"
#include "kernels/drawing.hpp"

namespace tessera {

// A DrawRow in device memory; ranges are [begin, end) of the lists of SamplerLists.
struct SampleRow {
  DrawParams params;
  std::int32_t row = 0;  // of logits
  std::int32_t seen_begin = 0;
  std::int32_t seen_end = 0;
  std::int32_t bias_begin = 0;
  std::int32_t bias_end = 0;
  std::int32_t banned_begin = 0;
  std::int32_t banned_end = 0;
  std::int32_t mask = -1;  // row of `masks`, or -1
};

// Lists of all rows. Device memory.
struct SamplerLists {
  const SeenToken* seen = nullptr;
  const TokenBias* biases = nullptr;
  const TokenId* banned = nullptr;
  const std::uint64_t* masks = nullptr;  // (masks, ceil(vocab_size / 64))
};

struct SamplerCall {
  int num_rows = 0;
  const float* logits = nullptr;    // (logit rows, vocab_size), left as they are
  int vocab_size = 0;               // at most kMaxDrawnVocab
  const SampleRow* rows = nullptr;  // (num_rows,)
  SamplerLists lists;
  float* adjusted = nullptr;      // (num_rows, vocab_size) scratch
  DrawnToken* sampled = nullptr;  // (num_rows,)
};
// Enqueued on `stream`.
void sample(CudaStream& stream, const SamplerCall& call);

}  // namespace tessera

// sampler_kernels.hpp — tokens drawn on the device from logits that are there.
//
// Penalties, bitmask, temperature, top-k, top-p, min-p, then one uniform number that is a function
// of (seed, position) alone, so that a sequence's tokens do not depend on its company.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.hpp"

namespace tessera {

// How one row of logits is sampled; device memory, written by the host each step.
struct SampleRow {
  float temperature = 1.0F;  // 0: the largest logit, the lowest id among equals
  float top_p = 1.0F;
  float min_p = 0.0F;
  std::int32_t top_k = 0;  // 0: all
  float repetition_penalty = 1.0F;
  float presence_penalty = 0.0F;
  float frequency_penalty = 0.0F;
  std::int32_t seen_begin = 0;  // tokens the sequence has had: [begin, end) of `seen`
  std::int32_t seen_end = 0;
  std::int32_t mask = -1;  // row of `masks`, or -1
  std::uint64_t seed = 0;
  std::uint64_t position = 0;
};

}  // namespace tessera

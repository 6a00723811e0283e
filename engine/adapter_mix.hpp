// adapter_mix.hpp — several adapters in one request, each with a weight.
//
//   y = W x + sum of weight * B (A x)
//
// which is exactly the adapter whose ranks are those of all terms one behind the other, without
// making it. A mix is content like an adapter is (promise P1): its digest names the answers, the
// cached prefixes and the usage records of whoever asked for it.
#pragma once

#include <span>

#include "kernels/lora.hpp"
#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr float kMaxMixWeight = 16.0F;  // of either sign

struct MixedAdapter {
  AdapterDigest digest;
  float weight = 1.0F;
  bool operator==(const MixedAdapter&) const = default;
};

// SHA-256 over the terms in their order: each digest, and the bits of its weight.
AdapterDigest mix_digest(std::span<const MixedAdapter> terms);

// Errors: kInvalidValue, param "adapters", unless these are 1 to kMaxMixTerms different adapters
// with weights within kMaxMixWeight.
Result<void> check_mix(std::span<const MixedAdapter> terms);

}  // namespace tessera

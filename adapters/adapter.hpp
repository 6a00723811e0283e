// adapter.hpp — a LoRA adapter that has been understood: matrices in fp32, one pair a module.
//
// This is the canonical form. What the upload's files looked like (names, dtypes, the order of the
// tensors, the spelling of the config) is gone; what remains is exactly what changes the maths, and
// the digest over it, together with the base's, is the adapter's identity (promise P1).
#pragma once

#include <vector>

#include "adapters/base_model.hpp"
#include "storage/digest.hpp"

namespace tessera {

// y += scale * B (A x). For the embedding, x is one-hot over the vocabulary.
struct AdapterModule {
  BaseModule base = {};
  int rank = 0;
  float scale = 0.0F;         // alpha / r, or alpha / sqrt(r) for rsLoRA
  std::vector<float> a = {};  // (rank, in_features)
  std::vector<float> b = {};  // (out_features, rank), not scaled
};

struct Adapter {
  int num_layers = 0;                       // of the base
  int num_experts = 0;                      // of the base
  std::vector<AdapterModule> modules = {};  // of base_modules(), in that order; at least one
};

// SHA-256 over the base's digest and, per module in canonical order, its path, rank, scale, shapes
// and values. Two uploads that mean the same have the same digest, whatever their files look like.
AdapterDigest adapter_digest(const Adapter& adapter, const BaseDigest& base);

}  // namespace tessera

// adapter.hpp — a LoRA adapter that has been understood: matrices in fp32, one pair a module.
//
// This is the canonical form. What the upload's files looked like (names, dtypes, the order of the
// tensors, the spelling of the config) is gone; what remains is exactly what changes the maths, and
// the digest over it, together with the base's, is the adapter's identity (promise P1).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "adapters/base_model.hpp"
#include "adapters/safetensors.hpp"
#include "storage/digest.hpp"

namespace tessera {

// A pair that is still where the upload holds it, and read when it is needed: an adapter in fp32 is
// twice its file or more. The bytes are the file's, which outlives this; the dtypes are those of
// adapters (tensor_values.hpp).
struct StoredPair {
  Dtype a_dtype = Dtype::kF32;
  std::span<const std::byte> a = {};
  Dtype b_dtype = Dtype::kF32;
  std::span<const std::byte> b = {};
};

// y = out_scale * (W x + scale * B (A x)) + b_W + bias. For the embedding, x is one-hot over the
// vocabulary.
struct AdapterModule {
  BaseModule base = {};
  int rank = 0;                       // may be 0 beside an out_scale or a bias
  float scale = 0.0F;                 // alpha / r, or alpha / sqrt(r) for rsLoRA
  std::vector<float> a = {};          // (rank, in_features)
  std::vector<float> b = {};          // (out_features, rank), not scaled
  std::vector<float> out_scale = {};  // (out_features,) of DoRA: magnitude / |W + scale B A| by row
  std::vector<float> magnitude = {};  // (out_features,) what out_scale was made of
  std::vector<float> bias = {};       // (out_features,) beside the base's own
  std::optional<StoredPair> stored = {};  // instead of a and b, which then are empty
};

// Reads a stored pair into a and b.
void load_pair(AdapterModule& module);
// The module with its pair in a and b: itself, or `buffer`, whose memory is used again.
const AdapterModule& with_pair(const AdapterModule& module, AdapterModule& buffer);

// Rows of the embedding or of the head that the adapter replaces.
struct AdapterRows {
  std::vector<TokenId> ids = {};  // ascending
  std::vector<float> rows = {};   // (ids, hidden)
};

struct Adapter {
  int num_layers = 0;                       // of the base
  int num_experts = 0;                      // of the base
  std::vector<AdapterModule> modules = {};  // of base_modules(), in that order
  AdapterRows embed_rows = {};
  AdapterRows head_rows = {};
  // Activated LoRA: the adapter applies from the first token of the last occurrence of these tokens
  // in the prompt on (PEFT's rule; occurrences may overlap), also to all that is generated, and not
  // at all without one. Empty: from the first position.
  std::vector<TokenId> invocation = {};

  // Whether it can be mixed with others: pairs alone.
  bool is_plain() const;
};

// SHA-256 over the base's digest and, per module in canonical order, its path, rank, scale, shapes
// and values, then whatever makes it more than a plain adapter. Two uploads that mean the same have
// the same digest, whatever their files look like. Of DoRA it covers the magnitudes: the output
// scales follow from them and the base, up to how a processor rounds.
AdapterDigest adapter_digest(const Adapter& adapter, const BaseDigest& base);

}  // namespace tessera

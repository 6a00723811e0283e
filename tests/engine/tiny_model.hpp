// tiny_model.hpp — a random Llama of two layers and random adapters for it, made from a seed.
#pragma once

#include <cstdint>
#include <vector>

#include "adapters/adapter.hpp"
#include "kernels/model_spec.hpp"
#include "kernels/nf4.hpp"
#include "kernels/weights.hpp"

namespace tessera {

// Grouped-query attention, tied embeddings, 96 tokens, 256 positions.
ModelSpec tiny_spec();

// Owns what weights() views.
class TinyModel {
 public:
  explicit TinyModel(std::uint64_t seed);
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  const ModelWeights& weights() const { return weights_; }

 private:
  std::vector<Nf4Buffers> linears_;        // layer by layer
  std::vector<Bf16> embedding_;            // (vocab, hidden)
  std::vector<std::vector<float>> norms_;  // (hidden,) each; two a layer, then the last one
  ModelWeights weights_;
};

// Rank 1 to 24 on a random choice of modules, strong enough to change what the model says.
Adapter random_adapter(const ModelSpec& spec, std::uint64_t seed);

}  // namespace tessera

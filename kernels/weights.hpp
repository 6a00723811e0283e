// weights.hpp — the base model's weights as a view over mapped memory.
//
// Nothing here owns memory: engine/model/packed_model.hpp maps the file that `tessera quantize`
// wrote and fills in these views. Matrices are in the form in which the file keeps them
// (weight_matrix.hpp), in row order; a backend that wants another order repacks when it is made.
// A part that the model's shape (model_spec.hpp) does not have is null or empty.
#pragma once

#include <array>
#include <vector>

#include "kernels/model_spec.hpp"
#include "kernels/weight_matrix.hpp"

namespace tessera {

using ExpertWeights = std::array<WeightMatrix, kNumExpertLinears>;  // as kExpertLinears

struct LayerWeights {
  std::array<WeightMatrix, kNumLinears> linears;      // without gate, up, down where it has experts
  std::array<const float*, kNumLinears> biases = {};  // (out,) each, or null
  const float* attention_norm = nullptr;              // (hidden,)
  const float* mlp_norm = nullptr;                    // (hidden,)
  const float* post_attention_norm = nullptr;         // (hidden,), of what attention puts out
  const float* post_mlp_norm = nullptr;               // (hidden,), of what the MLP puts out
  const float* q_norm = nullptr;                      // (head_dim,) or (q_dim,), see QkNorm
  const float* k_norm = nullptr;                      // (head_dim,) or (kv_dim,)
  const float* router = nullptr;                      // (num_experts, hidden)
  std::vector<ExpertWeights> experts;                 // (num_experts,)
};

struct ModelWeights {
  ModelSpec spec;
  WeightMatrix embedding;  // (vocab, hidden)
  WeightMatrix head;       // (vocab, hidden); equals `embedding` when tied
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;
};

}  // namespace tessera

// weights.hpp — the base model's weights as a view over mapped memory.
//
// Nothing here owns memory: engine/model/packed_model.hpp maps the file that `tessera quantize`
// wrote and fills in these views. The linear modules are NF4 (nf4.hpp) in row order, the layout in
// which bitsandbytes keeps them; a backend that wants another order repacks when it is made.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/bf16.hpp"
#include "kernels/model_spec.hpp"
#include "kernels/nf4.hpp"

namespace tessera {

struct LayerWeights {
  std::array<Nf4Matrix, kNumLinears> linears;
  std::array<const float*, 3> qkv_bias = {};  // (out,) each, or null
  const float* attention_norm = nullptr;      // (hidden,)
  const float* mlp_norm = nullptr;            // (hidden,)
};

struct ModelWeights {
  ModelSpec spec;
  const Bf16* embedding = nullptr;  // (vocab, hidden)
  const Bf16* head = nullptr;       // (vocab, hidden); equals `embedding` when tied
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;
};

}  // namespace tessera

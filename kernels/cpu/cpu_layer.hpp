// cpu_layer.hpp — the base's weights as the CPU backend keeps them: repacked, layer by layer, with
// what is to be known of the activations that they multiply.
#pragma once

#include <array>
#include <vector>

#include "kernels/cpu/activation_rows.hpp"
#include "kernels/cpu/tiled_matrix.hpp"
#include "kernels/weights.hpp"

namespace tessera {

// One linear module.
struct BaseLinear {
  TiledMatrix weights;
  const float* bias = nullptr;        // (out,), the caller's, or null
  int order = StageOrders::kInOrder;  // of those of its stage
};

// Gate and up read the same rows, and so do q, k and v.
struct CpuExpert {
  std::array<BaseLinear, kNumExpertLinears> linears;  // as kExpertLinears
  StageOrders gate_up;
  StageOrders down;
};

struct CpuLayer {
  // Repacks on all threads of the pool. `source`, but for its matrices, outlives the layer.
  CpuLayer(const LayerWeights& source, const KernelTable& kernels, ThreadPool& pool);
  CpuLayer(CpuLayer&&) = default;

  // Once the layer is where it stays: the orders point into its matrices.
  void collect_orders();

  const BaseLinear& linear(Linear linear) const {
    return linears[static_cast<std::size_t>(linear)];
  }

  std::array<BaseLinear, kNumLinears> linears;
  StageOrders qkv;
  StageOrders o;
  StageOrders gate_up;
  StageOrders down;
  const float* attention_norm;
  const float* mlp_norm;
  const float* post_attention_norm;
  const float* post_mlp_norm;
  const float* q_norm;
  const float* k_norm;
  const float* router;
  std::vector<CpuExpert> experts;
};

std::vector<CpuLayer> make_layers(const ModelWeights& weights, const KernelTable& kernels,
                                  ThreadPool& pool);

// What a stage's rows must be able to hold for all of a model's layers.
struct StageNeeds {
  IntegerNeeds integers{.integers = false, .sums = false};
  int max_orders = 0;

  void add(const BaseLinear& linear);
  void add(const StageOrders& orders);
};

struct ModelNeeds {
  explicit ModelNeeds(const std::vector<CpuLayer>& layers);

  StageNeeds hidden;     // of q, k, v, gate and up, which read the normalised rows
  StageNeeds attention;  // of o
  StageNeeds mlp;        // of down
  StageNeeds expert_gate_up;
  StageNeeds expert_down;
};

}  // namespace tessera

#include "kernels/cpu/cpu_layer.hpp"

#include <algorithm>
#include <initializer_list>

namespace tessera {
namespace {

template <std::size_t kCount>
void add_orders(std::array<BaseLinear, kCount>& linears, std::size_t first, std::size_t last,
                StageOrders& orders) {
  for (std::size_t i = first; i < last; ++i) {
    if (linears[i].weights.out_features() == 0) continue;
    linears[i].order = orders.add(linears[i].weights.order());
  }
}

CpuExpert make_expert(const ExpertWeights& source, const KernelTable& kernels, ThreadPool& pool) {
  CpuExpert expert;
  for (std::size_t i = 0; i < source.size(); ++i) {
    expert.linears[i].weights = TiledMatrix(source[i], kernels, pool);
  }
  return expert;
}

}  // namespace

CpuLayer::CpuLayer(const LayerWeights& source, const KernelTable& kernels, ThreadPool& pool)
    : attention_norm(source.attention_norm),
      mlp_norm(source.mlp_norm),
      post_attention_norm(source.post_attention_norm),
      post_mlp_norm(source.post_mlp_norm),
      q_norm(source.q_norm),
      k_norm(source.k_norm),
      router(source.router) {
  for (std::size_t i = 0; i < kNumLinears; ++i) {
    if (source.linears[i]) linears[i].weights = TiledMatrix(source.linears[i], kernels, pool);
    linears[i].bias = source.biases[i];
  }
  for (const ExpertWeights& expert : source.experts) {
    experts.push_back(make_expert(expert, kernels, pool));
  }
}

void CpuLayer::collect_orders() {
  add_orders(linears, 0, 3, qkv);
  add_orders(linears, 3, 4, o);
  add_orders(linears, 4, 6, gate_up);
  add_orders(linears, 6, 7, down);
  for (CpuExpert& expert : experts) {
    add_orders(expert.linears, 0, 2, expert.gate_up);
    add_orders(expert.linears, 2, 3, expert.down);
  }
}

std::vector<CpuLayer> make_layers(const ModelWeights& weights, const KernelTable& kernels,
                                  ThreadPool& pool) {
  std::vector<CpuLayer> layers;
  for (const LayerWeights& source : weights.layers) layers.emplace_back(source, kernels, pool);
  for (CpuLayer& layer : layers) layer.collect_orders();
  return layers;
}

void StageNeeds::add(const BaseLinear& linear) {
  if (linear.weights.out_features() == 0) return;
  if (!linear.weights.is_bf16()) integers.integers = true;
  if (linear.weights.has_offsets()) integers.sums = true;
}

void StageNeeds::add(const StageOrders& orders) {
  max_orders = std::max(max_orders, orders.size());
}

ModelNeeds::ModelNeeds(const std::vector<CpuLayer>& layers) {
  for (const CpuLayer& layer : layers) {
    for (const Linear linear : {Linear::kQ, Linear::kK, Linear::kV, Linear::kGate, Linear::kUp}) {
      hidden.add(layer.linear(linear));
    }
    hidden.add(layer.qkv);
    hidden.add(layer.gate_up);
    attention.add(layer.linear(Linear::kO));
    attention.add(layer.o);
    mlp.add(layer.linear(Linear::kDown));
    mlp.add(layer.down);
    for (const CpuExpert& expert : layer.experts) {
      expert_gate_up.add(expert.linears[0]);
      expert_gate_up.add(expert.linears[1]);
      expert_gate_up.add(expert.gate_up);
      expert_down.add(expert.linears[2]);
      expert_down.add(expert.down);
    }
  }
}

}  // namespace tessera

#include "tests/engine/tiny_model.hpp"

#include <cmath>
#include <random>

#include "adapters/base_model.hpp"
#include "kernels/bf16.hpp"

namespace tessera {

namespace {

std::vector<float> normal_values(std::mt19937_64& random, int count, float mean, float deviation) {
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace

ModelSpec tiny_spec() {
  ModelSpec spec;
  spec.vocab_size = 96;
  spec.hidden = 64;
  spec.intermediate = 128;
  spec.num_heads = 4;
  spec.num_kv_heads = 2;
  spec.head_dim = 16;
  spec.max_positions = 256;
  spec.tied_embeddings = true;
  spec.ropes = {{.inv_freq = plain_inv_freq(10000.0F, spec.head_dim)}};
  LayerSpec layer;
  layer.attention_scale = 0.25F;  // 1 / sqrt(head_dim)
  spec.layers.assign(2, layer);
  return spec;
}

TinyModel::TinyModel(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  ModelSpec& spec = weights_.spec;
  spec = tiny_spec();
  for (const float value : normal_values(random, spec.vocab_size * spec.hidden, 0.0F, 0.5F)) {
    embedding_.push_back(float_to_bf16(value));
  }
  for (int i = 0; i < 2 * spec.num_layers() + 1; ++i) {
    norms_.push_back(normal_values(random, spec.hidden, 1.0F, 0.1F));
  }
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    LayerWeights weights;
    for (const Linear linear : kAllLinears) {
      const auto [rows, cols] = spec.shape(linear);
      const float deviation = 1.5F / std::sqrt(static_cast<float>(cols));
      const auto values = normal_values(random, rows * cols, 0.0F, deviation);
      linears_.push_back(quantize_nf4(values, rows, cols));
      weights.linears[static_cast<std::size_t>(linear)] = nf4_matrix(linears_.back().view());
    }
    weights.attention_norm = norms_[static_cast<std::size_t>(2 * layer)].data();
    weights.mlp_norm = norms_[static_cast<std::size_t>(2 * layer + 1)].data();
    weights_.layers.push_back(weights);
  }
  weights_.embedding = bf16_matrix(embedding_.data(), spec.vocab_size, spec.hidden);
  weights_.head = weights_.embedding;
  weights_.final_norm = norms_.back().data();
}

Adapter random_adapter(const ModelSpec& spec, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Adapter adapter;
  adapter.num_layers = spec.num_layers();
  for (BaseModule& base : base_modules(spec)) {
    if (random() % 3 == 0) continue;
    AdapterModule module;
    module.rank = 1 + static_cast<int>(random() % 24);
    module.scale = 2.0F / std::sqrt(static_cast<float>(module.rank));
    const auto [out_features, in_features] = base.shape;
    module.a = normal_values(random, module.rank * in_features, 0.0F, 0.1F);
    module.b = normal_values(random, module.rank * out_features, 0.0F, 0.3F);
    module.base = std::move(base);
    adapter.modules.push_back(std::move(module));
  }
  return adapter;
}

}  // namespace tessera

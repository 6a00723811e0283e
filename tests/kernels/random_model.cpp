#include "tests/kernels/random_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera {
namespace {

std::size_t area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

const std::byte* bytes(const void* data) {
  return static_cast<const std::byte*>(data);
}

}  // namespace

int uniform(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

bool chance(Random& random, double probability) {
  return std::bernoulli_distribution(probability)(random);
}

std::vector<float> normal_values(Random& random, std::size_t count, float deviation) {
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// The inputs of every linear module are a multiple of 64, as NF4 demands.
ModelSpec RandomModel::random_spec(Random& random) {
  constexpr int kHeadDims[] = {8, 16, 24, 32, 64};
  ModelSpec spec;
  do {
    spec.head_dim = kHeadDims[uniform(random, 0, 4)];
    spec.num_kv_heads = uniform(random, 1, 3);
    spec.num_heads = spec.num_kv_heads * uniform(random, 1, 8);
  } while (spec.q_dim() % kNf4Block != 0 || spec.q_dim() > 512);
  spec.hidden = kNf4Block * uniform(random, 1, 3);
  spec.intermediate = kNf4Block * uniform(random, 1, 5);
  spec.vocab_size = uniform(random, 17, 200);
  spec.max_positions = 4096;
  spec.tied_embeddings = chance(random, 0.5);
  spec.layers.resize(static_cast<std::size_t>(uniform(random, 1, 3)));
  const bool has_bias = chance(random, 0.5);
  for (LayerSpec& layer : spec.layers) {
    layer.rope_theta = chance(random, 0.5) ? 10000.0F : 500000.0F;
    layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim));
    layer.qkv_bias = has_bias;
  }
  return spec;
}

RandomModel::RandomModel(Random& random, ModelSpec spec) {
  weights_.spec = std::move(spec);
  const std::size_t table = area(this->spec().vocab_size, this->spec().hidden);
  weights_.embedding = keep_bf16(normal_values(random, table, 1.0F));
  weights_.head = weights_.embedding;
  if (!this->spec().tied_embeddings) weights_.head = keep_bf16(normal_values(random, table, 0.1F));
  weights_.final_norm =
      keep(normal_values(random, static_cast<std::size_t>(this->spec().hidden), 1.0F));
  for (const LayerSpec& layer : this->spec().layers)
    weights_.layers.push_back(random_layer(random, layer));
}

const Bf16* RandomModel::keep_bf16(const std::vector<float>& values) {
  std::vector<Bf16>& kept = halves_.emplace_back(values.size());
  std::transform(values.begin(), values.end(), kept.begin(), float_to_bf16);
  return kept.data();
}

LayerWeights RandomModel::random_layer(Random& random, const LayerSpec& spec) {
  LayerWeights layer;
  for (const Linear linear : kAllLinears) {
    const auto [out, in] = this->spec().shape(linear);
    const float deviation = 1.0F / std::sqrt(static_cast<float>(in));
    matrices_.push_back(quantize_nf4(normal_values(random, area(out, in), deviation), out, in));
    layer.linears[static_cast<std::size_t>(linear)] = matrices_.back().view();
  }
  for (std::size_t i = 0; spec.qkv_bias && i < layer.qkv_bias.size(); ++i) {
    const auto out = static_cast<std::size_t>(this->spec().shape(kAllLinears[i]).out_features);
    layer.qkv_bias[i] = keep(normal_values(random, out, 0.5F));
  }
  const auto hidden = static_cast<std::size_t>(this->spec().hidden);
  layer.attention_norm = keep(normal_values(random, hidden, 1.0F));
  layer.mlp_norm = keep(normal_values(random, hidden, 1.0F));
  return layer;
}

RandomAdapter::RandomAdapter(Random& random, const ModelSpec& spec) {
  build(random, spec, 0);
}

RandomAdapter::RandomAdapter(Random& random, const ModelSpec& spec, int rank) {
  build(random, spec, rank);
}

void RandomAdapter::build(Random& random, const ModelSpec& spec, int fixed_rank) {
  const auto draw_rank = [&] {
    if (fixed_rank > 0) return fixed_rank;
    return chance(random, 0.3) ? 0 : uniform(random, 1, 33);
  };
  fp32_.type = PageType::kF32;
  bf16_.type = PageType::kBf16;
  fp32_.layers.resize(spec.layers.size());
  bf16_.layers.resize(spec.layers.size());
  for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
    for (std::size_t i = 0; i < kNumLinears; ++i) {
      add_module(random, spec.shape(kAllLinears[i]), draw_rank(), fp32_.layers[layer][i],
                 bf16_.layers[layer][i]);
    }
  }
  if (fixed_rank > 0) return;
  add_module(random, {spec.hidden, spec.vocab_size}, draw_rank(), fp32_.embed, bf16_.embed);
  add_module(random, {spec.vocab_size, spec.hidden}, draw_rank(), fp32_.head, bf16_.head);
}

void RandomAdapter::add_module(Random& random, LinearShape shape, int rank, LoraModule& fp32,
                               LoraModule& bf16) {
  if (rank == 0) return;
  const auto fill = [&](int features, float deviation, bool rank_is_fastest) {
    const int padded = pages_of_rank(rank) * kRanksPerPage;
    std::vector<float>& values =
        floats_.emplace_back(normal_values(random, area(padded, features), deviation));
    std::vector<Bf16>& rounded = halves_.emplace_back(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      // a (page, feature, rank in page); b (page, rank in page, feature)
      const std::size_t in_page = i % area(features, kRanksPerPage);
      const std::size_t page = i / area(features, kRanksPerPage);
      const std::size_t rank_in_page =
          rank_is_fastest ? in_page % kRanksPerPage : in_page / static_cast<std::size_t>(features);
      if (page * kRanksPerPage + rank_in_page >= static_cast<std::size_t>(rank)) values[i] = 0.0F;
      rounded[i] = float_to_bf16(values[i]);
      values[i] = bf16_to_float(rounded[i]);
    }
  };
  fp32.rank = bf16.rank = rank;
  fill(shape.in_features, 1.0F / std::sqrt(static_cast<float>(shape.in_features)), true);
  fp32.a = bytes(floats_.back().data());
  bf16.a = bytes(halves_.back().data());
  fill(shape.out_features, 0.3F / std::sqrt(static_cast<float>(rank)), false);
  fp32.b = bytes(floats_.back().data());
  bf16.b = bytes(halves_.back().data());
}

void RandomAdapter::poison() {
  for (std::vector<Bf16>& values : halves_) {
    std::fill(values.begin(), values.end(), float_to_bf16(std::numeric_limits<float>::infinity()));
  }
}

}  // namespace tessera

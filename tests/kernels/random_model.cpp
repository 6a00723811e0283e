#include "tests/kernels/random_model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tessera {
namespace {

std::size_t area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
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

namespace {

constexpr int kExpertsMax = 6;

// The inputs of every linear module are a multiple of 64, as NF4 demands.
ModelSpec random_shape(Random& random) {
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
  for (LayerSpec& layer : spec.layers) {
    layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim));
  }
  return spec;
}

// All of a head's elements or some, scaled or not, with other frequencies for long sequences or
// not.
RopeSpec random_rope(Random& random, int head_dim, float theta) {
  const int rotary_dim = chance(random, 0.5) ? head_dim : 2 * uniform(random, 1, head_dim / 2);
  RopeSpec rope{.inv_freq = plain_inv_freq(theta, rotary_dim)};
  if (chance(random, 0.3)) rope.scale = 1.19F;
  if (!chance(random, 0.3)) return rope;
  rope.short_positions = 16;
  for (std::size_t i = 0; i < rope.inv_freq.size(); ++i) {
    rope.long_inv_freq.push_back(rope.inv_freq[i] / (1.0F + static_cast<float>(i)));
  }
  return rope;
}

void draw_scales(Random& random, ModelSpec& spec) {
  constexpr float kEmbeddingScales[] = {1.0F, 8.0F, 12.0F};
  constexpr float kLogitScales[] = {1.0F, 0.125F, 0.5F};
  spec.embedding_scale = kEmbeddingScales[uniform(random, 0, 2)];
  spec.logit_scale = kLogitScales[uniform(random, 0, 2)];
  spec.logit_softcap = chance(random, 0.3) ? 30.0F : 0.0F;
  const float residual_scale = chance(random, 0.3) ? 0.22F : 1.0F;
  const float attention_softcap = chance(random, 0.3) ? 5.0F : 0.0F;
  for (LayerSpec& layer : spec.layers) {
    layer.residual_scale = residual_scale;
    layer.attention_softcap = attention_softcap;
    if (chance(random, 0.2)) layer.attention_scale = 0.1F;
  }
}

// What a family has in all its layers.
void draw_family(Random& random, ModelSpec& spec) {
  const QkNorm qk_norm = static_cast<QkNorm>(uniform(random, 0, 2));
  const int norms = uniform(random, 0, 2);  // before, after, both
  const Activation activation = chance(random, 0.5) ? Activation::kSilu : Activation::kGeluTanh;
  for (LayerSpec& layer : spec.layers) {
    layer.qk_norm = qk_norm;
    layer.pre_norms = norms != 1;
    layer.post_norms = norms != 0;
    layer.activation = activation;
  }
}

void draw_experts(Random& random, ModelSpec& spec) {
  spec.num_experts = uniform(random, 2, kExpertsMax);
  spec.experts_per_token = uniform(random, 1, std::min(3, spec.num_experts));
  spec.expert_intermediate = kNf4Block * uniform(random, 1, 3);
  spec.normalise_expert_weights = chance(random, 0.5);
  for (LayerSpec& layer : spec.layers) layer.experts = chance(random, 0.7);
  spec.layers.front().experts = true;
  const bool all = std::all_of(spec.layers.begin(), spec.layers.end(),
                               [](const LayerSpec& layer) { return layer.experts; });
  if (all) spec.intermediate = 0;
}

void draw_layer(Random& random, bool has_bias, LayerSpec& layer) {
  layer.rope = uniform(random, kNoRope, 1);
  if (chance(random, 0.5)) layer.window = uniform(random, 1, 24);
  for (const Linear linear : kAllLinears) {
    const bool is_mlp = std::ranges::count(kExpertLinears, linear) != 0;
    if (has_bias && chance(random, 0.6) && !(is_mlp && layer.experts)) layer.set_bias(linear);
  }
}

}  // namespace

ModelSpec RandomModel::random_spec(Random& random) {
  ModelSpec spec = random_shape(random);
  draw_scales(random, spec);
  draw_family(random, spec);
  if (chance(random, 0.4)) draw_experts(random, spec);
  for (const float theta : {10000.0F, 500000.0F}) {
    spec.ropes.push_back(random_rope(random, spec.head_dim, theta));
  }
  const bool has_bias = chance(random, 0.4);
  for (LayerSpec& layer : spec.layers) draw_layer(random, has_bias, layer);
  return spec;
}

ModelSpec RandomModel::random_llama_spec(Random& random) {
  ModelSpec spec = random_shape(random);
  const bool has_bias = chance(random, 0.5);
  for (const float theta : {10000.0F, 500000.0F}) {
    spec.ropes.push_back({.inv_freq = plain_inv_freq(theta, spec.head_dim)});
  }
  for (LayerSpec& layer : spec.layers) {
    layer.rope = uniform(random, 0, 1);
    for (const Linear linear : {Linear::kQ, Linear::kK, Linear::kV}) {
      if (has_bias) layer.set_bias(linear);
    }
  }
  return spec;
}

RandomModel::RandomModel(Random& random, ModelSpec spec, RandomForms forms) : forms_(forms) {
  weights_.spec = std::move(spec);
  const auto [vocab, hidden] = std::pair(this->spec().vocab_size, this->spec().hidden);
  weights_.embedding = random_embedding(random);
  weights_.head = weights_.embedding;
  if (!this->spec().tied_embeddings) {
    const auto values = normal_values(random, area(vocab, hidden), 0.1F);
    weights_.head = bf16_matrix(keep_bf16(values), vocab, hidden);
  }
  weights_.final_norm = random_vector(random, hidden, 1.0F);
  for (const LayerSpec& layer : this->spec().layers)
    weights_.layers.push_back(random_layer(random, layer));
}

// Where there are experts, element e of a token is a level drawn without repeats.
WeightMatrix RandomModel::random_embedding(Random& random) {
  const auto [vocab, hidden] = std::pair(spec().vocab_size, spec().hidden);
  std::vector<float> values = normal_values(random, area(vocab, hidden), 1.0F);
  std::vector<float> levels;
  for (int i = 0; i < spec().num_experts; ++i)
    levels.push_back(kRouterLevel * static_cast<float>(i + 1));
  for (int token = 0; token < vocab; ++token) {
    std::shuffle(levels.begin(), levels.end(), random);
    std::copy(levels.begin(), levels.end(),
              values.begin() + static_cast<std::ptrdiff_t>(area(token, hidden)));
  }
  return bf16_matrix(keep_bf16(values), vocab, hidden);
}

const Bf16* RandomModel::keep_bf16(const std::vector<float>& values) {
  std::vector<Bf16>& kept = halves_.emplace_back(values.size());
  std::transform(values.begin(), values.end(), kept.begin(), float_to_bf16);
  return kept.data();
}

const std::uint8_t* RandomModel::random_bytes(Random& random, std::size_t count) {
  std::vector<std::uint8_t>& kept = bytes_.emplace_back(count);
  for (std::uint8_t& byte : kept) byte = static_cast<std::uint8_t>(uniform(random, 0, 255));
  return kept.data();
}

LayerWeights RandomModel::random_layer(Random& random, const LayerSpec& spec) {
  LayerWeights layer;
  add_linears(random, spec, layer);
  if (spec.experts) add_experts(random, layer);
  add_norms(random, spec, layer);
  return layer;
}

void RandomModel::add_linears(Random& random, const LayerSpec& spec, LayerWeights& layer) {
  for (const Linear linear : kAllLinears) {
    const auto index = static_cast<std::size_t>(linear);
    const LinearShape shape = this->spec().shape(linear);
    const bool is_mlp = std::ranges::count(kExpertLinears, linear) != 0;
    if (!spec.experts || !is_mlp) layer.linears[index] = random_matrix(random, shape);
    if (spec.has_bias(linear)) {
      layer.biases[index] = random_vector(random, shape.out_features, 0.5F);
    }
  }
}

void RandomModel::add_experts(Random& random, LayerWeights& layer) {
  const auto hidden = static_cast<std::size_t>(spec().hidden);
  const auto count = static_cast<std::size_t>(spec().num_experts);
  std::vector<float> router = normal_values(random, count * hidden, 0.005F);
  for (std::size_t e = 0; e < count; ++e) router[e * hidden + e] = 1.0F;
  layer.router = keep(std::move(router));
  layer.experts.resize(count);
  for (ExpertWeights& expert : layer.experts) {
    for (std::size_t i = 0; i < expert.size(); ++i) {
      expert[i] = random_matrix(random, spec().expert_shape(kExpertLinears[i]));
    }
  }
}

void RandomModel::add_norms(Random& random, const LayerSpec& spec, LayerWeights& layer) {
  const int hidden = this->spec().hidden;
  if (spec.pre_norms) {
    layer.attention_norm = random_vector(random, hidden, 1.0F);
    std::vector<float> values = normal_values(random, static_cast<std::size_t>(hidden), 1.0F);
    if (spec.experts) std::fill_n(values.begin(), this->spec().num_experts, 1.0F);
    layer.mlp_norm = keep(std::move(values));
  }
  if (spec.post_norms) {
    layer.post_attention_norm = random_vector(random, hidden, 1.0F);
    layer.post_mlp_norm = random_vector(random, hidden, 1.0F);
  }
  if (spec.qk_norm == QkNorm::kNone) return;
  const bool each = spec.qk_norm == QkNorm::kPerHead;
  layer.q_norm = random_vector(random, each ? this->spec().head_dim : this->spec().q_dim(), 1.0F);
  layer.k_norm = random_vector(random, each ? this->spec().head_dim : this->spec().kv_dim(), 1.0F);
}

WeightMatrix RandomModel::random_matrix(Random& random, LinearShape shape) {
  const auto [out, in] = shape;
  const int kind = forms_ == RandomForms::kNf4 ? 0 : uniform(random, 0, 4);
  if (kind > 1) return random_codes(random, shape);
  const float deviation = 1.0F / std::sqrt(static_cast<float>(in));
  const auto values = normal_values(random, area(out, in), deviation);
  if (kind == 1) return bf16_matrix(keep_bf16(values), out, in);
  matrices_.push_back(quantize_nf4(values, out, in));
  return nf4_matrix(matrices_.back().view());
}

// Codes of 4 or 8 bits with fp32 scales, with or without offsets and an order of columns.
WeightMatrix RandomModel::random_codes(Random& random, LinearShape shape) {
  WeightMatrix matrix;
  matrix.rows = shape.out_features;
  matrix.cols = shape.in_features;
  const bool is_int8 = chance(random, 0.4);
  matrix.form = is_int8 ? WeightForm::kInt8 : WeightForm::kBook16;
  const int groups[] = {16, 32, 64, matrix.cols};
  matrix.group = groups[uniform(random, 0, 3)];
  const std::size_t weights = area(matrix.rows, matrix.cols);
  matrix.codes = random_bytes(random, is_int8 ? weights : weights / 2);
  for (float& value : matrix.book) value = static_cast<float>(uniform(random, -100, 100)) / 100.0F;

  const float deviation = 1.0F / std::sqrt(static_cast<float>(matrix.cols));
  const std::size_t scales = weights / static_cast<std::size_t>(matrix.group);
  matrix.scales = keep(normal_values(random, scales, is_int8 ? deviation / 70.0F : deviation));
  if (chance(random, 0.5)) matrix.offsets = keep(normal_values(random, scales, deviation));
  if (chance(random, 0.3)) {
    std::vector<std::int32_t>& order = orders_.emplace_back(matrix.cols);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    matrix.order = order.data();
  }
  return matrix;
}

}  // namespace tessera

// reference_backend.cpp — the transformer step as plain loops: the specification of a Backend.
//
// Written to be read beside the papers, not to be fast. Weights are dequantised to fp32 once, the
// KV cache and the activations are fp32, sums are accumulated in fp64 in ascending order, and every
// row is computed by itself, so P2 holds trivially. It follows transformers: RMSNorm (Zhang &
// Sennrich, 2019), rotary embedding in the rotate-half form (Su et al., 2021), grouped-query
// attention (Ainslie et al., 2023) with sliding windows (Beltagy et al., 2020) and soft caps (Gemma
// 2, 2024), gated linear units (Shazeer, 2020), routed experts (Shazeer et al., 2017), LoRA (Hu et
// al., 2021).
#include <algorithm>
#include <cassert>

#include "kernels/backend.hpp"
#include "kernels/reference/dense_weights.hpp"
#include "kernels/reference/reference_adapters.hpp"
#include "kernels/reference/reference_math.hpp"

namespace tessera {
namespace {

using namespace reference;

// `count` rows of `width` floats.
class Matrix {
 public:
  Matrix(int count, int width)
      : width_(static_cast<std::size_t>(width)), data_(static_cast<std::size_t>(count) * width_) {}

  Row operator[](int row) {
    return Row(data_).subspan(static_cast<std::size_t>(row) * width_, width_);
  }
  ConstRow all(int count) const {
    return ConstRow(data_).first(static_cast<std::size_t>(count) * width_);
  }

 private:
  std::size_t width_;
  std::vector<float> data_;
};

// Of layers with experts a row has one gated vector for each expert it is sent to.
int widest_mlp(const ModelSpec& spec) {
  return std::max(spec.intermediate, spec.expert_intermediate);
}
int mlps_of_row(const ModelSpec& spec) {
  return std::max(1, spec.experts_per_token);
}

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend(const ModelWeights& weights, const BackendLimits& limits);

  std::string_view name() const override { return "reference"; }
  PageType page_type() const override { return PageType::kF32; }

  AdapterSlot add_adapter(const LoraView& adapter) override { return adapters_.add(adapter); }
  void remove_adapter(AdapterSlot slot) override { adapters_.remove(slot); }

  void begin(const StepInput& input) override;
  void embed() override;
  void qkv(int layer) override;
  void attention(int layer) override;
  void o_proj(int layer) override;
  void gate_up(int layer) override;
  void down(int layer) override;
  void head() override;

  std::span<const float> logits(int i) override { return logits_[i]; }
  std::span<const float> state(int i) override {
    return normed_[state_rows_[static_cast<std::size_t>(i)]];
  }
  std::span<const float> residual() override { return x_.all(num_rows()); }

 private:
  int num_rows() const { return static_cast<int>(input_.tokens.size()); }
  const LayerSpec& layer_spec(int layer) const {
    return spec_.layers[static_cast<std::size_t>(layer)];
  }
  const LayerWeights& layer_weights(int layer) const {
    return weights_.layers[static_cast<std::size_t>(layer)];
  }
  const DenseLayer& dense(int layer) const { return layers_[static_cast<std::size_t>(layer)]; }
  int seq_of(int row) const { return seq_of_row_[static_cast<std::size_t>(row)]; }
  int position_of(int row) const { return input_.positions[static_cast<std::size_t>(row)]; }

  // y = out_scale * (W x + B (A x)) + both biases, of one of the layer's own modules.
  void linear(int layer, Linear which, int row, ConstRow x, Row y);
  // The same of an expert; `which` indexes kExpertLinears.
  void expert_linear(int layer, int expert, std::size_t which, int row, ConstRow x, Row y);
  void pre_norm(int layer, int row, const float* weight);
  void add_to_residual(int layer, int row, const float* post_norm);
  void normalise_heads(int layer, Row queries, Row keys);
  void rotate_heads(int layer, int row, Row queries, Row keys);

  // K and V of one position of a row's sequence: (kv_dim,)
  Row key(int layer, int seq, int position) { return keys_[cache_row(layer, seq, position)]; }
  Row value(int layer, int seq, int position) { return values_[cache_row(layer, seq, position)]; }
  int cache_row(int layer, int seq, int position) const;
  void attend(int layer, int row, int head);

  void choose(int layer, int row);
  void gate_up_experts(int layer, int row);
  void sum_experts(int layer, int row);
  std::span<Route> routes(int row);
  Row gated(int row, int expert_index, int width);

  const ModelWeights weights_;
  const ModelSpec& spec_;
  const BackendLimits limits_;
  std::vector<DenseLayer> layers_;
  std::vector<float> embedding_;
  std::vector<float> head_;  // empty when tied
  ReferenceAdapters adapters_;

  Matrix keys_;    // (layers * blocks * block_size, kv_dim)
  Matrix values_;  // the same

  StepInput input_;
  std::vector<int> seq_of_row_;
  std::vector<int> state_rows_;  // StepInput's, which go when head() has returned
  Matrix x_;                     // residual stream
  Matrix normed_;                // input of the projections
  Matrix q_;
  Matrix attended_;
  Matrix gated_;  // (rows * mlps_of_row, widest_mlp) act(gate) * up
  Matrix logits_;
  std::vector<float> up_;             // (widest_mlp,)
  std::vector<float> projected_;      // (hidden,)
  std::vector<float> expert_output_;  // (hidden,)
  std::vector<float> scores_;         // (positions of one sequence at most,)
  std::vector<double> weighted_;      // (head_dim,) sum of values
  std::vector<float> router_logits_;  // (num_experts,)
  std::vector<Route> routes_;         // (rows, experts_per_token)
};

ReferenceBackend::ReferenceBackend(const ModelWeights& weights, const BackendLimits& limits)
    : weights_(weights),
      spec_(weights_.spec),
      limits_(limits),
      layers_(dense_layers(weights_)),
      embedding_(to_fp32(weights_.embedding)),
      adapters_(limits.max_rank),
      keys_(spec_.num_layers() * limits.num_blocks * limits.block_size, spec_.kv_dim()),
      values_(spec_.num_layers() * limits.num_blocks * limits.block_size, spec_.kv_dim()),
      seq_of_row_(static_cast<std::size_t>(limits.max_rows)),
      x_(limits.max_rows, spec_.hidden),
      normed_(limits.max_rows, spec_.hidden),
      q_(limits.max_rows, spec_.q_dim()),
      attended_(limits.max_rows, spec_.q_dim()),
      gated_(limits.max_rows * mlps_of_row(spec_), widest_mlp(spec_)),
      logits_(limits.max_logit_rows, spec_.vocab_size),
      up_(static_cast<std::size_t>(widest_mlp(spec_))),
      projected_(static_cast<std::size_t>(spec_.hidden)),
      expert_output_(static_cast<std::size_t>(spec_.hidden)),
      scores_(static_cast<std::size_t>(limits.num_blocks * limits.block_size)),
      weighted_(static_cast<std::size_t>(spec_.head_dim)),
      router_logits_(static_cast<std::size_t>(spec_.num_experts)),
      routes_(static_cast<std::size_t>(limits.max_rows * mlps_of_row(spec_))) {
  if (!spec_.tied_embeddings) head_ = to_fp32(weights_.head);
}

void ReferenceBackend::begin(const StepInput& input) {
  assert(input.tokens.size() <= static_cast<std::size_t>(limits_.max_rows));
  assert(input.head_rows.size() <= static_cast<std::size_t>(limits_.max_logit_rows));
  input_ = input;
  adapters_.begin(input);
  for (std::size_t seq = 0; seq < input.slots.size(); ++seq) {
    for (int row = input.seq_indptr[seq]; row < input.seq_indptr[seq + 1]; ++row) {
      seq_of_row_[static_cast<std::size_t>(row)] = static_cast<int>(seq);
    }
  }
}

void ReferenceBackend::linear(int layer, Linear which, int row, ConstRow x, Row y) {
  const auto index = static_cast<std::size_t>(which);
  multiply(dense(layer).linears[index], x, y);
  const auto module = [&](const LoraView& adapter) {
    return &adapter.layers[static_cast<std::size_t>(layer)][index];
  };
  adapters_.change(row, seq_of(row), module, x, y);
  const float* bias = layer_weights(layer).biases[index];
  if (layer_spec(layer).has_bias(which)) add_to(y, ConstRow(bias, y.size()));
}

void ReferenceBackend::expert_linear(int layer, int expert, std::size_t which, int row, ConstRow x,
                                     Row y) {
  const auto index = static_cast<std::size_t>(expert);
  multiply(dense(layer).experts[index][which], x, y);
  const auto module = [&](const LoraView& adapter) {
    const auto& experts = adapter.layers[static_cast<std::size_t>(layer)].experts;
    return experts.empty() ? nullptr : &experts[index][which];
  };
  adapters_.change(row, seq_of(row), module, x, y);
}

void ReferenceBackend::embed() {
  const auto hidden = static_cast<std::size_t>(spec_.hidden);
  for (int row = 0; row < num_rows(); ++row) {
    const TokenId token = input_.tokens[static_cast<std::size_t>(row)];
    const ConstRow source =
        ConstRow(embedding_).subspan(static_cast<std::size_t>(token) * hidden, hidden);
    std::copy(source.begin(), source.end(), x_[row].begin());
    adapters_.replace_embedding(row, seq_of(row), token, x_[row]);
    adapters_.change_embedding(row, seq_of(row), token, spec_.vocab_size, x_[row]);
    scale_by(x_[row], spec_.embedding_scale);
  }
}

int ReferenceBackend::cache_row(int layer, int seq, int position) const {
  const int first = input_.block_indptr[static_cast<std::size_t>(seq)];
  const BlockId block =
      input_.blocks[static_cast<std::size_t>(first + position / limits_.block_size)];
  return (layer * limits_.num_blocks + block) * limits_.block_size + position % limits_.block_size;
}

// What attention and the MLP read of x.
void ReferenceBackend::pre_norm(int layer, int row, const float* weight) {
  const LayerSpec& spec = layer_spec(layer);
  if (spec.pre_norms) return rms_norm(x_[row], weight, spec.rms_eps, normed_[row]);
  std::copy(x_[row].begin(), x_[row].end(), normed_[row].begin());
}

// x += residual_scale * post_norm(projected)
void ReferenceBackend::add_to_residual(int layer, int row, const float* post_norm) {
  const LayerSpec& spec = layer_spec(layer);
  if (spec.post_norms) rms_norm(projected_, post_norm, spec.rms_eps, projected_);
  scale_by(projected_, spec.residual_scale);
  add_to(x_[row], projected_);
}

void ReferenceBackend::qkv(int layer) {
  for (int row = 0; row < num_rows(); ++row) {
    const Row queries = q_[row];
    const Row keys = key(layer, seq_of(row), position_of(row));
    pre_norm(layer, row, layer_weights(layer).attention_norm);
    linear(layer, Linear::kQ, row, normed_[row], queries);
    linear(layer, Linear::kK, row, normed_[row], keys);
    linear(layer, Linear::kV, row, normed_[row], value(layer, seq_of(row), position_of(row)));
    normalise_heads(layer, queries, keys);
    rotate_heads(layer, row, queries, keys);
  }
}

void ReferenceBackend::normalise_heads(int layer, Row queries, Row keys) {
  const LayerSpec& spec = layer_spec(layer);
  const LayerWeights& weights = layer_weights(layer);
  if (spec.qk_norm == QkNorm::kNone) return;
  const bool each = spec.qk_norm == QkNorm::kPerHead;
  const auto head_dim = static_cast<std::size_t>(spec_.head_dim);
  rms_norm_each(queries, each ? head_dim : queries.size(), weights.q_norm, spec.rms_eps);
  rms_norm_each(keys, each ? head_dim : keys.size(), weights.k_norm, spec.rms_eps);
}

void ReferenceBackend::rotate_heads(int layer, int row, Row queries, Row keys) {
  if (layer_spec(layer).rope == kNoRope) return;
  const RopeSpec& rope = spec_.ropes[static_cast<std::size_t>(layer_spec(layer).rope)];
  const auto seq = static_cast<std::size_t>(seq_of(row));
  const bool is_long =
      !rope.long_inv_freq.empty() && !input_.long_rope.empty() && input_.long_rope[seq] != 0;
  for (const Row heads : {queries, keys}) {
    rotate(heads, spec_.head_dim, position_of(row), is_long ? rope.long_inv_freq : rope.inv_freq,
           rope.scale);
  }
}

void ReferenceBackend::attention(int layer) {
  for (int row = 0; row < num_rows(); ++row) {
    for (int head = 0; head < spec_.num_heads; ++head) attend(layer, row, head);
  }
}

void ReferenceBackend::attend(int layer, int row, int head) {
  const LayerSpec& spec = layer_spec(layer);
  const auto dim = static_cast<std::size_t>(spec_.head_dim);
  const int seq = seq_of(row);
  const int end = position_of(row) + 1;
  const int begin = spec.window == 0 ? 0 : std::max(0, end - spec.window);
  const auto query_at = static_cast<std::size_t>(head) * dim;
  const auto kv_at = static_cast<std::size_t>(head / (spec_.num_heads / spec_.num_kv_heads)) * dim;

  const Row scores = Row(scores_).first(static_cast<std::size_t>(end - begin));
  const ConstRow query = q_[row].subspan(query_at, dim);
  for (int position = begin; position < end; ++position) {
    const ConstRow head_key = key(layer, seq, position).subspan(kv_at, dim);
    const float score = spec.attention_scale * static_cast<float>(dot(query, head_key));
    scores[static_cast<std::size_t>(position - begin)] = soft_cap(score, spec.attention_softcap);
  }
  softmax(scores);
  std::fill(weighted_.begin(), weighted_.end(), 0.0);
  for (int position = begin; position < end; ++position) {
    const auto weight = static_cast<double>(scores[static_cast<std::size_t>(position - begin)]);
    const ConstRow head_value = value(layer, seq, position).subspan(kv_at, dim);
    for (std::size_t i = 0; i < dim; ++i) {
      weighted_[i] += weight * static_cast<double>(head_value[i]);
    }
  }
  const Row output = attended_[row].subspan(query_at, dim);
  for (std::size_t i = 0; i < dim; ++i) output[i] = static_cast<float>(weighted_[i]);
}

void ReferenceBackend::o_proj(int layer) {
  for (int row = 0; row < num_rows(); ++row) {
    linear(layer, Linear::kO, row, attended_[row], projected_);
    add_to_residual(layer, row, layer_weights(layer).post_attention_norm);
  }
}

std::span<Route> ReferenceBackend::routes(int row) {
  const auto count = static_cast<std::size_t>(spec_.experts_per_token);
  return std::span(routes_).subspan(static_cast<std::size_t>(row) * count, count);
}

Row ReferenceBackend::gated(int row, int expert_index, int width) {
  return gated_[row * mlps_of_row(spec_) + expert_index].first(static_cast<std::size_t>(width));
}

void ReferenceBackend::choose(int layer, int row) {
  const auto weights = static_cast<std::size_t>(spec_.num_experts * spec_.hidden);
  multiply({layer_weights(layer).router, weights}, normed_[row], router_logits_);
  choose_experts(router_logits_, spec_.normalise_expert_weights, routes(row));
}

void ReferenceBackend::gate_up(int layer) {
  for (int row = 0; row < num_rows(); ++row) {
    pre_norm(layer, row, layer_weights(layer).mlp_norm);
    if (layer_spec(layer).experts) {
      gate_up_experts(layer, row);
      continue;
    }
    const Row gate = gated(row, 0, spec_.intermediate);
    const Row up = Row(up_).first(gate.size());
    linear(layer, Linear::kGate, row, normed_[row], gate);
    linear(layer, Linear::kUp, row, normed_[row], up);
    apply_gate(layer_spec(layer).activation, gate, up);
  }
}

void ReferenceBackend::gate_up_experts(int layer, int row) {
  choose(layer, row);
  for (int i = 0; i < spec_.experts_per_token; ++i) {
    const int expert = routes(row)[static_cast<std::size_t>(i)].expert;
    const Row gate = gated(row, i, spec_.expert_intermediate);
    const Row up = Row(up_).first(gate.size());
    expert_linear(layer, expert, 0, row, normed_[row], gate);
    expert_linear(layer, expert, 1, row, normed_[row], up);
    apply_gate(layer_spec(layer).activation, gate, up);
  }
}

void ReferenceBackend::down(int layer) {
  const float* post_norm = layer_weights(layer).post_mlp_norm;
  for (int row = 0; row < num_rows(); ++row) {
    if (layer_spec(layer).experts) {
      sum_experts(layer, row);
    } else {
      linear(layer, Linear::kDown, row, gated(row, 0, spec_.intermediate), projected_);
    }
    add_to_residual(layer, row, post_norm);
  }
}

// projected = sum over the row's experts of weight * down(h)
void ReferenceBackend::sum_experts(int layer, int row) {
  std::fill(projected_.begin(), projected_.end(), 0.0F);
  for (int i = 0; i < spec_.experts_per_token; ++i) {
    const Route& route = routes(row)[static_cast<std::size_t>(i)];
    expert_linear(layer, route.expert, 2, row, gated(row, i, spec_.expert_intermediate),
                  expert_output_);
    scale_by(expert_output_, route.weight);
    add_to(projected_, expert_output_);
  }
}

void ReferenceBackend::head() {
  const std::vector<float>& weights = spec_.tied_embeddings ? embedding_ : head_;
  state_rows_.assign(input_.state_rows.begin(), input_.state_rows.end());
  for (const int row : state_rows_) {
    rms_norm(x_[row], weights_.final_norm, spec_.final_rms_eps, normed_[row]);
  }
  for (std::size_t i = 0; i < input_.head_rows.size(); ++i) {
    const int row = input_.head_rows[i];
    const Row output = logits_[static_cast<int>(i)];
    rms_norm(x_[row], weights_.final_norm, spec_.final_rms_eps, normed_[row]);
    multiply(weights, normed_[row], output);
    adapters_.replace_logits(row, seq_of(row), normed_[row], output);
    const auto module = [](const LoraView& adapter) { return &adapter.head; };
    adapters_.change(row, seq_of(row), module, normed_[row], output);
    for (float& logit : output) logit = soft_cap(spec_.logit_scale * logit, spec_.logit_softcap);
  }
}

}  // namespace

std::unique_ptr<Backend> make_reference_backend(const ModelWeights& weights,
                                                const BackendLimits& limits) {
  return std::make_unique<ReferenceBackend>(weights, limits);
}

}  // namespace tessera

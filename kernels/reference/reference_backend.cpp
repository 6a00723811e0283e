// reference_backend.cpp — the transformer step as plain loops: the specification of a Backend.
//
// Written to be read beside the papers, not to be fast. Weights are dequantised to fp32 once, the
// KV cache and the activations are fp32, sums are accumulated in fp64 in ascending order, and every
// row is computed by itself, so P2 holds trivially. It follows transformers' Llama: RMSNorm (Zhang
// & Sennrich, 2019), rotary embedding in the rotate-half form (Su et al., 2021), grouped-query
// attention (Ainslie et al., 2023), SwiGLU (Shazeer, 2020), LoRA (Hu et al., 2021).
#include <algorithm>
#include <cassert>
#include <cmath>
#include <optional>

#include "kernels/backend.hpp"
#include "kernels/bf16.hpp"
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

std::vector<float> to_float(const Bf16* values, std::size_t count) {
  std::vector<float> result(count);
  std::transform(values, values + count, result.begin(), bf16_to_float);
  return result;
}

std::vector<float> dequantize(const Nf4Matrix& matrix) {
  std::vector<float> weights(static_cast<std::size_t>(matrix.rows) *
                             static_cast<std::size_t>(matrix.cols));
  dequantize_nf4(matrix, weights);
  return weights;
}

struct DenseLayer {
  std::array<std::vector<float>, kNumLinears> linears;  // (out, in) each
};

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend(const ModelWeights& weights, const BackendLimits& limits);

  std::string_view name() const override { return "reference"; }
  PageType page_type() const override { return PageType::kF32; }

  AdapterSlot add_adapter(const LoraView& adapter) override;
  void remove_adapter(AdapterSlot slot) override;

  void begin(const StepInput& input) override;
  void embed() override;
  void qkv(int layer) override;
  void attention(int layer) override;
  void o_proj(int layer) override;
  void gate_up(int layer) override;
  void down(int layer) override;
  void head() override;

  std::span<const float> logits(int i) override { return logits_[i]; }
  std::span<const float> residual() override { return x_.all(num_rows()); }

 private:
  int num_rows() const { return static_cast<int>(input_.tokens.size()); }
  const LoraView* adapter_of(int row) const;
  void linear(int layer, Linear which, int row, ConstRow x, Row y);
  void add_lora(const LoraModule& module, PageType type, ConstRow x, Row y);
  // K and V of one position of a row's sequence: (kv_dim,)
  Row key(int layer, int seq, int position) { return keys_[cache_row(layer, seq, position)]; }
  Row value(int layer, int seq, int position) { return values_[cache_row(layer, seq, position)]; }
  int cache_row(int layer, int seq, int position) const;
  void attend(int layer, int row, int head);

  const ModelWeights weights_;
  const ModelSpec& spec_;
  const BackendLimits limits_;
  std::vector<DenseLayer> layers_;
  std::vector<float> embedding_;
  std::vector<float> head_;  // empty when tied
  std::vector<std::optional<LoraView>> adapters_;

  Matrix keys_;    // (layers * blocks * block_size, kv_dim)
  Matrix values_;  // the same

  StepInput input_;
  std::vector<int> seq_of_row_;
  Matrix x_;       // residual stream
  Matrix normed_;  // input of the projections
  Matrix q_;
  Matrix attended_;
  Matrix hidden_;  // silu(gate) * up
  Matrix up_;
  Matrix logits_;
  std::vector<float> projected_;  // (hidden,)
  std::vector<float> low_rank_;   // (max_rank,)
  std::vector<float> scores_;     // (positions of one sequence at most,)
};

ReferenceBackend::ReferenceBackend(const ModelWeights& weights, const BackendLimits& limits)
    : weights_(weights),
      spec_(weights_.spec),
      limits_(limits),
      keys_(spec_.num_layers() * limits.num_blocks * limits.block_size, spec_.kv_dim()),
      values_(spec_.num_layers() * limits.num_blocks * limits.block_size, spec_.kv_dim()),
      seq_of_row_(static_cast<std::size_t>(limits.max_rows)),
      x_(limits.max_rows, spec_.hidden),
      normed_(limits.max_rows, spec_.hidden),
      q_(limits.max_rows, spec_.q_dim()),
      attended_(limits.max_rows, spec_.q_dim()),
      hidden_(limits.max_rows, spec_.intermediate),
      up_(limits.max_rows, spec_.intermediate),
      logits_(limits.max_logit_rows, spec_.vocab_size),
      projected_(static_cast<std::size_t>(spec_.hidden)),
      low_rank_(static_cast<std::size_t>(limits.max_rank)),
      scores_(static_cast<std::size_t>(limits.num_blocks * limits.block_size)) {
  const auto vocab_elements =
      static_cast<std::size_t>(spec_.vocab_size) * static_cast<std::size_t>(spec_.hidden);
  embedding_ = to_float(weights_.embedding, vocab_elements);
  if (!spec_.tied_embeddings) head_ = to_float(weights_.head, vocab_elements);
  for (const LayerWeights& layer : weights_.layers) {
    DenseLayer& dense = layers_.emplace_back();
    std::transform(layer.linears.begin(), layer.linears.end(), dense.linears.begin(), dequantize);
  }
}

AdapterSlot ReferenceBackend::add_adapter(const LoraView& adapter) {
  auto free = std::find(adapters_.begin(), adapters_.end(), std::nullopt);
  if (free == adapters_.end()) free = adapters_.emplace(free);
  *free = adapter;
  return static_cast<AdapterSlot>(free - adapters_.begin());
}

void ReferenceBackend::remove_adapter(AdapterSlot slot) {
  adapters_[static_cast<std::size_t>(slot)].reset();
}

void ReferenceBackend::begin(const StepInput& input) {
  assert(input.tokens.size() <= static_cast<std::size_t>(limits_.max_rows));
  assert(input.head_rows.size() <= static_cast<std::size_t>(limits_.max_logit_rows));
  input_ = input;
  for (std::size_t seq = 0; seq < input.slots.size(); ++seq) {
    for (int row = input.seq_indptr[seq]; row < input.seq_indptr[seq + 1]; ++row) {
      seq_of_row_[static_cast<std::size_t>(row)] = static_cast<int>(seq);
    }
  }
}

const LoraView* ReferenceBackend::adapter_of(int row) const {
  const auto seq = static_cast<std::size_t>(seq_of_row_[static_cast<std::size_t>(row)]);
  const AdapterSlot slot = input_.slots[seq];
  return slot == kNoAdapter ? nullptr : &*adapters_[static_cast<std::size_t>(slot)];
}

void ReferenceBackend::add_lora(const LoraModule& module, PageType type, ConstRow x, Row y) {
  const LoraWeights lora(module, type, static_cast<int>(x.size()), static_cast<int>(y.size()));
  const std::span<float> z = std::span(low_rank_).first(static_cast<std::size_t>(module.rank));
  lora.shrink(x, z);
  lora.expand(z, y);
}

void ReferenceBackend::linear(int layer, Linear which, int row, ConstRow x, Row y) {
  const auto index = static_cast<std::size_t>(which);
  multiply(layers_[static_cast<std::size_t>(layer)].linears[index], x, y);
  const LoraView* adapter = adapter_of(row);
  if (adapter == nullptr) return;
  const LoraModule& module = adapter->layers[static_cast<std::size_t>(layer)][index];
  if (module) add_lora(module, adapter->type, x, y);
}

void ReferenceBackend::embed() {
  const auto hidden = static_cast<std::size_t>(spec_.hidden);
  for (int row = 0; row < num_rows(); ++row) {
    const auto token = static_cast<std::size_t>(input_.tokens[static_cast<std::size_t>(row)]);
    const ConstRow source = ConstRow(embedding_).subspan(token * hidden, hidden);
    std::copy(source.begin(), source.end(), x_[row].begin());

    const LoraView* adapter = adapter_of(row);
    if (adapter == nullptr || !adapter->embed) continue;
    const LoraWeights lora(adapter->embed, adapter->type, spec_.vocab_size, spec_.hidden);
    const std::span<float> z =
        std::span(low_rank_).first(static_cast<std::size_t>(adapter->embed.rank));
    for (std::size_t r = 0; r < z.size(); ++r) z[r] = lora.a(r, token);  // the token is one-hot
    lora.expand(z, x_[row]);
  }
}

int ReferenceBackend::cache_row(int layer, int seq, int position) const {
  const int first = input_.block_indptr[static_cast<std::size_t>(seq)];
  const BlockId block =
      input_.blocks[static_cast<std::size_t>(first + position / limits_.block_size)];
  return (layer * limits_.num_blocks + block) * limits_.block_size + position % limits_.block_size;
}

void ReferenceBackend::qkv(int layer) {
  const LayerSpec& spec = spec_.layers[static_cast<std::size_t>(layer)];
  const LayerWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
  for (int row = 0; row < num_rows(); ++row) {
    const int seq = seq_of_row_[static_cast<std::size_t>(row)];
    const int position = input_.positions[static_cast<std::size_t>(row)];
    const std::array<Row, 3> outputs = {q_[row], key(layer, seq, position),
                                        value(layer, seq, position)};

    rms_norm(x_[row], weights.attention_norm, spec.rms_eps, normed_[row]);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      linear(layer, kAllLinears[i], row, normed_[row], outputs[i]);
      if (spec.qkv_bias) add_to(outputs[i], ConstRow(weights.qkv_bias[i], outputs[i].size()));
    }
    rotate(outputs[0], spec_.head_dim, position, spec.rope_theta);
    rotate(outputs[1], spec_.head_dim, position, spec.rope_theta);
  }
}

void ReferenceBackend::attention(int layer) {
  for (int row = 0; row < num_rows(); ++row) {
    for (int head = 0; head < spec_.num_heads; ++head) attend(layer, row, head);
  }
}

void ReferenceBackend::attend(int layer, int row, int head) {
  const auto dim = static_cast<std::size_t>(spec_.head_dim);
  const int seq = seq_of_row_[static_cast<std::size_t>(row)];
  const int context = input_.positions[static_cast<std::size_t>(row)] + 1;
  const auto query_at = static_cast<std::size_t>(head) * dim;
  const auto kv_at = static_cast<std::size_t>(head / (spec_.num_heads / spec_.num_kv_heads)) * dim;
  const float scale = spec_.layers[static_cast<std::size_t>(layer)].attention_scale;

  const Row scores = Row(scores_).first(static_cast<std::size_t>(context));
  const ConstRow query = q_[row].subspan(query_at, dim);
  for (int position = 0; position < context; ++position) {
    const ConstRow head_key = key(layer, seq, position).subspan(kv_at, dim);
    scores[static_cast<std::size_t>(position)] = scale * static_cast<float>(dot(query, head_key));
  }
  softmax(scores);
  const Row output = attended_[row].subspan(query_at, dim);
  for (std::size_t i = 0; i < dim; ++i) {
    double sum = 0.0;
    for (int position = 0; position < context; ++position) {
      const float weight = scores[static_cast<std::size_t>(position)];
      sum +=
          static_cast<double>(weight) * static_cast<double>(value(layer, seq, position)[kv_at + i]);
    }
    output[i] = static_cast<float>(sum);
  }
}

void ReferenceBackend::o_proj(int layer) {
  for (int row = 0; row < num_rows(); ++row) {
    linear(layer, Linear::kO, row, attended_[row], projected_);
    add_to(x_[row], projected_);
  }
}

void ReferenceBackend::gate_up(int layer) {
  const LayerSpec& spec = spec_.layers[static_cast<std::size_t>(layer)];
  const LayerWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
  for (int row = 0; row < num_rows(); ++row) {
    rms_norm(x_[row], weights.mlp_norm, spec.rms_eps, normed_[row]);
    const Row gate = hidden_[row];
    const Row up = up_[row];
    linear(layer, Linear::kGate, row, normed_[row], gate);
    linear(layer, Linear::kUp, row, normed_[row], up);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = silu(gate[i]) * up[i];
  }
}

void ReferenceBackend::down(int layer) {
  for (int row = 0; row < num_rows(); ++row) {
    linear(layer, Linear::kDown, row, hidden_[row], projected_);
    add_to(x_[row], projected_);
  }
}

void ReferenceBackend::head() {
  const std::vector<float>& weights = spec_.tied_embeddings ? embedding_ : head_;
  for (std::size_t i = 0; i < input_.head_rows.size(); ++i) {
    const int row = input_.head_rows[i];
    const Row output = logits_[static_cast<int>(i)];
    rms_norm(x_[row], weights_.final_norm, spec_.final_rms_eps, normed_[row]);
    multiply(weights, normed_[row], output);
    const LoraView* adapter = adapter_of(row);
    if (adapter != nullptr && adapter->head)
      add_lora(adapter->head, adapter->type, normed_[row], output);
  }
}

}  // namespace

std::unique_ptr<Backend> make_reference_backend(const ModelWeights& weights,
                                                const BackendLimits& limits) {
  return std::make_unique<ReferenceBackend>(weights, limits);
}

}  // namespace tessera

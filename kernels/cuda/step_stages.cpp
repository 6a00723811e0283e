#include "kernels/cuda/step_stages.hpp"

#include <algorithm>
#include <array>

#include "kernels/cuda/attention_kernels.hpp"
#include "kernels/cuda/device_needs.hpp"
#include "kernels/cuda/linear_lora.hpp"
#include "kernels/cuda/row_kernels.hpp"

namespace tessera {

StepStages::StepStages(const Sources& sources, const BackendLimits& limits, int dense_from,
                       CudaStream& stream)
    : spec_(sources.spec),
      model_(sources.model),
      limits_(limits),
      step_(sources.step),
      cache_(sources.cache),
      stream_(stream),
      on_(spec_, limits_),
      on_experts_(spec_, limits_),
      rope_tables_(rope_floats(spec_, limits_)),
      lora_workspace_(lora_workspace_bytes(lora_limits_of(spec_, limits_))),
      expert_lora_workspace_(expert_lora_bytes(spec_, limits_)),
      attention_workspace_(attention_workspace_bytes(attention_limits_of(spec_, limits_))),
      modules_(spec_),
      lora_{step_, sources.adapters, lora_limits_of(spec_, limits_), lora_workspace_.data()},
      expert_lora_{step_, sources.adapters, expert_lora_limits_of(spec_, limits_),
                   expert_lora_workspace_.data()},
      dense_from_(dense_from) {
  if (dense_from_ == 0) return;
  dense_.emplace(std::max(spec_.vocab_size, Activations::widest_output(spec_)),
                 Activations::widest_input(spec_));
}

void StepStages::prologue() {
  if (capacity_.has_lora) plan_lora(stream_, lora_, capacity_.rows);
  const std::size_t stride = device_area(limits_.max_rows, 2 * widest_rope(spec_));
  for (std::size_t i = 0; i < spec_.ropes.size(); ++i) {
    const DeviceRope& rope = model_.rope(static_cast<int>(i));
    fill_rope_table(stream_,
                    {step_, rope.inv_freq.data(), rope.long_inv_freq.data(),
                     static_cast<int>(rope.inv_freq.size()), spec_.ropes[i].scale,
                     rope_tables_.data() + i * stride},
                    capacity_.rows);
  }
}

void StepStages::embed() {
  embed_rows(stream_, {step_, model_.embedding(), on_.x.data()}, capacity_.rows);
  if (capacity_.has_lora) {
    apply_lora_to_embedding(stream_, lora_, spec_.vocab_size, spec_.hidden, on_.x.data(),
                            capacity_.rows);
  }
  if (spec_.embedding_scale == 1.0F) return;
  scale_rows(stream_, {step_, on_.x.data(), spec_.hidden, spec_.embedding_scale}, capacity_.rows);
}

void StepStages::normalise(const float* weight, float eps) {
  normalise_rows(
      stream_,
      {step_, on_.x.data(), weight, eps, spec_.hidden, on_.input.data(), on_.staged(), false},
      capacity_.rows);
}

// Matrices of one form and without an order go in one launch.
void StepStages::multiply_all(std::span<const PackedMatrix> matrices, const Outputs& outputs) {
  float* y = outputs.y;
  for (std::size_t i = 0; i < matrices.size();) {
    LinearGroup group;
    group.count = 0;
    group.x = on_.staged();
    group.y = y;
    group.y_stride = outputs.y_stride;
    group.num_rows = outputs.num_rows;
    std::size_t end = i;
    do {
      group.matrices[group.count++] = matrices[end];
      y += matrices[end++].rows;
    } while (end < matrices.size() && matrices[i].order == nullptr &&
             matrices[end].order == nullptr && matrices[end].form == matrices[i].form);
    multiply_group(group, static_cast<int>(i), outputs);
    i = end;
  }
}

void StepStages::multiply_group(LinearGroup group, int first_site, const Outputs& outputs) {
  const PackedMatrix& first = group.matrices[0];
  if (first.order != nullptr) {
    group.x = on_.ordered();
    stage_rows(stream_, {group.num_rows, on_.input.data(), first.order, first.cols, group.x},
               outputs.capacity);
  }
  if (outputs.added != nullptr) {
    multiply_with_lora(stream_, group, {lora_, *outputs.added, first_site}, outputs.capacity);
  } else if (is_dense(outputs.capacity)) {
    dense_->multiply(stream_, group, outputs.capacity);
  } else {
    multiply(stream_, group, outputs.capacity);
  }
}

void StepStages::apply_linears(int layer, std::span<const Linear> linears) {
  std::array<PackedMatrix, 3> matrices;
  LoraModules modules;
  modules.first_module = modules_.of(layer, linears[0]);
  modules.count = static_cast<int>(linears.size());
  modules.in_features = spec_.shape(linears[0]).in_features;
  modules.x = on_.input.data();
  for (std::size_t i = 0; i < linears.size(); ++i) {
    matrices[i] = model_.layer(layer).linears[static_cast<std::size_t>(linears[i])].view();
    modules.out_features[i] = matrices[i].rows;
    modules.y[i] = on_.y.data() + modules.y_stride;
    modules.y_stride += matrices[i].rows;
  }
  const int rows = capacity_.rows;
  const bool in_one = capacity_.has_lora && rows <= kMaxRowsWithLora && !is_dense(rows);
  if (in_one) shrink_lora(stream_, lora_, modules, rows);
  multiply_all(
      std::span(matrices).first(linears.size()),
      {on_.y.data(), modules.y_stride, &step_.counts->rows, rows, in_one ? &modules : nullptr});
  if (capacity_.has_lora && !in_one) apply_lora(stream_, lora_, modules, rows);
}

void StepStages::qkv(int layer) {
  const LayerSpec& spec = layer_spec(layer);
  const DeviceLayer& weights = model_.layer(layer);
  normalise(weights.attention_norm.data(), spec.rms_eps);
  apply_linears(layer, std::array{Linear::kQ, Linear::kK, Linear::kV});
  FinishQkvParams params;
  params.step = step_;
  params.qkv = on_.y.data();
  params.q_bias = weights.biases[0].data();
  params.k_bias = weights.biases[1].data();
  params.v_bias = weights.biases[2].data();
  params.q_norm = weights.q_norm.data();
  params.k_norm = weights.k_norm.data();
  params.qk_norm = spec.qk_norm;
  params.eps = spec.rms_eps;
  if (spec.rope != kNoRope) {
    const auto rope = static_cast<std::size_t>(spec.rope);
    params.rope_table =
        rope_tables_.data() + rope * device_area(limits_.max_rows, 2 * widest_rope(spec_));
    params.rope_pairs = static_cast<int>(spec_.ropes[rope].inv_freq.size());
  }
  params.num_heads = spec_.num_heads;
  params.layer = layer;
  params.cache = cache_;
  finish_qkv(stream_, params, capacity_.rows);
}

void StepStages::attention(int layer) {
  const LayerSpec& spec = layer_spec(layer);
  AttentionParams params;
  params.step = step_;
  params.cache = cache_;
  params.limits = attention_limits_of(spec_, limits_);
  params.layer = layer;
  params.window = spec.window;
  params.scale = spec.attention_scale;
  params.softcap = spec.attention_softcap;
  params.q = on_.y.data();
  params.q_stride = spec_.q_dim() + 2 * spec_.kv_dim();
  params.output = on_.input.data();
  params.workspace = attention_workspace_.data();
  attend(stream_, params, capacity_.rows);
}

void StepStages::add_residual(int layer, Linear linear, const DeviceVector& post_norm) {
  const LayerSpec& spec = layer_spec(layer);
  const DeviceVector& bias = model_.layer(layer).biases[static_cast<std::size_t>(linear)];
  add_to_residual(stream_,
                  {step_, on_.y.data(), bias.data(), post_norm.data(), spec.rms_eps,
                   spec.residual_scale, spec_.hidden, on_.x.data()},
                  capacity_.rows);
}

void StepStages::o_proj(int layer) {
  stage_rows(stream_, {&step_.counts->rows, on_.input.data(), nullptr, spec_.q_dim(), on_.staged()},
             capacity_.rows);
  apply_linears(layer, std::array{Linear::kO});
  add_residual(layer, Linear::kO, model_.layer(layer).post_attention_norm);
}

void StepStages::gate_up(int layer) {
  const DeviceLayer& weights = model_.layer(layer);
  normalise(weights.mlp_norm.data(), layer_spec(layer).rms_eps);
  if (layer_spec(layer).experts) return gate_up_experts(layer);
  apply_linears(layer, std::array{Linear::kGate, Linear::kUp});
  gate_rows(stream_,
            {&step_.counts->rows, on_.y.data(),
             weights.biases[static_cast<std::size_t>(Linear::kGate)].data(),
             weights.biases[static_cast<std::size_t>(Linear::kUp)].data(),
             layer_spec(layer).activation, spec_.intermediate, on_.input.data(), on_.staged()},
            capacity_.rows);
}

void StepStages::down(int layer) {
  if (layer_spec(layer).experts) {
    down_experts(layer);
  } else {
    apply_linears(layer, std::array{Linear::kDown});
  }
  add_residual(layer, Linear::kDown, model_.layer(layer).post_mlp_norm);
}

void StepStages::head() {
  if (capacity_.head_rows == 0) return;
  normalise_rows(stream_,
                 {step_, on_.x.data(), model_.final_norm(), spec_.final_rms_eps, spec_.hidden,
                  on_.input.data(), on_.staged(), true},
                 capacity_.head_rows);
  const PackedMatrix& matrix = model_.head();
  multiply_all({&matrix, 1}, {on_.logits.data(), spec_.vocab_size, &step_.counts->head_rows,
                              capacity_.head_rows});
  if (capacity_.has_lora) {
    replace_logits(stream_, lora_, spec_.vocab_size, spec_.hidden, on_.input.data(),
                   on_.logits.data(), capacity_.head_rows);
    LoraModules modules;
    modules.first_module = modules_.head();
    modules.in_features = spec_.hidden;
    modules.out_features[0] = spec_.vocab_size;
    modules.x = on_.input.data();
    modules.y[0] = on_.logits.data();
    modules.y_stride = spec_.vocab_size;
    modules.of_head_rows = true;
    apply_lora(stream_, lora_, modules, capacity_.head_rows);
  }
  if (spec_.logit_scale == 1.0F && spec_.logit_softcap == 0.0F) return;
  cap_logits(stream_,
             {step_, on_.logits.data(), spec_.vocab_size, spec_.logit_scale, spec_.logit_softcap},
             capacity_.head_rows);
}

void StepStages::normalise_states(const DeviceStep& step, int count) {
  normalise_rows(stream_,
                 {step, on_.x.data(), model_.final_norm(), spec_.final_rms_eps, spec_.hidden,
                  on_.input.data(), on_.staged(), true},
                 count);
}

}  // namespace tessera

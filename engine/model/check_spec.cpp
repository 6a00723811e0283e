#include <algorithm>
#include <cmath>
#include <string>

#include "engine/model/config_fields.hpp"
#include "engine/model/model_config.hpp"
#include "kernels/nf4.hpp"

namespace tessera {
namespace {

Result<void> check_size(const char* field, int value, int max, int multiple_of = 1) {
  if (value < 1 || value > max) return unsupported_field(field, "is out of range");
  if (value % multiple_of == 0) return {};
  return unsupported_field(field, "must be a multiple of " + std::to_string(multiple_of));
}

bool is_scale(float value) {
  return std::isfinite(value) && value > 0.0F;
}

bool is_not_negative(float value) {
  return std::isfinite(value) && value >= 0.0F;
}

Result<void> check_sizes(const ModelSpec& spec, const ModelLimits& limits) {
  const bool all_experts =
      std::ranges::all_of(spec.layers, [](const LayerSpec& layer) { return layer.experts; });
  auto checked = check_size("vocab_size", spec.vocab_size, limits.vocab_max);
  const auto check = [&](const char* field, int value, int max, int multiple_of = 1) {
    if (checked) checked = check_size(field, value, max, multiple_of);
  };
  check("hidden_size", spec.hidden, limits.dimension_max, kNf4Block);
  if (!all_experts || spec.intermediate != 0) {
    check("intermediate_size", spec.intermediate, limits.dimension_max, kNf4Block);
  }
  check("num_attention_heads", spec.num_heads, limits.heads_max);
  check("num_key_value_heads", spec.num_kv_heads, spec.num_heads);
  check("head_dim", spec.head_dim, limits.head_dim_max, 2);
  check("max_position_embeddings", spec.max_positions, limits.positions_max);
  check("num_hidden_layers", spec.num_layers(), limits.layers_max);
  if (!checked) return checked;
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return unsupported_field("num_key_value_heads", "must divide num_attention_heads");
  }
  if (spec.q_dim() % kNf4Block != 0 || spec.q_dim() > limits.dimension_max) {
    return unsupported_field("head_dim", "times num_attention_heads must be a multiple of 64");
  }
  return {};
}

Result<void> check_experts(const ModelSpec& spec, const ModelLimits& limits) {
  const bool any =
      std::ranges::any_of(spec.layers, [](const LayerSpec& layer) { return layer.experts; });
  if (!any) return {};
  auto checked = check_size("num_experts", spec.num_experts, limits.experts_max);
  if (checked) {
    checked = check_size("num_experts_per_tok", spec.experts_per_token,
                         std::min(spec.num_experts, limits.experts_per_token_max));
  }
  if (!checked) return checked;
  return check_size("moe_intermediate_size", spec.expert_intermediate, limits.dimension_max,
                    kNf4Block);
}

Result<void> check_rope(const RopeSpec& rope, const ModelSpec& spec) {
  const auto fits = [&](const std::vector<float>& frequencies) {
    return frequencies.size() == rope.inv_freq.size() &&
           std::ranges::all_of(frequencies, [](float f) { return std::isfinite(f); });
  };
  const std::size_t most = static_cast<std::size_t>(spec.head_dim) / 2;
  if (rope.inv_freq.empty() || rope.inv_freq.size() > most || !fits(rope.inv_freq)) {
    return unsupported_field("rope_parameters", "do not fit head_dim");
  }
  if (!is_scale(rope.scale)) return unsupported_field("rope_parameters", "scale is out of range");
  if (rope.long_inv_freq.empty()) return {};
  if (!fits(rope.long_inv_freq) || rope.short_positions < 1) {
    return unsupported_field("rope_parameters", "do not fit head_dim");
  }
  return {};
}

Result<void> check_ropes(const ModelSpec& spec, const ModelLimits& limits) {
  if (spec.ropes.size() > static_cast<std::size_t>(limits.ropes_max)) {
    return unsupported_field("rope_parameters", "are too many");
  }
  for (const RopeSpec& rope : spec.ropes) {
    if (auto checked = check_rope(rope, spec); !checked) return checked;
  }
  return {};
}

Result<void> check_layer(const LayerSpec& layer, const ModelSpec& spec, const ModelLimits& limits) {
  if (!(layer.rms_eps >= 0.0F)) return unsupported_field("rms_norm_eps", "is out of range");
  if (layer.rope < kNoRope || layer.rope >= static_cast<int>(spec.ropes.size())) {
    return unsupported_field("rope_parameters", "do not fit the layers");
  }
  if (layer.window < 0 || layer.window > limits.positions_max) {
    return unsupported_field("sliding_window", "is out of range");
  }
  if (!is_not_negative(layer.attention_scale)) {
    return unsupported_field("attention_multiplier", "is out of range");
  }
  if (!is_not_negative(layer.attention_softcap)) {
    return unsupported_field("attn_logit_softcapping", "is out of range");
  }
  if (!is_scale(layer.residual_scale)) {
    return unsupported_field("residual_multiplier", "is out of range");
  }
  const bool has_mlp_bias =
      std::ranges::any_of(kExpertLinears, [&](Linear linear) { return layer.has_bias(linear); });
  if (layer.biases >> kNumLinears != 0 || (layer.experts && has_mlp_bias)) {
    return unsupported_field("mlp_bias", "does not fit the layers");
  }
  return {};
}

}  // namespace

Result<void> check_spec(const ModelSpec& spec, const ModelLimits& limits) {
  auto checked = check_sizes(spec, limits);
  if (checked) checked = check_experts(spec, limits);
  if (checked) checked = check_ropes(spec, limits);
  if (!checked) return checked;
  for (const LayerSpec& layer : spec.layers) {
    if (checked = check_layer(layer, spec, limits); !checked) return checked;
  }
  if (!(spec.final_rms_eps >= 0.0F)) return unsupported_field("rms_norm_eps", "is out of range");
  if (!is_scale(spec.embedding_scale)) {
    return unsupported_field("embedding_multiplier", "is out of range");
  }
  if (!is_scale(spec.logit_scale)) return unsupported_field("logits_scaling", "is out of range");
  if (!is_not_negative(spec.logit_softcap)) {
    return unsupported_field("final_logit_softcapping", "is out of range");
  }
  return {};
}

}  // namespace tessera

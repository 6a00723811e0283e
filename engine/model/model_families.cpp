#include "engine/model/model_families.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
namespace {

template <class Change>
void for_each_layer(ModelSpec& spec, Change change) {
  for (LayerSpec& layer : spec.layers) change(layer);
}

void add_biases(ModelSpec& spec, std::initializer_list<Linear> linears) {
  for_each_layer(spec, [&](LayerSpec& layer) {
    for (const Linear linear : linears) layer.set_bias(linear);
  });
}

void read_attention_bias(ConfigFields& config, ModelSpec& spec) {
  if (!config.flag("attention_bias", false)) return;
  add_biases(spec, {Linear::kQ, Linear::kK, Linear::kV, Linear::kO});
}

void read_mlp_bias(ConfigFields& config, ModelSpec& spec) {
  if (!config.flag("mlp_bias", false)) return;
  add_biases(spec, {Linear::kGate, Linear::kUp, Linear::kDown});
}

void read_activation(ConfigFields& config, const char* field, std::string_view if_absent,
                     ModelSpec& spec) {
  const std::string name = config.text(field, if_absent);
  if (name != "silu" && name != "gelu_pytorch_tanh") {
    config.fail(field, '"' + name + "\" is not supported; silu and gelu_pytorch_tanh are");
  }
  for_each_layer(spec, [&](LayerSpec& layer) {
    layer.activation = name == "silu" ? Activation::kSilu : Activation::kGeluTanh;
  });
}

void set_qk_norm(ModelSpec& spec, QkNorm norm) {
  for_each_layer(spec, [norm](LayerSpec& layer) { layer.qk_norm = norm; });
}

void set_window(ModelSpec& spec, int window) {
  for_each_layer(spec, [window](LayerSpec& layer) { layer.window = window; });
}

// The window of the layers that "layer_types" lists as sliding; where a file has no such list,
// `is_sliding` says which are.
template <class IsSliding>
void set_windows(ConfigFields& config, int window, ModelSpec& spec, IsSliding is_sliding) {
  const std::vector<std::string> types = config.texts("layer_types");
  if (config.has("layer_types") && types.size() != spec.layers.size()) {
    return config.fail("layer_types", "must have one item a layer");
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const bool by_default = types.empty() && is_sliding(static_cast<int>(i));
    const bool sliding = by_default || (!types.empty() && types[i] == "sliding_attention");
    if (!sliding && !types.empty() && types[i] != "full_attention") {
      config.fail("layer_types", '"' + types[i] + "\" is not supported");
    }
    if (sliding && window == 0) config.fail("sliding_window", "must be a number above 0");
    spec.layers[i].window = sliding ? window : 0;
  }
}

// The same rotary embedding in all layers.
void read_one_rope(ConfigFields& config, RopeContext& context, ModelSpec& spec) {
  spec.ropes = {read_rope(config, context)};
  spec.max_positions = context.max_positions;
}

void read_llama(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  read_attention_bias(config, spec);
  read_mlp_bias(config, spec);
}

void read_mistral(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  set_window(spec, config.integer_or_off("sliding_window", 4096));
}

// "intermediate_size" is an expert's.
void read_mixtral(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  rope.default_theta = 1'000'000.0;
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  set_window(spec, config.integer_or_off("sliding_window", 0));
  spec.num_experts = config.integer("num_local_experts");
  spec.experts_per_token = config.integer("num_experts_per_tok");
  spec.expert_intermediate = std::exchange(spec.intermediate, 0);
  spec.normalise_expert_weights = true;
  for_each_layer(spec, [](LayerSpec& layer) { layer.experts = true; });
}

void read_qwen_windows(ConfigFields& config, ModelSpec& spec) {
  const bool used = config.flag("use_sliding_window", false);
  const int window = used ? config.integer_or_off("sliding_window", 4096) : 0;
  const int first = config.integer("max_window_layers", 28);
  set_windows(config, window, spec, [&](int layer) { return window > 0 && layer >= first; });
}

void read_qwen2(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  config.must_be("use_mrope", false);
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  add_biases(spec, {Linear::kQ, Linear::kK, Linear::kV});
  read_qwen_windows(config, spec);
}

void read_qwen3(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  read_attention_bias(config, spec);
  set_qk_norm(spec, QkNorm::kPerHead);
  read_qwen_windows(config, spec);
}

void read_qwen3_moe(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  read_attention_bias(config, spec);
  set_qk_norm(spec, QkNorm::kPerHead);
  const int window = config.integer_or_off("sliding_window", 4096);
  set_window(spec, config.flag("use_sliding_window", false) ? window : 0);

  const char* count = config.has("num_experts") ? "num_experts" : "num_local_experts";
  spec.num_experts = config.integer(count, 128);
  spec.experts_per_token = config.integer("num_experts_per_tok", 8);
  spec.expert_intermediate = config.integer("moe_intermediate_size", 768);
  spec.normalise_expert_weights = config.flag("norm_topk_prob", false);
  const std::vector<int> dense = config.integers("mlp_only_layers");
  const int step = config.integer("decoder_sparse_step", 1);
  if (step < 1) return config.fail("decoder_sparse_step", "must be above 0");
  bool all = true;
  for (int i = 0; i < spec.num_layers(); ++i) {
    const bool has_experts =
        spec.num_experts > 0 && std::ranges::count(dense, i) == 0 && (i + 1) % step == 0;
    spec.layers[static_cast<std::size_t>(i)].experts = has_experts;
    all = all && has_experts;
  }
  if (all) spec.intermediate = 0;
}

// What Gemma 2 and 3 have in common.
void read_gemma(ConfigFields& config, ModelSpec& spec) {
  config.must_be("use_bidirectional_attention", false);
  read_activation(config, "hidden_activation", "gelu_pytorch_tanh", spec);
  read_attention_bias(config, spec);
  spec.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(spec.hidden)));
  const double scalar = config.number("query_pre_attn_scalar", 256.0);
  if (!(scalar > 0.0)) config.fail("query_pre_attn_scalar", "must be above 0");
  for_each_layer(spec, [&](LayerSpec& layer) {
    layer.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
    layer.post_norms = true;
  });
}

// A soft cap that null turns off.
float read_softcap(ConfigFields& config, const char* field, float if_missing) {
  if (config.is_missing(field)) return if_missing;
  const float cap = config.real(field, 0.0F);
  if (config.has(field) && !(cap > 0.0F)) config.fail(field, "must be above 0");
  return cap;
}

void read_gemma2(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  read_one_rope(config, rope, spec);
  read_gemma(config, spec);
  const int window = config.integer_or_off("sliding_window", 4096);
  set_windows(config, window, spec, [](int layer) { return layer % 2 == 0; });
  spec.logit_softcap = read_softcap(config, "final_logit_softcapping", 30.0F);
  const float cap = read_softcap(config, "attn_logit_softcapping", 50.0F);
  for_each_layer(spec, [cap](LayerSpec& layer) { layer.attention_softcap = cap; });
}

// transformers' Gemma 3 caps the final logits and, whatever the config says, no attention scores.
void read_gemma3(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  read_gemma(config, spec);
  set_qk_norm(spec, QkNorm::kPerHead);
  const int window = config.integer_or_off("sliding_window", 4096);
  const int pattern = config.integer("sliding_window_pattern", 6);
  if (pattern < 1) return config.fail("sliding_window_pattern", "must be above 0");
  set_windows(config, window, spec, [&](int layer) { return (layer + 1) % pattern != 0; });
  spec.logit_softcap = read_softcap(config, "final_logit_softcapping", 0.0F);
  config.must_be("attn_logit_softcapping", nullptr);

  GlobalAndLocalRope ropes = read_gemma3_ropes(config, rope);
  spec.max_positions = rope.max_positions;
  spec.ropes = {std::move(ropes.global), std::move(ropes.local)};
  for_each_layer(spec, [](LayerSpec& layer) { layer.rope = layer.window > 0 ? 1 : 0; });
}

void read_phi3(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  for (const char* field : {"attention_bias", "mlp_bias", "lm_head_bias"}) {
    config.must_be(field, false);
  }
  rope.is_phi3 = true;
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  set_window(spec, config.integer_or_off("sliding_window", 0));
}

// Every few layers know no positions ("NoPE").
void read_smollm3(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  rope.default_theta = 2'000'000.0;
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  read_attention_bias(config, spec);
  read_mlp_bias(config, spec);
  const int interval = config.integer("no_rope_layer_interval", 4);
  const std::vector<int> rotated = config.integers("no_rope_layers");  // 1 where it is rotated
  if (interval < 1) return config.fail("no_rope_layer_interval", "must be above 0");
  if (config.has("no_rope_layers") && rotated.size() != spec.layers.size()) {
    return config.fail("no_rope_layers", "must have one item a layer");
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const bool by_default = (static_cast<int>(i) + 1) % interval != 0;
    const bool is_rotated = rotated.empty() ? by_default : rotated[i] != 0;
    spec.layers[i].rope = is_rotated ? 0 : kNoRope;
  }
  const bool used = config.flag("use_sliding_window", false);
  const int window = config.integer_or_off("sliding_window", 0);
  set_windows(config, used ? window : 0, spec, [&](int layer) {
    return used && window > 0 && spec.layers[static_cast<std::size_t>(layer)].rope == kNoRope;
  });
}

void read_granite(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  read_llama(config, rope, spec);
  spec.embedding_scale = config.real("embedding_multiplier", 1.0F);
  const double logits_scaling = config.number("logits_scaling", 1.0);
  if (!(logits_scaling > 0.0)) config.fail("logits_scaling", "must be above 0");
  spec.logit_scale = static_cast<float>(1.0 / logits_scaling);
  const float residual = config.real("residual_multiplier", 1.0F);
  const float attention = config.real("attention_multiplier", 1.0F);
  for_each_layer(spec, [&](LayerSpec& layer) {
    layer.residual_scale = residual;
    layer.attention_scale = attention;
  });
}

void read_olmo2(ConfigFields& config, RopeContext& rope, ModelSpec& spec) {
  config.must_be("clip_qkv", nullptr);
  read_one_rope(config, rope, spec);
  read_activation(config, "hidden_act", "silu", spec);
  read_attention_bias(config, spec);
  set_qk_norm(spec, QkNorm::kWhole);
  for_each_layer(spec, [](LayerSpec& layer) {
    layer.pre_norms = false;
    layer.post_norms = true;
  });
}

constexpr FamilyDefaults kGemma3Defaults = {.vocab_size = 262208,
                                            .num_heads = 8,
                                            .num_kv_heads = 4,
                                            .head_dim = 256,
                                            .max_positions = 131072,
                                            .tied_embeddings = true};

constexpr ModelFamily kFamilies[] = {
    {"LlamaForCausalLM", "llama", false, {}, read_llama},
    {"MistralForCausalLM",
     "mistral",
     false,
     {.num_kv_heads = 8, .max_positions = 131072},
     read_mistral},
    {"MixtralForCausalLM",
     "mixtral",
     false,
     {.num_kv_heads = 8, .max_positions = 131072, .rms_eps = 1e-5F},
     read_mixtral},
    {"Qwen2ForCausalLM", "qwen2", false, {.num_kv_heads = 32, .max_positions = 32768}, read_qwen2},
    {"Qwen3ForCausalLM",
     "qwen3",
     false,
     {.num_kv_heads = 32, .head_dim = 128, .max_positions = 32768},
     read_qwen3},
    {"Qwen3MoeForCausalLM",
     "qwen3_moe",
     false,
     {.num_kv_heads = 4, .max_positions = 32768},
     read_qwen3_moe},
    {"Gemma2ForCausalLM",
     "gemma2",
     false,
     {.num_kv_heads = 4, .head_dim = 256, .max_positions = 8192, .tied_embeddings = true},
     read_gemma2},
    {"Gemma3ForCausalLM", "gemma3_text", false, kGemma3Defaults, read_gemma3},
    {"Gemma3ForConditionalGeneration", "gemma3", true, kGemma3Defaults, read_gemma3},
    {"Phi3ForCausalLM", "phi3", false, {.max_positions = 4096, .rms_eps = 1e-5F}, read_phi3},
    {"SmolLM3ForCausalLM",
     "smollm3",
     false,
     {.num_kv_heads = 4, .max_positions = 32768, .tied_embeddings = true},
     read_smollm3},
    {"GraniteForCausalLM", "granite", false, {}, read_granite},
    {"Olmo2ForCausalLM", "olmo2", false, {.rms_eps = 1e-5F}, read_olmo2},
};

}  // namespace

std::span<const ModelFamily> model_families() {
  return kFamilies;
}

}  // namespace tessera

#include "adapters/module_naming.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "adapters/peft_tensors.hpp"

namespace tessera {
namespace {

constexpr std::string_view kMixtralBlock = ".block_sparse_moe.experts.";

bool is_expert_linear(Linear linear) {
  return std::ranges::count(kExpertLinears, linear) != 0;
}

// Mixtral's names of the linears of an expert.
std::string_view mixtral_name(Linear linear) {
  if (linear == Linear::kGate) return "w1";
  return linear == Linear::kUp ? "w3" : "w2";
}

class NamedModules {
 public:
  NamedModules(const ModelSpec& spec, const ModuleNaming& naming) : spec_(spec), naming_(naming) {}

  std::vector<BaseModule> all() && {
    for (int layer = 0; layer < spec_.num_layers(); ++layer) add_layer(layer);
    modules_.push_back({.kind = ModuleKind::kEmbed,
                        .shape = {.out_features = spec_.hidden, .in_features = spec_.vocab_size},
                        .path = naming_.prefix + "embed_tokens"});
    modules_.push_back({.kind = ModuleKind::kHead,
                        .shape = {.out_features = spec_.vocab_size, .in_features = spec_.hidden},
                        .path = "lm_head"});
    return std::move(modules_);
  }

 private:
  std::string layer_path(int layer) const {
    return naming_.prefix + "layers." + std::to_string(layer);
  }

  void add_layer(int layer) {
    const bool experts = spec_.layers[static_cast<std::size_t>(layer)].experts;
    if (naming_.fused_rows) {
      add_fused(layer, Fusion::kQkv, Linear::kQ, spec_.q_dim() + 2 * spec_.kv_dim(),
                ".self_attn.qkv_proj");
      add_linears(layer, ".self_attn.", {{Linear::kO}});
    } else {
      add_linears(layer, ".self_attn.", {{Linear::kQ, Linear::kK, Linear::kV, Linear::kO}});
    }
    if (experts) {
      add_experts(layer);
    } else if (naming_.fused_rows) {
      add_fused(layer, Fusion::kGateUp, Linear::kGate, 2 * spec_.intermediate, ".mlp.gate_up_proj");
      add_linears(layer, ".mlp.", {{Linear::kDown}});
    } else {
      add_linears(layer, ".mlp.", kExpertLinears);
    }
  }

  void add_linears(int layer, std::string_view block, std::span<const Linear> linears) {
    for (const Linear linear : linears) {
      std::string path = layer_path(layer).append(block).append(linear_name(linear));
      modules_.push_back({.layer = layer,
                          .linear = linear,
                          .shape = spec_.shape(linear),
                          .path = std::move(path)});
    }
  }

  void add_fused(int layer, Fusion fusion, Linear first, int rows, std::string_view end) {
    modules_.push_back({.layer = layer,
                        .linear = first,
                        .fusion = fusion,
                        .shape = {.out_features = rows, .in_features = spec_.hidden},
                        .path = layer_path(layer).append(end)});
  }

  void add_experts(int layer) {
    if (naming_.experts == ExpertNaming::kParameters) return add_parameters(layer);
    const bool mixtral = naming_.experts == ExpertNaming::kMixtralModules;
    for (int expert = 0; expert < spec_.num_experts; ++expert) {
      for (const Linear linear : kExpertLinears) {
        std::string path = layer_path(layer).append(mixtral ? kMixtralBlock : ".mlp.experts.");
        path += std::to_string(expert) + '.';
        path += mixtral ? mixtral_name(linear) : linear_name(linear);
        modules_.push_back({.layer = layer,
                            .linear = linear,
                            .expert = expert,
                            .shape = spec_.expert_shape(linear),
                            .path = std::move(path)});
      }
    }
  }

  // The wrapper of the parameter that PEFT came to last is the outer one, and down_proj comes after
  // gate_up_proj. Of a layer with one wrapper, the other parameter has a path that nothing has.
  void add_parameters(int layer) {
    const auto index = static_cast<std::size_t>(layer);
    const bool nested = index < naming_.nested.size() && naming_.nested[index];
    const bool gate_up = index < naming_.gate_up.size() && naming_.gate_up[index];
    const std::string experts = layer_path(layer) + ".mlp.experts";
    const std::string inner = experts + ".base_layer";
    const LinearShape gate = spec_.expert_shape(Linear::kGate);
    add_parameter(layer, Fusion::kAllGateUp, {2 * gate.out_features, gate.in_features},
                  nested    ? inner
                  : gate_up ? experts
                            : experts + ".gate_up_proj",
                  experts + ".gate_up_proj");
    add_parameter(layer, Fusion::kAllDown, spec_.expert_shape(Linear::kDown),
                  !nested && gate_up ? experts + ".down_proj" : experts, experts + ".down_proj");
  }

  void add_parameter(int layer, Fusion fusion, LinearShape shape, std::string path,
                     std::string parameter) {
    modules_.push_back({.layer = layer,
                        .linear = fusion == Fusion::kAllDown ? Linear::kDown : Linear::kGate,
                        .fusion = fusion,
                        .shape = shape,
                        .path = std::move(path),
                        .parameter = std::move(parameter)});
  }

  const ModelSpec& spec_;
  const ModuleNaming& naming_;
  std::vector<BaseModule> modules_;
};

bool names_fused_rows(std::string_view path) {
  return path.ends_with("qkv_proj") || path.ends_with("mlp.gate_up_proj") || path == "gate_up_proj";
}

bool names_separate_rows(std::string_view path) {
  constexpr std::string_view kNames[] = {".q_proj", ".k_proj", ".v_proj", ".mlp.gate_proj",
                                         ".mlp.up_proj"};
  return std::ranges::any_of(kNames, [&](std::string_view name) { return path.ends_with(name); });
}

// The N of "model.layers.N.mlp.experts", or nothing.
std::optional<std::size_t> layer_of(std::string_view path) {
  const auto at = path.find("layers.");
  if (at == path.npos) return std::nullopt;
  const char* begin = path.data() + at + std::string_view("layers.").size();
  std::size_t layer = 0;
  const auto [end, error] = std::from_chars(begin, path.data() + path.size(), layer);
  if (error != std::errc()) return std::nullopt;
  return layer;
}

// What the wrapper of a parameter tells of its layer.
void learn_parameter(std::string_view path, const PeftTensorName& name, const StoredTensor& tensor,
                     const ModelSpec& spec, ModuleNaming& naming) {
  naming.experts = ExpertNaming::kParameters;
  const auto layer = layer_of(path);
  if (!layer || *layer >= naming.nested.size()) return;
  if (path.size() != name.path.size()) {
    naming.nested[*layer] = true;
  } else if (!name.is_a() && tensor.shape.size() == 2) {
    naming.gate_up[*layer] = tensor.shape[0] == 2 * spec.expert_intermediate;
  }
}

// Of the text model of a multimodal one. A single odd name is an odd name.
bool all_begin_with(std::string_view prefix, const std::vector<StoredTensor>& tensors) {
  const auto begins = [&](const StoredTensor& tensor) {
    const std::string_view path = parse_peft_tensor_name(tensor.name).path;
    return path.starts_with(prefix) || path == "lm_head";
  };
  return !tensors.empty() && std::ranges::all_of(tensors, begins);
}

// What one tensor's path tells.
void learn(const StoredTensor& tensor, const ModelSpec& spec, ModuleNaming& naming) {
  const PeftTensorName name = parse_peft_tensor_name(tensor.name);
  if (names_fused_rows(name.path)) naming.fused_rows = true;
  if (names_separate_rows(name.path)) naming.fused_rows = false;
  if (name.path.find(kMixtralBlock) != name.path.npos) {
    naming.experts = ExpertNaming::kMixtralModules;
  }
  std::string_view path = name.path;
  if (path.ends_with(".base_layer")) path.remove_suffix(std::string_view(".base_layer").size());
  if (path.ends_with(".mlp.experts")) learn_parameter(path, name, tensor, spec, naming);
}

// Outputs [first, first + count) of a vector over the outputs, if it is there.
std::vector<float> outputs_of(const std::vector<float>& values, int first, int count) {
  if (values.empty()) return {};
  return {values.begin() + first, values.begin() + first + count};
}

// Rows [first, first + count) of B and of what goes with the outputs, with all of A.
AdapterModule rows_of(const AdapterModule& fused, int first, int count) {
  const auto rank = static_cast<std::ptrdiff_t>(fused.rank);
  AdapterModule module{.base = fused.base,
                       .rank = fused.rank,
                       .scale = fused.scale,
                       .a = fused.a,
                       .out_scale = outputs_of(fused.out_scale, first, count),
                       .magnitude = outputs_of(fused.magnitude, first, count),
                       .bias = outputs_of(fused.bias, first, count)};
  module.b.assign(fused.b.begin() + first * rank, fused.b.begin() + (first + count) * rank);
  return module;
}

// The pair of one expert in a parameter's.
AdapterModule expert_of(const AdapterModule& all, int expert, int num_experts) {
  const auto rank = static_cast<std::size_t>(all.rank);
  const auto experts = static_cast<std::size_t>(num_experts);
  const auto index = static_cast<std::size_t>(expert);
  const auto a_size =
      static_cast<std::ptrdiff_t>(rank) * static_cast<std::ptrdiff_t>(all.base.shape.in_features);
  AdapterModule module{.base = all.base, .rank = all.rank, .scale = all.scale};
  module.a.assign(all.a.begin() + expert * a_size, all.a.begin() + (expert + 1) * a_size);
  module.b.reserve(all.b.size() / experts);
  for (std::size_t row = 0; row < static_cast<std::size_t>(all.base.shape.out_features); ++row) {
    for (std::size_t j = 0; j < rank; ++j) {
      module.b.push_back(all.b[(row * rank + j) * experts + index]);
    }
  }
  module.base.expert = expert;
  return module;
}

// Becomes the pair of one of our modules.
void rename(AdapterModule& module, const ModelSpec& spec, Linear linear) {
  BaseModule& base = module.base;
  base.linear = linear;
  base.fusion = Fusion::kNone;
  base.parameter.clear();
  base.path = "model.layers." + std::to_string(base.layer);
  if (base.expert >= 0) {
    base.shape = spec.expert_shape(linear);
    base.path += ".mlp.experts." + std::to_string(base.expert) + '.';
  } else {
    base.shape = spec.shape(linear);
    base.path += is_expert_linear(linear) ? ".mlp." : ".self_attn.";
  }
  base.path += linear_name(linear);
}

// Consecutive rows of B go to the linears in turn.
void split_rows(const AdapterModule& fused, std::span<const Linear> linears, const ModelSpec& spec,
                std::vector<AdapterModule>& out) {
  int first = 0;
  for (const Linear linear : linears) {
    const LinearShape shape =
        fused.base.expert >= 0 ? spec.expert_shape(linear) : spec.shape(linear);
    out.push_back(rows_of(fused, first, shape.out_features));
    rename(out.back(), spec, linear);
    first += shape.out_features;
  }
}

}  // namespace

ModuleNaming naming_of(const SafetensorsFile* file, const PeftConfig* config,
                       const ModelSpec& spec) {
  ModuleNaming naming;
  naming.nested.resize(spec.layers.size());
  naming.gate_up.resize(spec.layers.size());
  if (config != nullptr) {
    naming.fused_rows = std::ranges::any_of(config->target_modules.names, names_fused_rows);
    if (!config->target_parameters.empty()) naming.experts = ExpertNaming::kParameters;
  }
  if (file == nullptr) return naming;
  for (const StoredTensor& tensor : file->tensors) learn(tensor, spec, naming);
  for (const char* prefix : {"model.language_model.", "language_model.model."}) {
    if (all_begin_with(prefix, file->tensors)) naming.prefix = prefix;
  }
  return naming;
}

std::vector<BaseModule> named_modules(const ModelSpec& spec, const ModuleNaming& naming) {
  return NamedModules(spec, naming).all();
}

std::vector<Linear> linears_of(const BaseModule& module) {
  switch (module.fusion) {
    case Fusion::kNone:
      break;
    case Fusion::kQkv:
      return {Linear::kQ, Linear::kK, Linear::kV};
    case Fusion::kGateUp:
    case Fusion::kAllGateUp:
      return {Linear::kGate, Linear::kUp};
    case Fusion::kAllDown:
      return {Linear::kDown};
  }
  return {module.linear};
}

std::vector<AdapterModule> split_module(AdapterModule&& module, const ModelSpec& spec) {
  std::vector<AdapterModule> out;
  switch (module.base.fusion) {
    case Fusion::kNone:
      if (module.base.kind == ModuleKind::kLinear) rename(module, spec, module.base.linear);
      if (module.base.kind == ModuleKind::kEmbed) module.base.path = "model.embed_tokens";
      out.push_back(std::move(module));
      break;
    case Fusion::kQkv:
    case Fusion::kGateUp:
      split_rows(module, linears_of(module.base), spec, out);
      break;
    case Fusion::kAllGateUp:
    case Fusion::kAllDown:
      for (int expert = 0; expert < spec.num_experts; ++expert) {
        split_rows(expert_of(module, expert, spec.num_experts), linears_of(module.base), spec, out);
      }
      break;
  }
  return out;
}

}  // namespace tessera

#include "adapters/base_model.hpp"

#include <algorithm>

namespace tessera {
namespace {

std::string_view last_component(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0: the whole
}

std::string_view block_of(Linear linear) {
  switch (linear) {
    case Linear::kQ:
    case Linear::kK:
    case Linear::kV:
    case Linear::kO:
      return ".self_attn.";
    case Linear::kGate:
    case Linear::kUp:
    case Linear::kDown:
      return ".mlp.";
  }
  return {};
}

std::string linear_path(int layer, Linear linear) {
  std::string path = "model.layers." + std::to_string(layer);
  return path.append(block_of(linear)).append(linear_name(linear));
}

}  // namespace

bool BaseModel::accepts(std::string_view base_model_name_or_path) const {
  const std::string_view last = last_component(base_model_name_or_path);
  const auto matches = [&](std::string_view alias) {
    return base_model_name_or_path == alias || (!last.empty() && last == last_component(alias));
  };
  return matches(name) || std::ranges::any_of(aliases, matches);
}

std::string_view BaseModule::target() const {
  return std::string_view(path).substr(path.rfind('.') + 1);
}

std::vector<BaseModule> base_modules(const ModelSpec& spec) {
  std::vector<BaseModule> modules;
  modules.reserve(static_cast<std::size_t>(spec.num_layers()) * kNumLinears + 2);
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    for (const Linear linear : kAllLinears) {
      modules.push_back({.kind = ModuleKind::kLinear,
                         .layer = layer,
                         .linear = linear,
                         .shape = spec.shape(linear),
                         .path = linear_path(layer, linear)});
    }
  }
  modules.push_back({.kind = ModuleKind::kEmbed,
                     .shape = {.out_features = spec.hidden, .in_features = spec.vocab_size},
                     .path = "model.embed_tokens"});
  modules.push_back({.kind = ModuleKind::kHead,
                     .shape = {.out_features = spec.vocab_size, .in_features = spec.hidden},
                     .path = "lm_head"});
  return modules;
}

}  // namespace tessera

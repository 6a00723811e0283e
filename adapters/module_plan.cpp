#include "adapters/module_plan.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "adapters/base_rows.hpp"
#include "adapters/module_regex.hpp"

namespace tessera {
namespace {

using enum FindingCode;

Finding about_field(FindingCode code, std::string_view field, std::string_view actual,
                    std::string message) {
  return {.code = code,
          .about = Finding::About::kField,
          .subject = std::string(field),
          .actual = std::string(actual),
          .message = std::move(message)};
}

Finding unsupported_regex(std::string_view field, std::string_view regex) {
  return about_field(kUnsupportedRegex, field, regex,
                     "The regex is longer than 1024 bytes, is malformed, or uses what RE2 and "
                     "Python do not read alike (look-around, back references, ...).");
}

// Whether a selector takes a path; made once, asked for every module.
using Selects = std::function<bool(const BaseModule&)>;

Selects select_none() {
  return [](const BaseModule&) { return false; };
}

Selects select_by_names(const std::vector<std::string>& names) {
  return [&names](const BaseModule& module) {
    return std::ranges::any_of(
        names, [&](const std::string& name) { return is_or_ends_with(module.name(), name); });
  };
}

Selects select_by_regex(std::string_view field, const std::string& text, Findings& findings) {
  auto regex = ModuleRegex::whole(text);
  if (!regex) {
    findings.push_back(unsupported_regex(field, text));
    return select_none();
  }
  return [shared = std::make_shared<ModuleRegex>(std::move(*regex))](const BaseModule& module) {
    return shared->matches(module.path);
  };
}

Selects selects(std::string_view field, const ModuleSelector& selector, Findings& findings) {
  switch (selector.kind) {
    case ModuleSelector::Kind::kNone:
      break;
    case ModuleSelector::Kind::kAllLinear:
      return [](const BaseModule& module) { return module.kind == ModuleKind::kLinear; };
    case ModuleSelector::Kind::kRegex:
      return select_by_regex(field, selector.regex, findings);
    case ModuleSelector::Kind::kNames:
      return select_by_names(selector.names);
  }
  return select_none();
}

// `layers_to_transform`. It restrains names that match as a suffix; a module that is listed by its
// whole path is in whatever its layer.
class LayerFilter {
 public:
  LayerFilter(const PeftConfig& config, Findings& findings) : config_(config) {
    for (const std::string& pattern : config.layers_pattern) {
      if (auto regex = ModuleRegex::layer(pattern)) {
        patterns_.push_back(std::move(*regex));
      } else {
        findings.push_back(unsupported_regex("layers_pattern", pattern));
      }
    }
  }

  bool passes(const BaseModule& module) const {
    if (config_.layers_to_transform.empty()) return true;
    if (std::ranges::count(config_.target_modules.names, module.path) != 0) return true;
    const auto layer = layer_of(module);
    return layer && std::ranges::count(config_.layers_to_transform, *layer) != 0;
  }

 private:
  std::optional<int> layer_of(const BaseModule& module) const {
    if (config_.layers_pattern.empty()) {
      if (module.kind != ModuleKind::kLinear) return std::nullopt;
      return module.layer;
    }
    for (const ModuleRegex& pattern : patterns_) {
      if (const auto layer = pattern.layer_index(module.path)) return layer;
    }
    return std::nullopt;
  }

  const PeftConfig& config_;
  std::vector<ModuleRegex> patterns_;
};

void mark_targets(const PeftConfig& config, std::vector<PlannedModule>& modules,
                  Findings& findings) {
  const Selects targeted = selects("target_modules", config.target_modules, findings);
  const Selects excluded = selects("exclude_modules", config.exclude_modules, findings);
  const LayerFilter layers(config, findings);
  const Selects parameters = select_by_names(config.target_parameters);
  for (PlannedModule& module : modules) {
    module.is_targeted = module.base.is_parameter()
                             ? parameters(module.base)
                             : targeted(module.base) && !excluded(module.base) &&
                                   layers.passes(module.base) && !is_saved(config, module.base);
  }
}

// What PEFT takes for the embedding's name or the head's.
bool is_table_name(std::string_view name) {
  return is_or_ends_with(name, "embed_tokens") || is_or_ends_with(name, "lm_head");
}

// Whether PEFT gives the head of a tied base the embedding's pair (_check_tied_modules).
bool ties_pairs(const PeftConfig& config, const ModelSpec& spec) {
  if (!config.ensure_weight_tying || !spec.tied_embeddings) return false;
  if (std::ranges::any_of(config.modules_to_save, is_table_name)) return false;
  if (config.target_modules.kind == ModuleSelector::Kind::kRegex) {
    const auto regex = ModuleRegex::whole(config.target_modules.regex);
    return regex && (regex->matches("embed_tokens") || regex->matches("lm_head"));
  }
  return std::ranges::any_of(config.target_modules.names, is_table_name);
}

void mark_tied_pairs(const PeftConfig& config, const ModelSpec& spec,
                     std::vector<PlannedModule>& modules) {
  if (!ties_pairs(config, spec)) return;
  for (PlannedModule& module : modules) {
    if (module.base.kind == ModuleKind::kLinear) continue;
    module.is_targeted = true;
    module.is_tied = module.base.kind == ModuleKind::kHead;
  }
}

// BdLoRA's patterns are looked for anywhere in the path.
bool is_in(std::string_view path, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(
      patterns, [&](const std::string& pattern) { return path.find(pattern) != path.npos; });
}

void mark_blocks(const BdLora& bdlora, PlannedModule& module, Findings& findings) {
  const bool of_a = is_in(module.base.path, bdlora.block_a);
  const bool of_b = is_in(module.base.path, bdlora.block_b);
  if ((of_a && of_b) || (bdlora.match_strict && !of_a && !of_b)) {
    findings.push_back(about_field(kInvalidConfigValue, "use_bdlora", module.base.path,
                                   of_a ? "The module is in both lists of block-diagonal ones."
                                        : "The module is in no list of block-diagonal ones."));
    return;
  }
  const LinearShape& shape = module.base.shape;
  const int width = of_a ? shape.in_features : shape.out_features;
  if ((of_a || of_b) && (width % bdlora.num_blocks != 0 || module.rank % bdlora.num_blocks != 0)) {
    findings.push_back(about_field(kInvalidConfigValue, "use_bdlora", module.base.path,
                                   "The module cannot be divided into so many blocks."));
    return;
  }
  module.blocks = of_a ? Blocks::kOfA : of_b ? Blocks::kOfB : Blocks::kNone;
  module.num_blocks = bdlora.num_blocks;
}

// Everything that a module has beyond its pair.
void mark_variants(const PeftConfig& config, const ModelSpec& spec,
                   std::vector<PlannedModule>& modules, Findings& findings) {
  for (PlannedModule& module : modules) {
    const bool trains_bias = config.bias == BiasTraining::kAll ||
                             (config.bias == BiasTraining::kLoraOnly && module.is_targeted);
    module.has_bias = trains_bias && has_base_bias(spec, module.base);
    if (!module.is_targeted) continue;
    if (config.bdlora) mark_blocks(*config.bdlora, module, findings);
    module.has_magnitude = config.use_dora;
    module.has_lora_bias = config.lora_bias && module.blocks != Blocks::kOfB;
  }
}

// PEFT has no such variants of embeddings.
void check_embedding(const PeftConfig& config, const std::vector<PlannedModule>& modules,
                     Findings& findings) {
  const bool is_targeted = std::ranges::any_of(modules, [](const PlannedModule& module) {
    return module.is_targeted && module.base.kind == ModuleKind::kEmbed;
  });
  if (!is_targeted) return;
  const auto refuse = [&](std::string_view field) {
    findings.push_back(about_field(kInvalidConfigValue, field, {},
                                   "The field cannot be used with an embedding among the "
                                   "targets."));
  };
  if (config.lora_bias) refuse("lora_bias");
  if (config.bdlora) refuse("use_bdlora");
  if (!config.invocation.empty()) refuse("alora_invocation_tokens");
}

// Pairs of a pattern and a module: a second or two of a processor.
constexpr std::size_t kMatchesMax = 4'000'000;

// The value of the first key that matches, for each module; each regex lives only while it is
// matched, so a config with thousands of them needs the memory of one.
template <class Value>
void apply_pattern(std::string_view field, const std::vector<std::pair<std::string, Value>>& table,
                   Value fallback, Value PlannedModule::*member,
                   std::vector<PlannedModule>& modules, Findings& findings) {
  for (PlannedModule& module : modules) module.*member = fallback;
  if (table.size() * modules.size() > kMatchesMax) {
    findings.push_back(about_field(kInvalidConfigValue, field, {},
                                   "The table has more patterns than are matched with a base of so "
                                   "many modules."));
    return;
  }
  std::vector<bool> is_decided(modules.size(), false);
  for (const auto& [key, value] : table) {
    const auto regex = ModuleRegex::suffix(key);
    if (!regex) {
      findings.push_back(unsupported_regex(field, key));
      continue;
    }
    bool matches_a_target = false;
    for (std::size_t i = 0; i < modules.size(); ++i) {
      if (!regex->matches(modules[i].base.name())) continue;
      matches_a_target |= modules[i].is_targeted;
      if (!is_decided[i]) modules[i].*member = value;
      is_decided[i] = true;
    }
    if (!matches_a_target) {
      findings.push_back(about_field(kPatternMatchesNothing, field, key,
                                     "The pattern matches none of the adapter's modules."));
    }
  }
}

float scale_of(const PlannedModule& module, bool use_rslora) {
  const double rank = module.rank;
  return static_cast<float>(module.alpha / (use_rslora ? std::sqrt(rank) : rank));
}

bool is_name_of_one(const std::vector<PlannedModule>& modules, const std::string& name,
                    bool parameters) {
  return std::ranges::any_of(modules, [&](const PlannedModule& module) {
    return module.base.is_parameter() == parameters && is_or_ends_with(module.base.name(), name);
  });
}

void check_targets(const PeftConfig& config, const std::vector<PlannedModule>& modules,
                   Findings& findings) {
  if (std::ranges::none_of(modules, &PlannedModule::is_targeted)) {
    findings.push_back(about_field(kTargetMatchesNothing, "target_modules", {},
                                   "The config targets no module of the base."));
    return;
  }
  for (const std::string& name : config.target_modules.names) {
    if (is_name_of_one(modules, name, /*parameters=*/false)) continue;
    findings.push_back(about_field(kTargetMatchesNothing, "target_modules", name,
                                   "The base has no module of this name."));
    findings.back().severity = Severity::kWarning;
  }
}

// Unlike a module's, a parameter's name that we do not know may be one that PEFT did wrap.
void check_parameters(const PeftConfig& config, const std::vector<PlannedModule>& modules,
                      Findings& findings) {
  for (const std::string& name : config.target_parameters) {
    if (is_name_of_one(modules, name, /*parameters=*/true)) continue;
    findings.push_back(about_field(kUnsupportedTargetParameters, "target_parameters", name,
                                   "Of bare parameters, only the experts' gate_up_proj and "
                                   "down_proj are served."));
  }
}

}  // namespace

bool is_or_ends_with(std::string_view path, std::string_view name) {
  if (!path.ends_with(name)) return false;
  return path.size() == name.size() || path[path.size() - name.size() - 1] == '.';
}

bool is_saved(const PeftConfig& config, const BaseModule& module) {
  return std::ranges::any_of(config.modules_to_save, [&](const std::string& name) {
    return is_or_ends_with(module.path, name);
  });
}

std::vector<PlannedModule> plan_modules(const PeftConfig& config, const ModelSpec& spec,
                                        std::vector<BaseModule> base, Findings& findings) {
  std::vector<PlannedModule> modules;
  for (BaseModule& module : base) modules.push_back({.base = std::move(module)});
  mark_targets(config, modules, findings);
  mark_tied_pairs(config, spec, modules);
  apply_pattern("rank_pattern", config.rank_pattern, config.r, &PlannedModule::rank, modules,
                findings);
  apply_pattern("alpha_pattern", config.alpha_pattern, config.lora_alpha, &PlannedModule::alpha,
                modules, findings);
  for (PlannedModule& module : modules) module.scale = scale_of(module, config.use_rslora);
  mark_variants(config, spec, modules, findings);
  check_parameters(config, modules, findings);
  check_targets(config, modules, findings);
  check_embedding(config, modules, findings);
  return modules;
}

std::vector<PlannedModule> plan_modules(const PeftConfig& config, const ModelSpec& spec,
                                        Findings& findings) {
  return plan_modules(config, spec, base_modules(spec), findings);
}

}  // namespace tessera

// module_plan.hpp — which modules of the base a config targets, and with which rank and scale.
//
// This is PEFT's matching, rule by rule (tuners_utils.check_target_module_exists and
// utils.other.get_pattern_key): what it would have wrapped when the adapter was trained.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "adapters/base_model.hpp"
#include "adapters/finding.hpp"
#include "adapters/peft_config.hpp"

namespace tessera {

// Which of a module's matrices is stored as the blocks of its diagonal (BdLoRA).
enum class Blocks : std::uint8_t { kNone, kOfA, kOfB };

struct PlannedModule {
  BaseModule base;
  bool is_targeted = false;
  int rank = 0;        // of the first key of rank_pattern that matches the path, else r
  double alpha = 0.0;  // of the first key of alpha_pattern that matches, else lora_alpha
  float scale = 0.0F;  // alpha / rank, or alpha / sqrt(rank)
  Blocks blocks = Blocks::kNone;
  int num_blocks = 1;
  // What it must have tensors of besides A and B.
  bool has_lora_bias = false;
  bool has_magnitude = false;
  bool has_bias = false;  // in place of the base's
  // The head of a base that is tied to its embedding, whose pair is the embedding's transposed.
  bool is_tied = false;
};

// Whether a name of the config is that of a module: its path, or the end of it behind a ".".
bool is_or_ends_with(std::string_view path, std::string_view name);
// Whether `modules_to_save` has a module, or would have if PEFT tied it to another one.
bool is_saved(const PeftConfig& config, const BaseModule& module);

// Every one of `modules` (module_naming.hpp) of a base of that shape, in that order. Regexes that
// cannot be run, patterns that match no target, parameters that are no expert's and configs that
// target nothing are appended to `findings` as errors; a name in the list of targets that matches
// nothing is a warning.
std::vector<PlannedModule> plan_modules(const PeftConfig& config, const ModelSpec& spec,
                                        std::vector<BaseModule> modules, Findings& findings);
// The same of base_modules(spec).
std::vector<PlannedModule> plan_modules(const PeftConfig& config, const ModelSpec& spec,
                                        Findings& findings);

}  // namespace tessera

// module_plan.hpp — which modules of the base a config targets, and with which rank and scale.
//
// This is PEFT's matching, rule by rule (tuners_utils.check_target_module_exists and
// utils.other.get_pattern_key): what it would have wrapped when the adapter was trained.
#pragma once

#include <vector>

#include "adapters/base_model.hpp"
#include "adapters/finding.hpp"
#include "adapters/peft_config.hpp"

namespace tessera {

struct PlannedModule {
  BaseModule base;
  bool is_targeted = false;
  int rank = 0;        // of the first key of rank_pattern that matches the path, else r
  double alpha = 0.0;  // of the first key of alpha_pattern that matches, else lora_alpha
  float scale = 0.0F;  // alpha / rank, or alpha / sqrt(rank)
};

// Every one of `modules` (module_naming.hpp), in that order. Regexes that cannot be run, patterns
// that match no target, parameters that are no expert's and configs that target nothing are
// appended to `findings` as errors; a name in the list of targets that matches nothing is a
// warning.
std::vector<PlannedModule> plan_modules(const PeftConfig& config, std::vector<BaseModule> modules,
                                        Findings& findings);
// The same of base_modules(spec).
std::vector<PlannedModule> plan_modules(const PeftConfig& config, const ModelSpec& spec,
                                        Findings& findings);

}  // namespace tessera

// saved_rows.hpp — rows of the embedding and of the head that an adapter has in place of the
// base's.
//
// PEFT has three ways to save them: trainable_token_indices (single rows), modules_to_save (a whole
// table) and a copy of the base's table that goes along when embedding or head are targeted. All
// become the rows that differ from the base's. Which of them change the other table too, where the
// base ties the two, is PEFT's (utils/other.py, set_additional_trainable_modules; tuners_utils.py,
// _check_tied_modules; 0.21):
//
//   trainable_token_indices   the embedding's rows are the head's too, unless the head has other
//   ids modules_to_save           each for itself, or, with ensure_weight_tying, the embedding's
//   for both a saved copy              PEFT loads it into the weights that the two share: both
#pragma once

#include <span>

#include "adapters/adapter.hpp"
#include "adapters/base_model.hpp"
#include "adapters/module_plan.hpp"
#include "adapters/peft_config.hpp"
#include "adapters/tensor_binding.hpp"

namespace tessera {

struct SavedRows {
  AdapterRows embed = {};
  AdapterRows head = {};
};

// `plan` and `bound` are of the same modules. What is wrong, missing or cannot be served is
// appended to `findings`; a copy of the base's table is dropped with a warning. No value may be
// larger than `max_magnitude`.
SavedRows read_saved_rows(const PeftConfig& config, const BaseModel& base,
                          std::span<const PlannedModule> plan, std::span<const BoundModule> bound,
                          float max_magnitude, Findings& findings);

}  // namespace tessera

// peft_field.hpp — one field of adapter_config.json while it is read; internal to the reader.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "adapters/finding.hpp"
#include "adapters/peft_config.hpp"

namespace tessera::peft {

using Json = nlohmann::ordered_json;

// Its name and value, and where the outcome goes.
struct Field {
  std::string_view name;
  const Json& value;
  const PeftConfigLimits& limits;
  PeftConfig& config;
  Findings& findings;

  void refuse(FindingCode code, std::string expected, std::string message) const;
  void invalid(std::string expected) const;
};

// What PEFT takes for "not used".
bool is_neutral(const Json& value);

// Values of the kinds that fields have; nullopt if the value is of another kind.
std::optional<int> as_count(const Json& value, int max);
std::optional<double> as_alpha(const Json& value);
std::optional<std::vector<std::string>> as_names(const Json& value, std::size_t max_names);
// Token ids, of which at least one; whether the base has them is not known here.
std::optional<std::vector<int>> as_token_ids(const Json& value, std::size_t max_ids);

// Sets `flag` if the value is one; null leaves it.
void read_flag(const Field& field, bool& flag);

// Reads a field that is honoured into `field.config`, or says what is wrong with it.
void read_peft_type(const Field& field);
void read_task_type(const Field& field);
void read_base_model(const Field& field);
void read_r(const Field& field);
void read_lora_alpha(const Field& field);
void read_use_rslora(const Field& field);
void read_rank_pattern(const Field& field);
void read_alpha_pattern(const Field& field);
void read_target_modules(const Field& field);
void read_exclude_modules(const Field& field);
void read_target_parameters(const Field& field);
void read_layers_to_transform(const Field& field);
void read_layers_pattern(const Field& field);
void read_init(const Field& field);
// peft_variants.cpp: what is more than a pair of matrices.
void read_bias(const Field& field);
void read_lora_bias(const Field& field);
void read_use_dora(const Field& field);
void read_bdlora(const Field& field);
void read_alora(const Field& field);
void read_modules_to_save(const Field& field);
void read_trainable_tokens(const Field& field);
void read_ensure_weight_tying(const Field& field);

}  // namespace tessera::peft

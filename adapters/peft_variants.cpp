// peft_variants.cpp — the fields of a LoraConfig that ask for more than a pair of matrices.
#include <algorithm>
#include <set>

#include "adapters/peft_field.hpp"

namespace tessera::peft {
namespace {

using enum FindingCode;

// The ids of one table's rows, under the name that the config gives it ("" for the embedding).
void read_rows(const Field& field, const std::string& module, const Json& value) {
  auto ids = as_token_ids(value, field.limits.max_token_ids);
  if (!ids || std::set<int>(ids->begin(), ids->end()).size() != ids->size()) {
    return field.invalid("lists of token ids, none twice, at most " +
                         std::to_string(field.limits.max_token_ids));
  }
  field.config.trainable_tokens.push_back({.module = module, .ids = std::move(*ids)});
}

void read_blocks(const Field& field, std::string_view name, const Json& value, BdLora& blocks) {
  constexpr int kMaxBlocks = 1024;
  if (name == "match_strict" && value.is_boolean()) {
    blocks.match_strict = value.get<bool>();
  } else if (name == "nblocks" && as_count(value, kMaxBlocks).value_or(0) > 0) {
    blocks.num_blocks = *as_count(value, kMaxBlocks);
  } else if (name == "target_modules_bd_a" || name == "target_modules_bd_b") {
    auto names =
        is_neutral(value) ? std::vector<std::string>() : as_names(value, field.limits.max_patterns);
    if (!names) return field.invalid("lists of names in target_modules_bd_a and _b");
    (name.back() == 'a' ? blocks.block_a : blocks.block_b) = std::move(*names);
  } else if (!is_neutral(value) || name == "nblocks") {
    field.invalid("an object of target_modules_bd_a, target_modules_bd_b, nblocks, match_strict");
  }
}

}  // namespace

void read_bias(const Field& field) {
  if (field.value.is_null() || field.value == "none") return;
  if (field.value == "all") {
    field.config.bias = BiasTraining::kAll;
  } else if (field.value == "lora_only") {
    field.config.bias = BiasTraining::kLoraOnly;
  } else {
    field.invalid("\"none\", \"lora_only\" or \"all\"");
  }
}

void read_lora_bias(const Field& field) {
  read_flag(field, field.config.lora_bias);
}

void read_use_dora(const Field& field) {
  read_flag(field, field.config.use_dora);
}

void read_bdlora(const Field& field) {
  if (is_neutral(field.value)) return;
  if (!field.value.is_object()) return field.invalid("null or an object");
  BdLora blocks;
  for (const auto& [name, value] : field.value.items()) read_blocks(field, name, value, blocks);
  field.config.bdlora = std::move(blocks);
}

void read_alora(const Field& field) {
  if (is_neutral(field.value)) return;
  const auto ids = as_token_ids(field.value, field.limits.max_invocation);
  if (!ids) {
    return field.invalid("a list of at most " + std::to_string(field.limits.max_invocation) +
                         " token ids");
  }
  field.config.invocation.assign(ids->begin(), ids->end());
}

void read_modules_to_save(const Field& field) {
  if (is_neutral(field.value)) return;
  auto names = as_names(field.value, field.limits.max_patterns);
  if (!names) return field.invalid("a list of strings");
  field.config.modules_to_save = std::move(*names);
}

void read_trainable_tokens(const Field& field) {
  if (is_neutral(field.value)) return;
  if (!field.value.is_object()) return read_rows(field, "", field.value);
  for (const auto& [module, ids] : field.value.items()) read_rows(field, module, ids);
}

void read_ensure_weight_tying(const Field& field) {
  read_flag(field, field.config.ensure_weight_tying);
}

}  // namespace tessera::peft

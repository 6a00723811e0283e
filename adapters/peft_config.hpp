// peft_config.hpp — adapter_config.json, each of PEFT's fields decided.
//
// PEFT drops what it does not know with a log line; here a field is honoured, known to change
// nothing, or refused by its own code, and peft_config.cpp is the table that says which. A field
// that is new to us passes only while it is neutral (null, false, "", [] or {}). (PEFT 0.21,
// tuners/lora/config.py; the decisions are those of a server that never serves something else than
// what was trained.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/finding.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// `target_modules` or `exclude_modules`.
struct ModuleSelector {
  enum class Kind : std::uint8_t {
    kNone,
    kAllLinear,  // "all-linear": every linear module but the head
    kRegex,      // a string: re.fullmatch with the path
    kNames,      // a list: the path is a name, or ends with "." and a name
  };

  Kind kind = Kind::kNone;
  std::string regex = {};
  std::vector<std::string> names = {};
};

// Which of the base's biases were trained, and so replace the base's.
enum class BiasTraining : std::uint8_t { kNone, kLoraOnly, kAll };

// `use_bdlora`: A or B of these modules is block-diagonal, and only its blocks are stored. A name
// is one of a module if it is anywhere in the module's path.
struct BdLora {
  std::vector<std::string> block_a = {};
  std::vector<std::string> block_b = {};
  int num_blocks = 1;
  bool match_strict = true;  // every target is in one of the lists
};

// `trainable_token_indices` of one table: row i of its tensor replaces row ids[i].
struct TrainableTokens {
  std::string module = {};  // a name that the table's path ends with; empty: the embedding
  std::vector<TokenId> ids = {};
};

// What of a LoraConfig changes the maths, or says which modules it is about.
struct PeftConfig {
  std::string base_model_name_or_path = {};  // empty if null or absent
  int r = 0;
  double lora_alpha = 0.0;
  bool use_rslora = false;
  // In the order of the file: the first key that matches a module wins.
  std::vector<std::pair<std::string, int>> rank_pattern = {};
  std::vector<std::pair<std::string, double>> alpha_pattern = {};
  ModuleSelector target_modules = {};
  ModuleSelector exclude_modules = {};
  std::vector<std::string> target_parameters = {};  // a name is one, or ends with "." and one
  std::vector<int> layers_to_transform = {};        // empty: all
  std::vector<std::string> layers_pattern = {};
  BiasTraining bias = BiasTraining::kNone;
  bool lora_bias = false;
  bool use_dora = false;
  std::optional<BdLora> bdlora = {};
  std::vector<TokenId> invocation = {};           // of activated LoRA; empty: always active
  std::vector<std::string> modules_to_save = {};  // names that a module's path ends with
  std::vector<TrainableTokens> trainable_tokens = {};
  bool ensure_weight_tying = false;
};

struct PeftConfigLimits {
  std::size_t max_bytes = std::size_t{256} << 10;
  int max_rank = 256;
  std::size_t max_patterns = 2048;     // in each of the two pattern tables and the lists of names
  std::size_t max_token_ids = 65'536;  // of trainable_token_indices, for each table
  std::size_t max_invocation = 1024;   // tokens of alora_invocation_tokens
};

// Reads a config; everything that is wrong with it is appended to `findings`. The result is there
// if nothing was, warnings aside.
std::optional<PeftConfig> parse_peft_config(std::string_view json, const PeftConfigLimits& limits,
                                            Findings& findings);

// The names of the fields that are decided, in no order.
std::vector<std::string_view> decided_peft_fields();

}  // namespace tessera

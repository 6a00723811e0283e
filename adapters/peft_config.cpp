#include "adapters/peft_config.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using enum FindingCode;

constexpr JsonLimits kJsonLimits{.max_bytes = 0, .max_depth = 16, .max_values = 100'000};

// One field being read: its name and value, and where the outcome goes.
struct Field {
  std::string_view name;
  const Json& value;
  const PeftConfigLimits& limits;
  PeftConfig& config;
  Findings& findings;

  void refuse(FindingCode code, std::string expected, std::string message) const {
    findings.push_back({.code = code,
                        .about = Finding::About::kField,
                        .subject = std::string(name),
                        .expected = std::move(expected),
                        .actual = to_text(value),
                        .message = std::move(message)});
  }

  void invalid(std::string expected) const {
    refuse(kInvalidConfigValue, std::move(expected), "The value is not what this field takes.");
  }
};

// What PEFT takes for "not used".
bool is_neutral(const Json& value) {
  return value.is_null() || value == false || value == "" ||
         (value.is_structured() && value.empty());
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Values of the kinds that fields have; nullopt if the value is of another kind.

std::optional<int> as_count(const Json& value, int max) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto count = value.get<std::uint64_t>();
  if (count > static_cast<std::uint64_t>(max)) return std::nullopt;
  return static_cast<int>(count);
}

std::optional<double> as_alpha(const Json& value) {
  if (!value.is_number()) return std::nullopt;
  const auto alpha = value.get<double>();
  if (!std::isfinite(alpha) || alpha <= 0.0) return std::nullopt;
  return alpha;
}

std::optional<std::vector<std::string>> as_names(const Json& value, std::size_t max_names) {
  if (!value.is_array() || value.size() > max_names) return std::nullopt;
  std::vector<std::string> names;
  for (const Json& name : value) {
    if (!name.is_string()) return std::nullopt;
    names.push_back(name.get<std::string>());
  }
  return names;
}

void set_flag(const Field& field, bool& flag) {
  if (field.value.is_null()) return;
  if (!field.value.is_boolean()) return field.invalid("true or false");
  flag = field.value.get<bool>();
}

// The ranks a tensor may have, for `r` and the values of `rank_pattern`.
std::optional<int> read_rank(const Field& field, const Json& value) {
  constexpr int kMaxInt = 1 << 30;
  const auto rank = as_count(value, kMaxInt);
  if (!rank || *rank == 0) {
    field.invalid("an integer of at least 1");
    return std::nullopt;
  }
  if (*rank > field.limits.max_rank) {
    field.refuse(kRankTooLarge, "at most " + std::to_string(field.limits.max_rank),
                 "The rank is above what this server serves.");
    return std::nullopt;
  }
  return rank;
}

// The fields that are honoured.

void read_peft_type(const Field& field) {
  if (field.value == "LORA") return;
  field.refuse(kUnsupportedPeftType, "\"LORA\"", "Only LoRA adapters are served.");
}

void read_task_type(const Field& field) {
  if (field.value.is_null() || field.value == "CAUSAL_LM") return;
  field.refuse(kUnsupportedTaskType, "null or \"CAUSAL_LM\"",
               "Only adapters of a causal language model are served.");
}

void read_base_model(const Field& field) {
  if (field.value.is_null()) return;
  if (!field.value.is_string()) return field.invalid("a string");
  field.config.base_model_name_or_path = field.value.get<std::string>();
}

void read_r(const Field& field) {
  field.config.r = read_rank(field, field.value).value_or(0);
}

void read_lora_alpha(const Field& field) {
  const auto alpha = as_alpha(field.value);
  if (!alpha) return field.invalid("a finite number above 0");
  field.config.lora_alpha = *alpha;
}

void read_use_rslora(const Field& field) {
  set_flag(field, field.config.use_rslora);
}

void read_ensure_weight_tying(const Field& field) {
  set_flag(field, field.config.ensure_weight_tying);
}

bool is_pattern_table(const Field& field) {
  if (field.value.is_object() && field.value.size() <= field.limits.max_patterns) return true;
  field.invalid("an object of at most " + std::to_string(field.limits.max_patterns) + " keys");
  return false;
}

void read_rank_pattern(const Field& field) {
  if (is_neutral(field.value) || !is_pattern_table(field)) return;
  for (const auto& [key, value] : field.value.items()) {
    if (const auto rank = read_rank(field, value)) {
      field.config.rank_pattern.emplace_back(key, *rank);
    }
  }
}

void read_alpha_pattern(const Field& field) {
  if (is_neutral(field.value) || !is_pattern_table(field)) return;
  for (const auto& [key, value] : field.value.items()) {
    const auto alpha = as_alpha(value);
    if (!alpha) return field.invalid("finite numbers above 0");
    field.config.alpha_pattern.emplace_back(key, *alpha);
  }
}

void read_selector(const Field& field, ModuleSelector& selector) {
  if (field.value.is_string()) {
    selector.regex = field.value.get<std::string>();
    selector.kind = ModuleSelector::Kind::kRegex;
    return;
  }
  auto names = as_names(field.value, field.limits.max_patterns);
  if (!names) return field.invalid("a string or a list of strings");
  selector.names = std::move(*names);
  selector.kind = ModuleSelector::Kind::kNames;
}

void read_target_modules(const Field& field) {
  ModuleSelector& selector = field.config.target_modules;
  if (is_neutral(field.value)) return;  // see check_combinations
  read_selector(field, selector);
  if (lower(selector.regex) == "all-linear") selector.kind = ModuleSelector::Kind::kAllLinear;
}

void read_exclude_modules(const Field& field) {
  if (!is_neutral(field.value)) read_selector(field, field.config.exclude_modules);
}

void read_target_parameters(const Field& field) {
  if (is_neutral(field.value)) return;
  auto names = as_names(field.value, field.limits.max_patterns);
  if (!names) return field.invalid("a list of strings");
  field.config.target_parameters = std::move(*names);
}

void read_layers_to_transform(const Field& field) {
  constexpr int kMaxLayer = 1 << 20;
  if (is_neutral(field.value)) return;
  const Json list = field.value.is_array() ? field.value : Json::array({field.value});
  for (const Json& value : list) {
    const auto layer = as_count(value, kMaxLayer);
    if (!layer) return field.invalid("an integer or a list of integers");
    field.config.layers_to_transform.push_back(*layer);
  }
}

void read_layers_pattern(const Field& field) {
  if (is_neutral(field.value)) return;
  const Json list = field.value.is_array() ? field.value : Json::array({field.value});
  auto names = as_names(list, field.limits.max_patterns);
  if (!names) return field.invalid("a string or a list of strings");
  field.config.layers_pattern = std::move(*names);
}

void read_bias(const Field& field) {
  if (field.value.is_null() || field.value == "none") return;
  if (field.value != "all" && field.value != "lora_only") return field.invalid("\"none\"");
  field.refuse(kUnsupportedBias, "\"none\"", "Adapters that train biases are not served.");
}

// How A and B were started does not matter, unless the base was changed along with them.
void read_init(const Field& field) {
  if (field.value.is_boolean() || field.value.is_null()) return;
  if (!field.value.is_string()) return field.invalid("true, false or a string");
  constexpr std::array<std::string_view, 4> kPlain = {"gaussian", "orthogonal", "eva", "mica"};
  if (std::ranges::count(kPlain, lower(field.value.get<std::string>())) != 0) return;
  field.refuse(kUnsupportedInit, "true, false, \"gaussian\", \"orthogonal\", \"eva\" or \"mica\"",
               "This initialisation changes the base's weights, so the adapter does not fit the "
               "base as it is; save it again with path_initial_model_for_weight_conversion.");
}

// The table: every field of LoraConfig and its parents.

enum class Decision : std::uint8_t {
  kRead,     // honoured: `read` takes it
  kIgnore,   // never changes what is served
  kTell,     // the same, but a value is worth a warning
  kNeutral,  // changes what is served in a way that is not supported: refused with `code`
};

struct FieldRow {
  std::string_view name;
  Decision decision;
  void (*read)(const Field&) = nullptr;
  FindingCode code = kUnknownConfigField;
  std::string_view why = {};
};

constexpr FieldRow honour(std::string_view name, void (*read)(const Field&)) {
  return {.name = name, .decision = Decision::kRead, .read = read};
}
constexpr FieldRow ignore(std::string_view name) {
  return {.name = name, .decision = Decision::kIgnore};
}
constexpr FieldRow tell(std::string_view name, std::string_view why) {
  return {.name = name, .decision = Decision::kTell, .code = kIgnoredConfigField, .why = why};
}
constexpr FieldRow refuse(std::string_view name, FindingCode code, std::string_view why) {
  return {.name = name, .decision = Decision::kNeutral, .code = code, .why = why};
}

constexpr std::string_view kInitOnly = "The field only matters while training starts.";

constexpr std::array kFields = {
    honour("peft_type", read_peft_type),
    honour("task_type", read_task_type),
    honour("base_model_name_or_path", read_base_model),
    honour("r", read_r),
    honour("lora_alpha", read_lora_alpha),
    honour("use_rslora", read_use_rslora),
    honour("rank_pattern", read_rank_pattern),
    honour("alpha_pattern", read_alpha_pattern),
    honour("target_modules", read_target_modules),
    honour("exclude_modules", read_exclude_modules),
    honour("target_parameters", read_target_parameters),
    honour("layers_to_transform", read_layers_to_transform),
    honour("layers_pattern", read_layers_pattern),
    honour("bias", read_bias),
    honour("init_lora_weights", read_init),
    honour("ensure_weight_tying", read_ensure_weight_tying),
    ignore("auto_mapping"),
    ignore("revision"),
    ignore("inference_mode"),
    ignore("peft_version"),
    ignore("runtime_config"),
    ignore("lora_dropout"),
    ignore("megatron_core"),
    ignore("qalora_group_size"),  // means nothing without use_qalora
    tell("fan_in_fan_out",
         "The base's modules are plain linear layers; PEFT ignores the field too."),
    tell("loftq_config", kInitOnly),
    tell("eva_config", kInitOnly),
    tell("corda_config", kInitOnly),
    tell("lora_ga_config", kInitOnly),
    tell("velora_config", "VeLoRA only changes the backward pass."),
    refuse("lora_bias", kUnsupportedLoraBias, "Biases of B are not served."),
    refuse("modules_to_save", kUnsupportedModulesToSave,
           "Adapters that replace whole modules are not served."),
    refuse("trainable_token_indices", kUnsupportedTrainableTokens,
           "Adapters that replace embedding rows are not served."),
    refuse("use_dora", kUnsupportedDora, "DoRA adapters are not served."),
    refuse("use_qalora", kUnsupportedQalora, "QA-LoRA adapters are not served."),
    refuse("alora_invocation_tokens", kUnsupportedAlora, "Activated LoRA is not served."),
    refuse("layer_replication", kUnsupportedLayerReplication,
           "Adapters that change the depth of the base are not served."),
    refuse("use_bdlora", kUnsupportedBdlora, "Block-diagonal LoRA is not served."),
    refuse("arrow_config", kUnsupportedArrow, "Routing among adapters is not served."),
    refuse("kasa_config", kUnsupportedKasa, "KaSA adapters are not served."),
    refuse("monteclora_config", kUnsupportedMonteclora, "MonteCLoRA adapters are not served."),
    refuse("megatron_config", kUnsupportedMegatron, "Megatron layers are not served."),
};

constexpr FieldRow kUnknownField =
    refuse("", kUnknownConfigField,
           "The field is not known to this server, so what it changes could not be honoured.");

const FieldRow& row_of(std::string_view name) {
  const auto row = std::ranges::find(kFields, name, &FieldRow::name);
  return row == kFields.end() ? kUnknownField : *row;
}

void decide(const Field& field) {
  const FieldRow& row = row_of(field.name);
  switch (row.decision) {
    case Decision::kRead:
      return row.read(field);
    case Decision::kIgnore:
      return;
    case Decision::kTell:
    case Decision::kNeutral:
      break;
  }
  if (is_neutral(field.value)) return;
  field.refuse(row.code, {}, std::string(row.why));
  if (row.decision == Decision::kTell) field.findings.back().severity = Severity::kWarning;
}

void require_fields(const Json& json, Findings& findings) {
  for (const char* name : {"peft_type", "r", "lora_alpha", "target_modules"}) {
    if (json.contains(name)) continue;
    findings.push_back({.code = kMissingConfigField,
                        .about = Finding::About::kField,
                        .subject = name,
                        .message = "The field is required; PEFT's own defaults are not assumed."});
  }
}

// Combinations that PEFT itself does not construct.
void check_combinations(const PeftConfig& config, Findings& findings) {
  const auto invalid = [&](std::string_view field, std::string_view message) {
    findings.push_back({.code = kInvalidConfigValue,
                        .about = Finding::About::kField,
                        .subject = std::string(field),
                        .message = std::string(message)});
  };
  const bool told = std::ranges::count(findings, "target_modules", &Finding::subject) != 0;
  if (!told && config.target_modules.kind == ModuleSelector::Kind::kNone &&
      config.target_parameters.empty()) {
    findings.push_back({.code = kMissingConfigField,
                        .about = Finding::About::kField,
                        .subject = "target_modules",
                        .expected = "a string or a list of strings",
                        .message = "The config names no target modules."});
  }
  const bool targets_a_list = config.target_modules.kind == ModuleSelector::Kind::kNames;
  if (!config.layers_to_transform.empty() && !targets_a_list) {
    invalid("layers_to_transform", "The field needs target_modules to be a list.");
  }
  if (!config.layers_pattern.empty() && config.layers_to_transform.empty()) {
    invalid("layers_pattern", "The field needs layers_to_transform.");
  }
}

Finding about_json(const Error& error) {
  const FindingCode code = error.code == Code::kPayloadTooLarge ? kConfigTooLarge
                           : error.code == Code::kDuplicateKey  ? kConfigDuplicateKey
                                                                : kConfigInvalidJson;
  return {.code = code,
          .about = error.param.empty() ? Finding::About::kFile : Finding::About::kField,
          .subject = error.param,
          .message = "adapter_config.json: " + error.message};
}

}  // namespace

std::optional<PeftConfig> parse_peft_config(std::string_view json, const PeftConfigLimits& limits,
                                            Findings& findings) {
  JsonLimits json_limits = kJsonLimits;
  json_limits.max_bytes = limits.max_bytes;
  const auto parsed = parse_json(json, json_limits);
  if (!parsed) {
    findings.push_back(about_json(parsed.error()));
    return std::nullopt;
  }
  if (!parsed->is_object()) {
    findings.push_back(
        {.code = kConfigInvalidJson, .message = "adapter_config.json is not a JSON object."});
    return std::nullopt;
  }
  Findings found;
  PeftConfig config;
  require_fields(*parsed, found);
  for (const auto& [name, value] : parsed->items()) {
    decide({.name = name, .value = value, .limits = limits, .config = config, .findings = found});
  }
  check_combinations(config, found);
  const bool is_sound = !has_errors(found);
  std::ranges::move(found, std::back_inserter(findings));
  return is_sound ? std::optional(std::move(config)) : std::nullopt;
}

}  // namespace tessera

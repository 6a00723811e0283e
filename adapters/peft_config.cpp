#include "adapters/peft_config.hpp"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "adapters/peft_field.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using namespace peft;
using enum FindingCode;

constexpr JsonLimits kJsonLimits{.max_bytes = 0, .max_depth = 16, .max_values = 100'000};

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
    honour("lora_bias", read_lora_bias),
    honour("use_dora", read_use_dora),
    honour("use_bdlora", read_bdlora),
    honour("alora_invocation_tokens", read_alora),
    honour("modules_to_save", read_modules_to_save),
    honour("trainable_token_indices", read_trainable_tokens),
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
    refuse("use_qalora", kUnsupportedQalora, "QA-LoRA adapters are not served."),
    refuse("layer_replication", kUnsupportedLayerReplication,
           "Adapters that change the depth of the base are not served."),
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

// Combinations that PEFT itself does not construct, or that cannot be served.
class CombinationCheck {
 public:
  CombinationCheck(const PeftConfig& config, Findings& findings)
      : config_(config), findings_(findings) {}

  void run() {
    check_targets();
    check_variants();
    if (!config_.invocation.empty()) check_invocation();
    if (!config_.target_parameters.empty()) check_parameters();
  }

 private:
  void refuse(FindingCode code, std::string_view field, std::string_view message) {
    findings_.push_back({.code = code,
                         .about = Finding::About::kField,
                         .subject = std::string(field),
                         .message = std::string(message)});
  }
  void invalid(std::string_view field, std::string_view message) {
    refuse(kInvalidConfigValue, field, message);
  }

  void check_targets() {
    const bool told = std::ranges::count(findings_, "target_modules", &Finding::subject) != 0;
    if (!told && config_.target_modules.kind == ModuleSelector::Kind::kNone &&
        config_.target_parameters.empty()) {
      refuse(kMissingConfigField, "target_modules", "The config names no target modules.");
      findings_.back().expected = "a string or a list of strings";
    }
    const bool targets_a_list = config_.target_modules.kind == ModuleSelector::Kind::kNames;
    if (!config_.layers_to_transform.empty() && !targets_a_list) {
      invalid("layers_to_transform", "The field needs target_modules to be a list.");
    }
    if (!config_.layers_pattern.empty() && config_.layers_to_transform.empty()) {
      invalid("layers_pattern", "The field needs layers_to_transform.");
    }
  }

  void check_variants() {
    const int variants =
        int{config_.use_dora} + int{config_.bdlora.has_value()} + int{!config_.invocation.empty()};
    if (variants > 1) {
      invalid(config_.use_dora ? "use_dora" : "use_bdlora",
              "Of use_dora, use_bdlora and alora_invocation_tokens only one can be used.");
    }
    if (config_.use_dora && config_.lora_bias) {
      invalid("lora_bias", "DoRA and lora_bias cannot be used together.");
    }
  }

  // In PEFT these replace the base's also before the invocation; here such positions are the
  // base's, for all of its adapters to share.
  void check_invocation() {
    if (config_.bias != BiasTraining::kNone) {
      refuse(kUnsupportedBias, "bias",
             "Biases that replace the base's are not served together with activated LoRA.");
    }
    if (!config_.modules_to_save.empty()) {
      refuse(kUnsupportedModulesToSave, "modules_to_save",
             "Modules that replace the base's are not served together with activated LoRA.");
    }
    if (!config_.trainable_tokens.empty()) {
      refuse(kUnsupportedTrainableTokens, "trainable_token_indices",
             "Rows that replace the base's are not served together with activated LoRA.");
    }
  }

  void check_parameters() {
    constexpr std::string_view kPairsAlone =
        "Bare parameters (target_parameters) can have plain pairs alone.";
    if (config_.use_dora) invalid("use_dora", kPairsAlone);
    if (config_.bdlora) invalid("use_bdlora", kPairsAlone);
    if (config_.lora_bias) invalid("lora_bias", kPairsAlone);
    if (!config_.invocation.empty()) invalid("alora_invocation_tokens", kPairsAlone);
  }

  const PeftConfig& config_;
  Findings& findings_;
};

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
  CombinationCheck(config, found).run();
  const bool is_sound = !has_errors(found);
  std::ranges::move(found, std::back_inserter(findings));
  return is_sound ? std::optional(std::move(config)) : std::nullopt;
}

std::vector<std::string_view> decided_peft_fields() {
  std::vector<std::string_view> names;
  for (const FieldRow& row : kFields) names.push_back(row.name);
  return names;
}

}  // namespace tessera

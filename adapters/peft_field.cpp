#include "adapters/peft_field.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "storage/json.hpp"

namespace tessera::peft {
namespace {

using enum FindingCode;

constexpr const char* kHowToConvert =
    "This initialisation changes the base's weights, so the adapter does not fit the base as it "
    "is. Save it again with model.save_pretrained(directory, "
    "path_initial_model_for_weight_conversion=initial), where `initial` is the adapter as it was "
    "saved before training with init_lora_weights set to true; that doubles its rank and makes it "
    "a plain one.";
constexpr const char* kHowToLeaveLoftq =
    "LoftQ changes the base's weights, so the adapter does not fit the base as it is, and PEFT "
    "converts no such adapter; train it from a plain initialisation.";

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
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

bool is_pattern_table(const Field& field) {
  if (field.value.is_object() && field.value.size() <= field.limits.max_patterns) return true;
  field.invalid("an object of at most " + std::to_string(field.limits.max_patterns) + " keys");
  return false;
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

}  // namespace

void Field::refuse(FindingCode code, std::string expected, std::string message) const {
  findings.push_back({.code = code,
                      .about = Finding::About::kField,
                      .subject = std::string(name),
                      .expected = std::move(expected),
                      .actual = to_text(value),
                      .message = std::move(message)});
}

void Field::invalid(std::string expected) const {
  refuse(kInvalidConfigValue, std::move(expected), "The value is not what this field takes.");
}

bool is_neutral(const Json& value) {
  return value.is_null() || value == false || value == "" ||
         (value.is_structured() && value.empty());
}

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

std::optional<std::vector<int>> as_token_ids(const Json& value, std::size_t max_ids) {
  constexpr int kMaxId = 1 << 30;
  if (!value.is_array() || value.empty() || value.size() > max_ids) return std::nullopt;
  std::vector<int> ids;
  for (const Json& number : value) {
    const auto id = as_count(number, kMaxId);
    if (!id) return std::nullopt;
    ids.push_back(*id);
  }
  return ids;
}

void read_flag(const Field& field, bool& flag) {
  if (field.value.is_null()) return;
  if (!field.value.is_boolean()) return field.invalid("true or false");
  flag = field.value.get<bool>();
}

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
  read_flag(field, field.config.use_rslora);
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

void read_target_modules(const Field& field) {
  ModuleSelector& selector = field.config.target_modules;
  if (is_neutral(field.value)) return;  // see CombinationCheck
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

// How A and B were started does not matter, unless the base was changed along with them.
void read_init(const Field& field) {
  if (field.value.is_boolean() || field.value.is_null()) return;
  if (!field.value.is_string()) return field.invalid("true, false or a string");
  const std::string init = lower(field.value.get<std::string>());
  constexpr std::array<std::string_view, 4> kPlain = {"gaussian", "orthogonal", "eva", "mica"};
  if (std::ranges::count(kPlain, init) != 0) return;
  field.refuse(kUnsupportedInit, "true, false, \"gaussian\", \"orthogonal\", \"eva\" or \"mica\"",
               init == "loftq" ? kHowToLeaveLoftq : kHowToConvert);
}

}  // namespace tessera::peft

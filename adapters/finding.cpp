#include "adapters/finding.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

struct CodeName {
  FindingCode code;
  std::string_view name;
};

using enum FindingCode;
constexpr std::array kCodeNames = {
    CodeName{kPickleNotAccepted, "pickle_not_accepted"},
    CodeName{kSafetensorsTruncated, "safetensors_truncated"},
    CodeName{kSafetensorsHeaderTooLarge, "safetensors_header_too_large"},
    CodeName{kSafetensorsHeaderInvalid, "safetensors_header_invalid"},
    CodeName{kSafetensorsDuplicateKey, "safetensors_duplicate_key"},
    CodeName{kSafetensorsUnknownKey, "safetensors_unknown_key"},
    CodeName{kSafetensorsBadMetadata, "safetensors_bad_metadata"},
    CodeName{kSafetensorsBadDtype, "safetensors_bad_dtype"},
    CodeName{kSafetensorsBadShape, "safetensors_bad_shape"},
    CodeName{kSafetensorsBadOffsets, "safetensors_bad_offsets"},
    CodeName{kSafetensorsOverflow, "safetensors_overflow"},
    CodeName{kSafetensorsSizeMismatch, "safetensors_size_mismatch"},
    CodeName{kSafetensorsOverlap, "safetensors_overlap"},
    CodeName{kSafetensorsHole, "safetensors_hole"},
    CodeName{kSafetensorsTrailingData, "safetensors_trailing_data"},
    CodeName{kSafetensorsTooManyTensors, "safetensors_too_many_tensors"},
    CodeName{kConfigTooLarge, "config_too_large"},
    CodeName{kConfigInvalidJson, "config_invalid_json"},
    CodeName{kConfigDuplicateKey, "config_duplicate_key"},
    CodeName{kUnknownConfigField, "unknown_config_field"},
    CodeName{kMissingConfigField, "missing_config_field"},
    CodeName{kInvalidConfigValue, "invalid_config_value"},
    CodeName{kUnsupportedPeftType, "unsupported_peft_type"},
    CodeName{kUnsupportedTaskType, "unsupported_task_type"},
    CodeName{kBaseModelMismatch, "base_model_mismatch"},
    CodeName{kRankTooLarge, "rank_too_large"},
    CodeName{kUnsupportedBias, "unsupported_bias"},
    CodeName{kUnsupportedLoraBias, "unsupported_lora_bias"},
    CodeName{kUnsupportedTargetParameters, "unsupported_target_parameters"},
    CodeName{kUnsupportedModulesToSave, "unsupported_modules_to_save"},
    CodeName{kUnsupportedTrainableTokens, "unsupported_trainable_tokens"},
    CodeName{kUnsupportedWeightTying, "unsupported_weight_tying"},
    CodeName{kUnsupportedInit, "unsupported_init_lora_weights"},
    CodeName{kUnsupportedQalora, "unsupported_qalora"},
    CodeName{kUnsupportedLayerReplication, "unsupported_layer_replication"},
    CodeName{kUnsupportedArrow, "unsupported_arrow"},
    CodeName{kUnsupportedKasa, "unsupported_kasa"},
    CodeName{kUnsupportedMonteclora, "unsupported_monteclora"},
    CodeName{kUnsupportedMegatron, "unsupported_megatron"},
    CodeName{kUnsupportedRegex, "unsupported_regex"},
    CodeName{kPatternMatchesNothing, "pattern_matches_nothing"},
    CodeName{kTargetMatchesNothing, "target_matches_nothing"},
    CodeName{kNoTensors, "no_tensors"},
    CodeName{kMixedAdapterNames, "mixed_adapter_names"},
    CodeName{kUnboundTensor, "unbound_tensor"},
    CodeName{kDuplicateTensor, "duplicate_tensor"},
    CodeName{kUnsupportedTensor, "unsupported_tensor"},
    CodeName{kUnsupportedTensorDtype, "unsupported_tensor_dtype"},
    CodeName{kTensorShapeMismatch, "tensor_shape_mismatch"},
    CodeName{kRankMismatch, "rank_mismatch"},
    CodeName{kMissingLoraA, "missing_lora_a"},
    CodeName{kMissingLoraB, "missing_lora_b"},
    CodeName{kMissingLoraBias, "missing_lora_bias"},
    CodeName{kMissingMagnitude, "missing_magnitude"},
    CodeName{kMissingBias, "missing_bias"},
    CodeName{kMissingRows, "missing_rows"},
    CodeName{kUndeclaredTensor, "undeclared_tensor"},
    CodeName{kBaseWeightsNeeded, "base_weights_needed"},
    CodeName{kModuleNotTargeted, "module_not_targeted"},
    CodeName{kTargetWithoutTensors, "target_without_tensors"},
    CodeName{kEmbeddingWeightsPresent, "embedding_weights_present"},
    CodeName{kTokenizerMismatch, "tokenizer_mismatch"},
    CodeName{kNonFiniteValue, "non_finite_value"},
    CodeName{kValueTooLarge, "value_too_large"},
    CodeName{kArchiveUnreadable, "archive_unreadable"},
    CodeName{kArchiveEncrypted, "archive_encrypted"},
    CodeName{kArchiveBadEntry, "archive_bad_entry"},
    CodeName{kArchiveTooManyEntries, "archive_too_many_entries"},
    CodeName{kArchiveTooLarge, "archive_too_large"},
    CodeName{kArchiveRatioTooHigh, "archive_ratio_too_high"},
    CodeName{kArchiveDuplicateEntry, "archive_duplicate_entry"},
    CodeName{kArchiveMissingFile, "archive_missing_file"},
    CodeName{kArchiveTrailingData, "archive_trailing_data"},
    CodeName{kFileNotAccepted, "file_not_accepted"},
    CodeName{kValidationFailed, "validation_failed"},
    CodeName{kValidationInterrupted, "validation_interrupted"},
    CodeName{kAdapterHasNoEffect, "adapter_has_no_effect"},
    CodeName{kProbeNotFinite, "probe_not_finite"},
    CodeName{kAcceptanceFailed, "acceptance_failed"},
    CodeName{kIgnoredConfigField, "ignored_config_field"},
    CodeName{kIgnoredTensor, "ignored_tensor"},
    CodeName{kAdapterIsNoop, "adapter_is_noop"},
    CodeName{kIgnoredFile, "ignored_file"},
};

consteval bool names_are_in_order_of_codes() {
  for (std::size_t i = 0; i < kCodeNames.size(); ++i) {
    if (static_cast<std::size_t>(kCodeNames[i].code) != i) return false;
  }
  return kCodeNames.size() == static_cast<std::size_t>(kIgnoredFile) + 1;
}
static_assert(names_are_in_order_of_codes(), "a code without a name, or out of order");

// A tenant's text, shortened so that a report stays small whatever was uploaded.
std::string shortened(const std::string& text) {
  constexpr std::size_t kMaxShown = 256;
  return text.size() <= kMaxShown ? text : text.substr(0, kMaxShown) + "...";
}

nlohmann::ordered_json coverage_json(const Report& report) {
  const Coverage& coverage = report.coverage;
  return {{"tensors_total", coverage.tensors_total},
          {"tensors_bound", coverage.tensors_bound},
          {"modules_bound", coverage.modules_bound},
          {"modules_by_target", coverage.modules_by_target},
          {"rows_replaced", coverage.rows_replaced},
          {"rank_min", report.rank_min},
          {"rank_max", report.rank_max},
          {"max_norm_a", report.max_norm_a},
          {"max_norm_b", report.max_norm_b}};
}

}  // namespace

std::string_view to_string(FindingCode code) {
  return kCodeNames[static_cast<std::size_t>(code)].name;
}

std::optional<FindingCode> finding_code_of(std::string_view name) {
  const auto found = std::ranges::find(kCodeNames, name, &CodeName::name);
  if (found == kCodeNames.end()) return std::nullopt;
  return found->code;
}

void throw_exception_from_error(const Finding& finding, const boost::source_location&) {
  throw std::logic_error("unchecked finding: " + finding.message);
}

bool has_errors(const Findings& findings) {
  return std::ranges::any_of(
      findings, [](const Finding& finding) { return finding.severity == Severity::kError; });
}

nlohmann::ordered_json to_json(const Finding& finding) {
  nlohmann::ordered_json json = {
      {"severity", finding.severity == Severity::kError ? "error" : "warning"},
      {"code", to_string(finding.code)}};
  if (!finding.subject.empty()) {
    json[finding.about == Finding::About::kField ? "field" : "tensor"] = shortened(finding.subject);
  }
  if (!finding.expected.empty()) json["expected"] = shortened(finding.expected);
  if (!finding.actual.empty()) json["actual"] = shortened(finding.actual);
  json["message"] = finding.message;
  return json;
}

nlohmann::ordered_json to_json(const Report& report) {
  nlohmann::ordered_json json = {{"object", "adapter.validation_report"}, {"ok", report.ok()}};
  json["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : report.findings) json["findings"].push_back(to_json(finding));
  if (report.findings_left_out > 0) json["findings_left_out"] = report.findings_left_out;
  json["normalisation"] = nlohmann::ordered_json::array();
  for (const Report::Renamed& renamed : report.renamed) {
    json["normalisation"].push_back({{"from", renamed.from}, {"to", renamed.to}});
  }
  json["coverage"] = coverage_json(report);
  if (report.page_error) {
    json["pages"] = {{"type", "int8"}, {"relative_error", *report.page_error}};
  }
  return json;
}

}  // namespace tessera

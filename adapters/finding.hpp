// finding.hpp — everything that can be wrong with an uploaded adapter, one code each.
//
// An upload is answered with all of its faults at once: each Finding has a stable code, the field
// or tensor it is about, what was expected and what was found. Errors refuse the upload; warnings
// are told and accepted. The Report adds coverage, so that "it was accepted" is never mistaken for
// "it does something": how many modules and tensors were bound, at which ranks, with which norms.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/system/result.hpp>
#include <nlohmann/json_fwd.hpp>

namespace tessera {

// to_string() gives the wire form: snake_case without the k, from the table in finding.cpp.
enum class FindingCode : std::uint8_t {
  // the tensors file as a container (safetensors.hpp)
  kPickleNotAccepted,
  kSafetensorsTruncated,
  kSafetensorsHeaderTooLarge,
  kSafetensorsHeaderInvalid,
  kSafetensorsDuplicateKey,
  kSafetensorsUnknownKey,
  kSafetensorsBadMetadata,
  kSafetensorsBadDtype,
  kSafetensorsBadShape,
  kSafetensorsBadOffsets,
  kSafetensorsOverflow,
  kSafetensorsSizeMismatch,
  kSafetensorsOverlap,
  kSafetensorsHole,
  kSafetensorsTrailingData,
  kSafetensorsTooManyTensors,
  // the config as JSON
  kConfigTooLarge,
  kConfigInvalidJson,
  kConfigDuplicateKey,
  kUnknownConfigField,
  kMissingConfigField,
  kInvalidConfigValue,
  // the config as maths (peft_config.hpp)
  kUnsupportedPeftType,
  kUnsupportedTaskType,
  kBaseModelMismatch,
  kRankTooLarge,
  kUnsupportedBias,
  kUnsupportedLoraBias,
  kUnsupportedTargetParameters,
  kUnsupportedModulesToSave,
  kUnsupportedTrainableTokens,
  kUnsupportedWeightTying,
  kUnsupportedInit,
  kUnsupportedQalora,
  kUnsupportedLayerReplication,
  kUnsupportedArrow,
  kUnsupportedKasa,
  kUnsupportedMonteclora,
  kUnsupportedMegatron,
  kUnsupportedRegex,
  kPatternMatchesNothing,
  kTargetMatchesNothing,
  // the tensors against the config and the base (validator.hpp)
  kNoTensors,
  kMixedAdapterNames,
  kUnboundTensor,
  kDuplicateTensor,
  kUnsupportedTensor,
  kUnsupportedTensorDtype,
  kTensorShapeMismatch,
  kRankMismatch,
  kMissingLoraA,
  kMissingLoraB,
  kMissingLoraBias,
  kMissingMagnitude,
  kMissingBias,
  kMissingRows,
  kUndeclaredTensor,
  kBaseWeightsNeeded,
  kModuleNotTargeted,
  kTargetWithoutTensors,
  kEmbeddingWeightsPresent,
  kTokenizerMismatch,
  kNonFiniteValue,
  kValueTooLarge,
  // the package as a whole (adapters/archive, adapters/sandbox)
  kArchiveUnreadable,
  kArchiveEncrypted,
  kArchiveBadEntry,
  kArchiveTooManyEntries,
  kArchiveTooLarge,
  kArchiveRatioTooHigh,
  kArchiveDuplicateEntry,
  kArchiveMissingFile,
  kArchiveTrailingData,
  kFileNotAccepted,
  kValidationFailed,
  kValidationInterrupted,
  // what the adapter does (gateway/adapters)
  kAdapterHasNoEffect,
  kProbeNotFinite,
  kAcceptanceFailed,
  // warnings only
  kIgnoredConfigField,
  kIgnoredTensor,
  kAdapterIsNoop,
  kIgnoredFile,
};

std::string_view to_string(FindingCode code);
std::optional<FindingCode> finding_code_of(std::string_view name);  // to_string()'s inverse

enum class Severity : std::uint8_t { kError, kWarning };

struct [[nodiscard]] Finding {
  enum class About : std::uint8_t { kFile, kField, kTensor };

  FindingCode code;
  Severity severity = Severity::kError;
  About about = About::kFile;
  std::string subject = {};  // the field or tensor; empty when it is the file as a whole
  std::string expected = {};
  std::string actual = {};
  std::string message;  // one sentence for whoever made the upload
};

// What a parser of one file returns: its value, or the first thing that made it unreadable.
template <class T>
using Checked = boost::system::result<T, Finding>;
[[noreturn]] void throw_exception_from_error(const Finding& finding,
                                             const boost::source_location& where);

using Findings = std::vector<Finding>;
bool has_errors(const Findings& findings);

// How much of the upload was bound to the base.
struct Coverage {
  int tensors_total = 0;
  int tensors_bound = 0;  // each is a part of a module of the base
  int modules_bound = 0;
  std::map<std::string, int> modules_by_target;  // "q_proj" -> how many layers
  int rows_replaced = 0;                         // of the embedding and of the head
};

struct Report {
  static constexpr std::size_t kMaxFindings = 256;

  struct Renamed {
    std::string from;
    std::string to;
  };

  // Errors and warnings: first those of the config, then those of the tensors. At most kMaxFindings
  // are kept, errors before warnings; the others are only counted.
  Findings findings;
  int findings_left_out = 0;
  Coverage coverage;
  std::vector<Renamed> renamed;  // names that were normalised beyond the usual PEFT prefix
  int rank_min = 0;
  int rank_max = 0;
  double max_norm_a = 0.0;  // largest Frobenius norm of an A
  double max_norm_b = 0.0;  // largest Frobenius norm of a scaled B
  // Of pages of 8 bits: the root mean square of what they change in the adapter's products, as a
  // fraction of those (kernels/lora_int8.hpp). None: the pages are of another kind.
  std::optional<double> page_error = {};

  bool ok() const { return !has_errors(findings); }
};

// The "adapter.validation_report" object of the API.
nlohmann::ordered_json to_json(const Finding& finding);
nlohmann::ordered_json to_json(const Report& report);

}  // namespace tessera

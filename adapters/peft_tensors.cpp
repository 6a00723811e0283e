#include "adapters/peft_tensors.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace tessera {
namespace {

using enum PeftTensorKind;

constexpr std::string_view kPrefix = "base_model.model.";

// `marker` is the first component after the module's path; `end` is the last one, after the
// adapter's name if that is there.
struct Form {
  std::string_view marker;
  std::string_view end;  // empty: nothing follows
  PeftTensorKind kind;
};

constexpr std::array kForms = {
    Form{"lora_A", "weight", kLoraA},
    Form{"lora_B", "weight", kLoraB},
    Form{"lora_B", "bias", kLoraBias},
    Form{"lora_embedding_A", "", kLoraEmbeddingA},
    Form{"lora_embedding_B", "", kLoraEmbeddingB},
    Form{"lora_magnitude_vector", "weight", kDoraMagnitude},
    Form{"lora_magnitude_vector", "", kDoraMagnitude},
    Form{"lora_diag", "", kKasaDiagonal},
    Form{"token_adapter.trainable_tokens_delta", "", kTokenDelta},
};

// What begins so, whatever follows.
struct Opening {
  std::string_view marker;
  PeftTensorKind kind;
};

constexpr std::array kOpenings = {
    Opening{".lora_velora_", kVeloraState},
    Opening{".lora_monteclora_", kMontecloraState},
};

bool cut_end(std::string_view& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.remove_suffix(end.size());
  return true;
}

// `rest` is what follows the marker: "", ".end", ".adapter" or ".adapter.end".
std::optional<std::string_view> adapter_name(std::string_view rest, std::string_view end) {
  if (!end.empty() && !(cut_end(rest, end) && cut_end(rest, "."))) return std::nullopt;
  if (rest.empty()) return rest;
  if (rest.front() != '.') return std::nullopt;
  rest.remove_prefix(1);
  const bool is_name =
      !rest.empty() && rest.find('.') == rest.npos && rest != "weight" && rest != "bias";
  if (!is_name) return std::nullopt;
  return rest;
}

std::optional<PeftTensorName> parse_form(std::string_view name, const Form& form) {
  const auto at = name.rfind(form.marker);
  if (at == name.npos || at == 0 || name[at - 1] != '.') return std::nullopt;
  const auto adapter = adapter_name(name.substr(at + form.marker.size()), form.end);
  if (!adapter) return std::nullopt;
  return PeftTensorName{.kind = form.kind, .path = name.substr(0, at - 1), .adapter = *adapter};
}

PeftTensorName parse_base_tensor(std::string_view name) {
  PeftTensorName parsed{.path = name};
  if (cut_end(parsed.path, ".weight")) parsed.kind = kWeight;
  if (cut_end(parsed.path, ".bias")) parsed.kind = kBias;
  if (parsed.kind != kUnknown) cut_end(parsed.path, ".base_layer");
  return parsed;
}

}  // namespace

PeftTensorName parse_peft_tensor_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return {.path = name};
  name.remove_prefix(kPrefix.size());
  for (const Opening& opening : kOpenings) {
    const auto at = name.find(opening.marker);
    if (at != name.npos) return {.kind = opening.kind, .path = name.substr(0, at)};
  }
  for (const Form& form : kForms) {
    if (const auto parsed = parse_form(name, form)) return *parsed;
  }
  return parse_base_tensor(name);
}

bool PeftTensorName::is_part() const {
  switch (kind) {
    case kLoraA:
    case kLoraB:
    case kLoraEmbeddingA:
    case kLoraEmbeddingB:
    case kLoraBias:
    case kDoraMagnitude:
    case kTokenDelta:
    case kWeight:
    case kBias:
      return true;
    case kKasaDiagonal:
    case kVeloraState:
    case kMontecloraState:
    case kUnknown:
      break;
  }
  return false;
}

std::string plain_tensor_name(const PeftTensorName& name) {
  const auto form = std::ranges::find(kForms, name.kind, &Form::kind);
  std::string text(name.path);
  if (form == kForms.end()) return text;
  text.append(".").append(form->marker);
  // The magnitude's has an end only inside of PEFT.
  if (form->end.empty() || name.kind == kDoraMagnitude) return text;
  return text.append(".").append(form->end);
}

FindingCode refusal_of(PeftTensorKind kind) {
  switch (kind) {
    case kLoraBias:
      return FindingCode::kUnsupportedLoraBias;
    case kKasaDiagonal:
      return FindingCode::kUnsupportedKasa;
    case kTokenDelta:
      return FindingCode::kUnsupportedTrainableTokens;
    case kMontecloraState:
      return FindingCode::kUnsupportedMonteclora;
    case kBias:
      return FindingCode::kUnsupportedBias;
    case kWeight:
      return FindingCode::kUnsupportedModulesToSave;
    case kVeloraState:
      return FindingCode::kIgnoredTensor;
    case kLoraA:
    case kLoraB:
    case kLoraEmbeddingA:
    case kLoraEmbeddingB:
    case kDoraMagnitude:
    case kUnknown:
      break;
  }
  return FindingCode::kUnboundTensor;
}

}  // namespace tessera

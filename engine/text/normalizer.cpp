#include "engine/text/normalizer.hpp"

#include <array>
#include <cassert>
#include <utility>

#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"

namespace tessera {
namespace {

// ICU keeps one instance of each for the life of the process.
const icu::Normalizer2& icu_normalizer(std::string_view data, UNormalization2Mode mode) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* found = icu::Normalizer2::getInstance(nullptr, data.data(), mode, status);
  assert(U_SUCCESS(status) && found);
  return *found;
}

std::string normalized(const icu::Normalizer2& normalizer, std::string_view text) {
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  UErrorCode status = U_ZERO_ERROR;
  normalizer.normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())),
                           sink, nullptr, status);
  assert(U_SUCCESS(status));
  return out;
}

}  // namespace

Result<Normalizer> Normalizer::from_json(const nlohmann::ordered_json& node,
                                         const std::string& path) {
  Normalizer normalizer;
  if (node.is_null()) return normalizer;
  if (auto added = normalizer.add(node, path); !added) return added.error();
  return normalizer;
}

Result<void> Normalizer::add(const nlohmann::ordered_json& node, const std::string& path) {
  static constexpr std::array<std::pair<std::string_view, Form>, 4> kForms = {
      {{"NFC", Form::kNfc}, {"NFD", Form::kNfd}, {"NFKC", Form::kNfkc}, {"NFKD", Form::kNfkd}}};
  auto type = stage_type(node, path);
  if (!type) return type.error();
  for (const auto& [name, form] : kForms) {
    if (*type != name) continue;
    forms_.push_back(form);
    return only_fields(node, path, {"type"});
  }
  const nlohmann::ordered_json* parts = find_field(node, "normalizers");
  if (*type != "Sequence" || !parts || !parts->is_array()) {
    return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
  }
  for (std::size_t i = 0; i < parts->size(); ++i) {
    auto added = add((*parts)[i], item_path(field_path(path, "normalizers"), i));
    if (!added) return added;
  }
  return only_fields(node, path, {"type", "normalizers"});
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  for (const Form form : forms_) {
    const bool compatible = form == Form::kNfkc || form == Form::kNfkd;
    const bool composed = form == Form::kNfc || form == Form::kNfkc;
    out = normalized(
        icu_normalizer(compatible ? "nfkc" : "nfc", composed ? UNORM2_COMPOSE : UNORM2_DECOMPOSE),
        out);
  }
  return out;
}

}  // namespace tessera

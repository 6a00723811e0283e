#include "engine/text/normalizer.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"

namespace tessera {

using Json = nlohmann::ordered_json;

Result<Normalizer> Normalizer::from_json(const Json& node, const std::string& path) {
  Normalizer normalizer;
  if (node.is_null()) return normalizer;
  if (auto added = normalizer.add(node, path); !added) return added.error();
  double growth = 1;
  for (const Step& step : normalizer.steps_) growth *= growth_of(step);
  if (normalizer.steps_.size() > kStepsMax || growth > kGrowthMax) {
    return unsupported_field(path, "rewrites too much");
  }
  return normalizer;
}

double Normalizer::growth_of(const Step& step) {
  constexpr double kFormGrowth = 18;  // one code point can become as many
  if (std::holds_alternative<UnicodeForm>(step)) return kFormGrowth;
  if (std::holds_alternative<ByteAlphabet>(step)) return 2;
  if (const auto* prepend = std::get_if<Prepend>(&step)) {
    return 1 + static_cast<double>(prepend->text.size());
  }
  if (const auto* replacement = std::get_if<Replacement>(&step)) return replacement->growth();
  if (const auto* map = std::get_if<std::shared_ptr<const Charsmap>>(&step)) {
    return std::max(1.0, static_cast<double>((*map)->longest_text()));
  }
  return 3;  // lower case, white space around a character
}

Result<void> Normalizer::add(const Json& node, const std::string& path) {
  auto type = stage_type(node, path);
  if (!type) return type.error();
  if (*type == "Sequence") return add_sequence(node, path);
  if (*type == "Prepend") return add_prepend(node, path);
  if (*type == "Replace") return add_replace(node, path);
  if (*type == "Strip") return add_strip(node, path);
  if (*type == "BertNormalizer") return add_bert(node, path);
  if (*type == "Precompiled") return add_charsmap(node, path);
  const std::array<std::pair<std::string_view, Step>, 8> plain = {{{"NFC", UnicodeForm::kNfc},
                                                                   {"NFD", UnicodeForm::kNfd},
                                                                   {"NFKC", UnicodeForm::kNfkc},
                                                                   {"NFKD", UnicodeForm::kNfkd},
                                                                   {"Lowercase", Lowercase{}},
                                                                   {"StripAccents", StripAccents{}},
                                                                   {"Nmt", Nmt{}},
                                                                   {"ByteLevel", ByteAlphabet{}}}};
  for (const auto& [name, step] : plain) {
    if (*type != name) continue;
    steps_.push_back(step);
    return only_fields(node, path, {"type"});
  }
  return unsupported_field(field_path(path, "type"), "\"" + *type + "\" is not supported");
}

Result<void> Normalizer::add_sequence(const Json& node, const std::string& path) {
  const std::string parts_path = field_path(path, "normalizers");
  const Json* parts = find_field(node, "normalizers");
  if (!parts || !parts->is_array()) return unsupported_field(parts_path, "must be a list");
  for (std::size_t i = 0; i < parts->size(); ++i) {
    if (auto added = add((*parts)[i], item_path(parts_path, i)); !added) return added;
  }
  return only_fields(node, path, {"type", "normalizers"});
}

Result<void> Normalizer::add_prepend(const Json& node, const std::string& path) {
  auto text = string_field(node, path, "prepend");
  if (!text) return text.error();
  steps_.emplace_back(Prepend{std::move(*text)});
  return only_fields(node, path, {"type", "prepend"});
}

Result<void> Normalizer::add_replace(const Json& node, const std::string& path) {
  auto replacement = read_replacement(node, path);
  if (!replacement) return replacement.error();
  steps_.emplace_back(std::move(*replacement));
  return only_fields(node, path, {"type", "pattern", "content"});
}

Result<void> Normalizer::add_strip(const Json& node, const std::string& path) {
  auto left = bool_field(node, path, "strip_left", true);
  if (!left) return left.error();
  auto right = bool_field(node, path, "strip_right", true);
  if (!right) return right.error();
  steps_.emplace_back(Strip{*left, *right});
  return only_fields(node, path, {"type", "strip_left", "strip_right"});
}

Result<void> Normalizer::add_bert(const Json& node, const std::string& path) {
  Bert bert{};
  const std::pair<const char*, bool*> fields[] = {
      {"clean_text", &bert.clean_text},
      {"handle_chinese_chars", &bert.handle_chinese_chars},
      {"lowercase", &bert.lowercase}};
  for (const auto& [name, value] : fields) {
    auto field = bool_field(node, path, name, true);
    if (!field) return field.error();
    *value = *field;
  }
  auto accents = bool_field(node, path, "strip_accents", bert.lowercase);  // null: as lowercase
  if (!accents) return accents.error();
  bert.strip_accents = *accents;
  steps_.emplace_back(bert);
  return only_fields(node, path,
                     {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
}

Result<void> Normalizer::add_charsmap(const Json& node, const std::string& path) {
  const std::string blob_path = field_path(path, "precompiled_charsmap");
  const Json* field = find_field(node, "precompiled_charsmap");
  if (field) {
    auto text = string_field(node, path, "precompiled_charsmap");
    if (!text) return text.error();
    const auto blob = from_base64(*text);
    if (!blob) return unsupported_field(blob_path, "is not base64");
    if (!blob->empty()) {
      auto map = Charsmap::read(*blob);
      if (!map) return unsupported_field(blob_path, map.error().message);
      steps_.emplace_back(std::make_shared<const Charsmap>(std::move(*map)));
    }
  }
  return only_fields(node, path, {"type", "precompiled_charsmap"});
}

}  // namespace tessera

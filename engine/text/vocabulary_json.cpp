#include "engine/text/vocabulary_json.hpp"

#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"

namespace tessera {

Result<Vocabulary> read_vocabulary(const nlohmann::ordered_json& node, const std::string& path) {
  if (!node.is_object()) return unsupported_field(path, "must be an object");
  Vocabulary out{{}, TokenIndex(node.size())};
  std::size_t bytes = 0;
  for (const auto& [text, id] : node.items()) {
    if (!id.is_number_integer() || id < 0 || id >= kVocabMax) {
      return unsupported_field(field_path(path, text), "must be an id");
    }
    const auto index = id.get<std::size_t>();
    if (index >= out.texts.size()) out.texts.resize(index + 1);
    if (!out.texts[index].empty()) {
      return unsupported_field(field_path(path, text), "has the id of another token");
    }
    bytes += text.size();
    if (bytes > kVocabBytesMax) return unsupported_field(path, "has too much text");
    out.texts[index] = text;
    out.ids.add(text, static_cast<TokenId>(index));
  }
  return out;
}

TokenId byte_token(const TokenIndex& ids, std::uint8_t byte) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  return ids.find(std::string{'<', '0', 'x', kDigits[byte >> 4U], kDigits[byte & 15U], '>'});
}

}  // namespace tessera

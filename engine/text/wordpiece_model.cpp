#include "engine/text/wordpiece_model.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kWordMax = 1'000'000;  // the most that max_input_chars_per_word may say

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<std::uint8_t>(c) & 0xC0U) != 0x80U;
  }));
}

}  // namespace

Result<WordPieceModel> WordPieceModel::from_json(const nlohmann::ordered_json& node,
                                                 const std::string& path) {
  const nlohmann::ordered_json* vocabulary = find_field(node, "vocab");
  if (!vocabulary) return unsupported_field(field_path(path, "vocab"), "must be an object");
  auto read = read_vocabulary(*vocabulary, field_path(path, "vocab"));
  if (!read) return read.error();
  auto unknown = string_field(node, path, "unk_token");
  if (!unknown) return unknown.error();
  auto prefix = string_field(node, path, "continuing_subword_prefix");
  if (!prefix) return prefix.error();
  const nlohmann::ordered_json* max = find_field(node, "max_input_chars_per_word");
  if (!max || !max->is_number_integer() || *max < 0 || *max > kWordMax) {
    return unsupported_field(field_path(path, "max_input_chars_per_word"), "must be a length");
  }

  WordPieceModel model;
  model.vocabulary_ = std::move(*read);
  model.word_max_ = max->get<std::size_t>();
  model.unknown_ = model.find(*unknown);
  if (model.unknown_ == TokenIndex::kNone) {
    return unsupported_field(field_path(path, "unk_token"), "is not in the vocabulary");
  }
  for (std::size_t i = 0; i < model.vocabulary_.texts.size(); ++i) {
    const std::string_view text = model.vocabulary_.texts[i];
    model.first_.add(text, static_cast<TokenId>(i));
    if (text.starts_with(*prefix)) {
      model.next_.add(text.substr(prefix->size()), static_cast<TokenId>(i));
    }
  }
  auto known = only_fields(
      node, path,
      {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  if (!known) return known.error();
  return model;
}

void WordPieceModel::encode(std::string_view word, Scratch&, std::vector<TokenId>& ids) const {
  const std::size_t ids_before = ids.size();
  const auto give_up = [&] {
    ids.resize(ids_before);
    ids.push_back(unknown_);
  };
  if (word.size() > word_max_ && count_code_points(word) > word_max_) return give_up();
  for (bool at_first = true; !word.empty(); at_first = false) {
    std::size_t longest = 0;
    TokenId id = unknown_;
    (at_first ? first_ : next_).for_each_prefix(word, [&](std::size_t bytes, TokenId token) {
      longest = bytes;
      id = token;
    });
    if (longest == 0) return give_up();
    ids.push_back(id);
    word.remove_prefix(longest);
  }
}

}  // namespace tessera

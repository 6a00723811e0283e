#include "engine/text/added_tokens.hpp"

#include <algorithm>
#include <cstdint>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"
#include "engine/text/unicode_tables.hpp"
#include "engine/text/utf8.hpp"
#include "engine/text/vocabulary_json.hpp"

namespace tessera {
namespace {

// A word character by Unicode's recommendation for regular expressions (UTS #18); the table is that
// of another library, which counts some numbers and not the joiners.
bool is_word(char32_t code_point) {
  const bool numeral = code_point == 0xB2 || code_point == 0xB3 || code_point == 0xB9 ||
                       (code_point >= 0xBC && code_point <= 0xBE);
  const bool joiner = code_point == 0x200C || code_point == 0x200D;
  return joiner || (!numeral && unicode_set(UnicodeTable::kWord).contains(code_point));
}

bool is_space(char32_t code_point) {
  return unicode_set(UnicodeTable::kSpace).contains(code_point);
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word(utf8_step(text.substr(last_code_point(text))).code_point);
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word(utf8_step(text).code_point);
}

// Where the white space at the end of `text` begins.
std::size_t trailing_space(std::string_view text) {
  while (!text.empty()) {
    const std::size_t last = last_code_point(text);
    if (!is_space(utf8_step(text.substr(last)).code_point)) break;
    text = text.substr(0, last);
  }
  return text.size();
}

// How many bytes of white space `text` begins with.
std::size_t leading_space(std::string_view text) {
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const Utf8Step step = utf8_step(text.substr(bytes));
    if (!is_space(step.code_point)) break;
    bytes += step.bytes;
  }
  return bytes;
}

Result<AddedToken> read_token(const nlohmann::ordered_json& node, const std::string& path) {
  if (!node.is_object()) return unsupported_field(path, "must be an object");
  AddedToken token;
  auto content = string_field(node, path, "content");
  if (!content) return content.error();
  token.content = *content;
  const nlohmann::ordered_json* id = find_field(node, "id");
  if (!id || !id->is_number_integer() || *id < 0 || *id >= kVocabMax) {
    return unsupported_field(field_path(path, "id"), "must be an id");
  }
  token.id = id->get<TokenId>();
  const std::pair<const char*, bool*> flags[] = {{"special", &token.special},
                                                 {"single_word", &token.single_word},
                                                 {"lstrip", &token.lstrip},
                                                 {"rstrip", &token.rstrip},
                                                 {"normalized", &token.normalized}};
  for (const auto& [name, value] : flags) {
    auto flag = bool_field(node, path, name, false);
    if (!flag) return flag.error();
    *value = *flag;
  }
  auto known = only_fields(
      node, path, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  if (!known) return known.error();
  return token;
}

}  // namespace

void AddedTokens::Finder::add(std::string_view content, std::size_t token_index) {
  if (content.empty()) return;
  begins_[static_cast<std::uint8_t>(content.front())] = true;
  std::size_t node = 0;
  for (const char byte : content) {
    if (const std::size_t* next = child(node, byte)) {
      node = *next;
    } else {
      nodes_[node].children.emplace_back(byte, nodes_.size());
      node = nodes_.size();
      nodes_.emplace_back();
    }
  }
  if (nodes_[node].token_index == kNoToken) nodes_[node].token_index = token_index;
}

const std::size_t* AddedTokens::Finder::child(std::size_t node, char byte) const {
  for (const auto& [label, target] : nodes_[node].children) {
    if (label == byte) return &target;
  }
  return nullptr;
}

std::optional<AddedTokens::Finder::Match> AddedTokens::Finder::find(std::string_view text,
                                                                    std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<std::uint8_t>(text[begin])]) continue;
    std::optional<Match> longest;
    std::size_t node = 0;
    for (std::size_t at = begin; at < text.size(); ++at) {
      const std::size_t* next = child(node, text[at]);
      if (!next) break;
      node = *next;
      const std::size_t token_index = nodes_[node].token_index;
      if (token_index != kNoToken) longest = Match{begin, at + 1, token_index};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

Result<AddedTokens> AddedTokens::from_json(const nlohmann::ordered_json& node,
                                           const std::string& path, const Normalizer& normalizer) {
  AddedTokens added;
  if (node.is_null()) return added;
  if (!node.is_array()) return unsupported_field(path, "must be a list");
  for (std::size_t i = 0; i < node.size(); ++i) {
    auto token = read_token(node[i], item_path(path, i));
    if (!token) return token.error();
    token->text = token->normalized ? normalizer.apply(token->content) : token->content;
    (token->normalized ? added.after_ : added.before_).add(token->text, i);
    added.tokens_.push_back(std::move(*token));
  }
  return added;
}

std::vector<TextPiece> AddedTokens::cut(std::string_view text, bool normalized,
                                        bool parse_special) const {
  const Finder& finder = normalized ? after_ : before_;
  constexpr std::size_t kUsualPieces = 8;
  std::vector<TextPiece> pieces;
  pieces.reserve(kUsualPieces);
  std::size_t done = 0;    // the text before this is in `pieces`
  std::size_t search = 0;  // the next match begins here or later
  while (const auto match = finder.find(text, search)) {
    search = match->end;
    const AddedToken& token = tokens_[match->token_index];
    if (token.special && !parse_special) continue;
    if (token.single_word && (ends_with_word(text.substr(0, match->begin)) ||
                              starts_with_word(text.substr(match->end)))) {
      continue;
    }
    std::size_t begin = match->begin;
    std::size_t end = match->end;
    if (token.lstrip) begin = std::max(trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    if (begin > done) pieces.push_back({text.substr(done, begin - done), std::nullopt});
    pieces.push_back({{}, token.id});
    done = end;
    search = std::max(search, done);
  }
  if (done < text.size()) pieces.push_back({text.substr(done), std::nullopt});
  return pieces;
}

}  // namespace tessera

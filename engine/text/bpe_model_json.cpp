// bpe_model_json.cpp — reads a BpeModel, and finds out beforehand what encode() wants to know.
#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/bpe_model.hpp"
#include "engine/text/byte_alphabet.hpp"
#include "engine/text/tokenizer_json.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kMarker = "\xE2\x96\x81";  // ▁
constexpr char32_t kMarkerCodePoint = 0x2581;

// The two halves of a merge, "a b" or ["a", "b"]; nullopt if it is neither.
std::optional<std::pair<std::string_view, std::string_view>> halves(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair<std::string_view, std::string_view>(merge[0].get_ref<const std::string&>(),
                                                         merge[1].get_ref<const std::string&>());
  }
  if (!merge.is_string()) return std::nullopt;
  const std::string_view text = merge.get_ref<const std::string&>();
  const std::size_t space = text.find(' ');
  if (space == text.npos || text.find(' ', space + 1) != text.npos) return std::nullopt;
  return std::pair(text.substr(0, space), text.substr(space + 1));
}

// A string field that may be null or absent.
Result<std::string> optional_string(const Json& node, const std::string& path, const char* name) {
  if (!find_field(node, name)) return std::string();
  return string_field(node, path, name);
}

}  // namespace

Result<BpeModel> BpeModel::from_json(const Json& node, const std::string& path, bool byte_level) {
  const Json* vocabulary = find_field(node, "vocab");
  const Json* merges = find_field(node, "merges");
  if (!vocabulary) return unsupported_field(field_path(path, "vocab"), "must be an object");
  if (!merges || !merges->is_array()) {
    return unsupported_field(field_path(path, "merges"), "must be a list");
  }
  auto read = read_vocabulary(*vocabulary, field_path(path, "vocab"));
  if (!read) return read.error();

  BpeModel model(merges->size());
  model.vocabulary_ = std::move(*read);
  model.byte_level_ = byte_level;
  auto done = model.read_options(node, path);
  if (done) done = model.find_unknown(node, path);
  if (done) done = model.find_symbols(path);
  if (done) done = model.read_merges(*merges, field_path(path, "merges"));
  if (!done) return done.error();
  model.find_whole_words();
  return model;
}

Result<void> BpeModel::read_options(const Json& node, const std::string& path) {
  const std::pair<const char*, bool*> flags[] = {{"fuse_unk", &fuse_unknown_},
                                                 {"byte_fallback", &byte_fallback_},
                                                 {"ignore_merges", &ignore_merges_}};
  for (const auto& [name, value] : flags) {
    auto flag = bool_field(node, path, name, false);
    if (!flag) return flag.error();
    *value = *flag;
  }
  const std::pair<const char*, std::string*> decorations[] = {
      {"continuing_subword_prefix", &prefix_}, {"end_of_word_suffix", &suffix_}};
  for (const auto& [name, value] : decorations) {
    auto text = optional_string(node, path, name);
    if (!text) return text.error();
    if (byte_level_ && !text->empty()) {
      return unsupported_field(field_path(path, name), "does not go with ByteLevel");
    }
    *value = std::move(*text);
  }
  const Json* dropout = find_field(node, "dropout");
  if (dropout && *dropout != 0.0) {
    return unsupported_field(field_path(path, "dropout"), "must be null");
  }
  return only_fields(
      node, path,
      {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
       "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
}

Result<void> BpeModel::find_unknown(const Json& node, const std::string& path) {
  auto text = optional_string(node, path, "unk_token");
  if (!text) return text.error();
  if (text->empty()) return {};
  unknown_ = find(*text);
  if (unknown_ == kNone) {
    return unsupported_field(field_path(path, "unk_token"), "is not in the vocabulary");
  }
  return {};
}

Result<void> BpeModel::find_symbols(const std::string& path) {
  byte_ids_.fill(kNone);
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    const char c = static_cast<char>(byte);
    if (byte_level_) byte_ids_[byte] = find(alphabet_from_bytes({&c, 1}));
    if (byte_level_ && byte_fallback_ && byte_ids_[byte] == kNone) {
      return unsupported_field(field_path(path, "byte_fallback"), "does not go with ByteLevel");
    }
    if (!byte_level_)
      byte_ids_[byte] = byte_token(vocabulary_.ids, static_cast<std::uint8_t>(byte));
  }
  for (std::size_t ascii = 0; ascii < ascii_ids_.size(); ++ascii) {
    const char c = static_cast<char>(ascii);
    ascii_ids_[ascii] = find({&c, 1});
  }
  return {};
}

Result<void> BpeModel::read_merges(const Json& merges, const std::string& path) {
  cut_at_markers_ = !byte_level_ && !ignore_merges_ && prefix_.empty() && suffix_.empty() &&
                    find(kMarker) != kNone;
  joined_to_markers_.add(kMarkerCodePoint, kMarkerCodePoint + 1);
  std::string joined;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto pair = halves(merges[rank]);
    if (!pair) return unsupported_field(item_path(path, rank), "must be a pair of tokens");
    const auto& [left, right] = *pair;
    const TokenId left_id = find(left);
    const TokenId right_id = find(right);
    joined.assign(left).append(right.substr(std::min(prefix_.size(), right.size())));
    const TokenId result = find(joined);
    if (left_id == kNone || right_id == kNone || result == kNone) {
      return unsupported_field(item_path(path, rank),
                               "names a token that is not in the vocabulary");
    }
    merges_.insert(left_id, right_id, {static_cast<std::int32_t>(rank), result});
    if (cut_at_markers_ && right.starts_with(kMarker) && !left.empty()) {
      cut_at_markers_ = !ends_with_stand_in(left);
      const char32_t end = utf8_step(left.substr(last_code_point(left))).code_point;
      joined_to_markers_.add(end, end + 1);
    }
  }
  return {};
}

// Whether a merge's left half ends with a token that stands for characters which are not in its
// text.
bool BpeModel::ends_with_stand_in(std::string_view left) const {
  constexpr std::size_t kByteToken = 6;  // "<0x41>"
  if (unknown_ != kNone) {
    const std::string& unknown = vocabulary_.texts[static_cast<std::size_t>(unknown_)];
    if (left.ends_with(unknown)) return true;
  }
  return left.size() >= kByteToken && left.substr(left.size() - kByteToken).starts_with("<0x");
}

void BpeModel::find_whole_words() {
  Scratch scratch;
  std::vector<TokenId> ids;
  whole_words_ = TokenIndex(vocabulary_.ids.size());
  for (std::size_t i = 0; i < vocabulary_.texts.size(); ++i) {
    const std::string& text = vocabulary_.texts[i];
    std::optional<std::string> word = text;
    if (byte_level_) word = bytes_from_alphabet(text);
    if (!word || word->empty()) continue;
    const auto id = static_cast<TokenId>(i);
    ids.clear();
    if (!ignore_merges_) merge(*word, scratch, ids);
    if (ignore_merges_ || (ids.size() == 1 && ids.front() == id)) whole_words_.add(*word, id);
  }
}

}  // namespace tessera

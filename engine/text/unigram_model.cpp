#include "engine/text/unigram_model.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_json.hpp"
#include "engine/text/utf8.hpp"
#include "engine/text/vocabulary_json.hpp"

namespace tessera {
namespace {

constexpr double kUnknownPenalty = 10.0;

}  // namespace

Result<UnigramModel> UnigramModel::from_json(const nlohmann::ordered_json& node,
                                             const std::string& path) {
  UnigramModel model;
  const nlohmann::ordered_json* vocabulary = find_field(node, "vocab");
  const std::string vocabulary_path = field_path(path, "vocab");
  if (!vocabulary || !vocabulary->is_array() || vocabulary->empty()) {
    return unsupported_field(vocabulary_path, "must be a list of tokens");
  }
  if (auto read = model.read_vocabulary(*vocabulary, vocabulary_path); !read) return read.error();

  const nlohmann::ordered_json* unknown = find_field(node, "unk_id");
  const auto count = static_cast<std::int64_t>(model.texts_.size());
  if (!unknown || !unknown->is_number_integer() || *unknown < 0 || *unknown >= count) {
    return unsupported_field(field_path(path, "unk_id"), "must be an id");
  }
  model.unknown_ = unknown->get<TokenId>();
  auto fallback = bool_field(node, path, "byte_fallback", false);
  if (!fallback) return fallback.error();
  model.byte_fallback_ = *fallback;
  for (std::size_t byte = 0; byte < model.byte_ids_.size(); ++byte) {
    model.byte_ids_[byte] = byte_token(model.ids_, static_cast<std::uint8_t>(byte));
  }
  auto known = only_fields(node, path, {"type", "unk_id", "vocab", "byte_fallback"});
  if (!known) return known.error();
  return model;
}

Result<void> UnigramModel::read_vocabulary(const nlohmann::ordered_json& node,
                                           const std::string& path) {
  if (node.size() >= static_cast<std::size_t>(kVocabMax)) {
    return unsupported_field(path, "has too many tokens");
  }
  ids_ = TokenIndex(node.size());
  double worst = std::numeric_limits<double>::infinity();
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < node.size(); ++i) {
    const auto& entry = node[i];
    const bool pair =
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
    if (!pair) return unsupported_field(item_path(path, i), "must be a token and its score");
    texts_.push_back(entry[0].get<std::string>());
    scores_.push_back(entry[1].get<double>());
    worst = std::min(worst, scores_.back());
    bytes += texts_.back().size();
    if (bytes > kVocabBytesMax) return unsupported_field(path, "has too much text");
    if (!ids_.add(texts_.back(), static_cast<TokenId>(i))) {
      return unsupported_field(item_path(path, i), "is there twice");
    }
    trie_.add(texts_.back(), static_cast<TokenId>(i));
  }
  unknown_score_ = worst - kUnknownPenalty;
  return {};
}

void UnigramModel::best_path(std::string_view word, Scratch& scratch) const {
  auto& ends = scratch.ends;
  ends.assign(word.size() + 1, {0.0, 0, -1});
  const auto offer = [&ends](std::size_t end, double score, TokenId id, std::size_t begin) {
    Scratch::End& best = ends[end];
    if (best.begin == -1 || score > best.score)
      best = {score, id, static_cast<std::int32_t>(begin)};
  };
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t character = utf8_step(word.substr(begin)).bytes;
    const double before = ends[begin].score;
    bool is_token = false;  // the character alone
    trie_.for_each_prefix(word.substr(begin), [&](std::size_t bytes, TokenId id) {
      offer(begin + bytes, scores_[static_cast<std::size_t>(id)] + before, id, begin);
      is_token = is_token || bytes == character;
    });
    if (!is_token) offer(begin + character, unknown_score_ + before, unknown_, begin);
    begin += character;
  }
  scratch.path.clear();
  for (std::size_t end = word.size(); end > 0;) {
    const auto begin = static_cast<std::size_t>(ends[end].begin);
    scratch.path.push_back({begin, end, ends[end].id});
    end = begin;
  }
}

void UnigramModel::encode(std::string_view word, Scratch& scratch,
                          std::vector<TokenId>& ids) const {
  best_path(word, scratch);
  const auto& path = scratch.path;
  for (auto piece = path.rbegin(); piece != path.rend(); ++piece) {
    const std::size_t begin = piece->begin;
    if (piece->id == unknown_) {
      while (piece + 1 != path.rend() && (piece + 1)->id == unknown_) ++piece;
    }
    append(word.substr(begin, piece->end - begin), piece->id, ids);
  }
}

// Unknown characters that were joined may be a token after all.
void UnigramModel::append(std::string_view piece, TokenId id, std::vector<TokenId>& ids) const {
  if (id != unknown_) return ids.push_back(id);
  const TokenId found = ids_.find(piece);
  if (found != TokenIndex::kNone) return ids.push_back(found);
  const auto missing = [this](char c) {
    return byte_ids_[static_cast<std::uint8_t>(c)] == TokenIndex::kNone;
  };
  if (!byte_fallback_ || std::any_of(piece.begin(), piece.end(), missing)) {
    return ids.push_back(unknown_);
  }
  for (const char c : piece) ids.push_back(byte_ids_[static_cast<std::uint8_t>(c)]);
}

}  // namespace tessera

#include "engine/text/sentencepiece_merges.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <tuple>

#include "engine/text/token_index.hpp"

namespace tessera {
namespace {

struct Cut {
  float score;
  std::size_t left_length;  // code points
  std::size_t right_length;
  TokenId whole;
  TokenId left;
  TokenId right;

  bool operator<(const Cut& other) const {
    return std::tuple(-score, other.left_length, other.right_length, whole, left, right) <
           std::tuple(-other.score, left_length, right_length, other.whole, other.left,
                      other.right);
  }
};

bool begins_code_point(char c) {
  return (static_cast<std::uint8_t>(c) & 0xC0U) != 0x80U;
}

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_code_point));
}

}  // namespace

nlohmann::ordered_json sentencepiece_merges(const std::vector<SentencePiece>& pieces) {
  TokenIndex ids(pieces.size());
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].joins) ids.add(pieces[id].text, static_cast<TokenId>(id));
  }
  std::vector<Cut> cuts;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const std::string_view text = pieces[id].text;
    if (!pieces[id].joins) continue;
    for (std::size_t at = 1; at < text.size(); ++at) {
      if (!begins_code_point(text[at])) continue;
      const TokenId left = ids.find(text.substr(0, at));
      const TokenId right = left == TokenIndex::kNone ? left : ids.find(text.substr(at));
      if (right == TokenIndex::kNone) continue;
      cuts.push_back({pieces[id].score, count_code_points(text.substr(0, at)),
                      count_code_points(text.substr(at)), static_cast<TokenId>(id), left, right});
    }
  }
  std::sort(cuts.begin(), cuts.end());
  auto merges = nlohmann::ordered_json::array();
  for (const Cut& cut : cuts) {
    const auto& left = pieces[static_cast<std::size_t>(cut.left)].text;
    const auto& right = pieces[static_cast<std::size_t>(cut.right)].text;
    merges.push_back(nlohmann::ordered_json::array({left, right}));
  }
  return merges;
}

}  // namespace tessera

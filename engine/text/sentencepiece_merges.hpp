// sentencepiece_merges.hpp — the merges that a SentencePiece vocabulary with scores implies.
//
// Such a model joins, of all neighbours that make a token, those that make the one of the greatest
// score. As a list of merges: every way to cut a token into two tokens, by the score of the whole;
// among those of one score, the longer left half first, then the longer right half, then by ids.
// (Hugging Face's conversion has the same order.)
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace tessera {

struct SentencePiece {
  std::string text;
  float score;
  bool joins;  // it can be made of others, and be a part of others
};

// Pairs of texts, best first; `pieces` by id.
nlohmann::ordered_json sentencepiece_merges(const std::vector<SentencePiece>& pieces);

}  // namespace tessera

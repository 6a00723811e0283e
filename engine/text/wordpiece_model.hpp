// wordpiece_model.hpp — the longest token that a word begins with, then that of the rest (BERT).
//
// Tokens that continue a word are written with a prefix ("##ing"). A word that cannot be cut so, or
// that is too long, is one unknown token.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/byte_trie.hpp"
#include "engine/text/vocabulary_json.hpp"
#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class WordPieceModel {
 public:
  // `node` is tokenizer.json's "model" of type WordPiece.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<WordPieceModel> from_json(const nlohmann::ordered_json& node,
                                          const std::string& path);

  struct Scratch {};

  void encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;

  const std::vector<std::string>& token_texts() const { return vocabulary_.texts; }
  TokenId find(std::string_view token_text) const { return vocabulary_.ids.find(token_text); }

 private:
  Vocabulary vocabulary_;
  ByteTrie first_;  // tokens that begin a word
  ByteTrie next_;   // those that continue it, without their prefix
  TokenId unknown_ = TokenIndex::kNone;
  std::size_t word_max_ = 0;  // code points
};

}  // namespace tessera

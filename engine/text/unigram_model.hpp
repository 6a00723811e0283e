// unigram_model.hpp — the most probable way to write a word with tokens (SentencePiece's Unigram).
//
// Every token has a score, a logarithm of its probability; of all ways to cut the word into tokens
// the one with the greatest sum is taken, found by dynamic programming from left to right (Viterbi)
// over a trie of all tokens. A character that is no token alone may be an unknown one, at ten less
// than the worst token; unknown characters in a row become one.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/byte_trie.hpp"
#include "engine/text/token_index.hpp"
#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class UnigramModel {
 public:
  // `node` is tokenizer.json's "model" of type Unigram.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<UnigramModel> from_json(const nlohmann::ordered_json& node,
                                        const std::string& path);

  // Buffers that encode() reuses from word to word.
  struct Scratch {
    struct End {  // of the best way to write the bytes before this position
      double score;
      TokenId id;
      std::int32_t begin;  // where its last token begins; -1: there is no way yet
    };
    struct Piece {
      std::size_t begin;
      std::size_t end;
      TokenId id;
    };
    std::vector<End> ends;
    std::vector<Piece> path;  // from the end of the word to its beginning
  };

  void encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;

  const std::vector<std::string>& token_texts() const { return texts_; }
  TokenId find(std::string_view token_text) const { return ids_.find(token_text); }

 private:
  Result<void> read_vocabulary(const nlohmann::ordered_json& node, const std::string& path);
  void best_path(std::string_view word, Scratch& scratch) const;
  void append(std::string_view piece, TokenId id, std::vector<TokenId>& ids) const;

  std::vector<std::string> texts_;
  std::vector<double> scores_;
  TokenIndex ids_;
  ByteTrie trie_;
  std::array<TokenId, 256> byte_ids_{};
  TokenId unknown_ = TokenIndex::kNone;
  double unknown_score_ = 0;
  bool byte_fallback_ = false;  // and all byte tokens are there
};

}  // namespace tessera

// bpe_model.hpp — byte-pair encoding: a word's symbols, joined pair by pair in the order of the
// merges.
//
// The symbols are bytes (GPT-2's way: the pre-tokeniser is byte-level) or code points (the way of
// SentencePiece's models; what the vocabulary lacks becomes byte tokens or the unknown token). The
// rule is one: of all adjacent pairs that have a merge, the one of lowest rank is joined, the
// leftmost of equals, until none is left. A short word is done by looking for the lowest again and
// again, a long one with a heap over a linked list, O(n log n): no text takes quadratic time.
//
// Most words of ordinary text are tokens themselves. Whether the merges would rebuild a token is
// known from the vocabulary alone, so it is found out once, when the model is loaded; such a word
// then costs one look-up, and no cache that threads would have to share is needed.
//
// SentencePiece's models take a whole text for one word. It is cut before a "▁" all the same where
// no merge joins what stands on the left to it, which is nearly everywhere: what cannot be joined
// is independent.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/code_point_set.hpp"
#include "engine/text/merge_table.hpp"
#include "engine/text/token_index.hpp"
#include "engine/text/vocabulary_json.hpp"
#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class BpeModel {
 public:
  // `node` is tokenizer.json's "model" of type BPE. `byte_level`: words are bytes, and the
  // vocabulary is written in the byte alphabet.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<BpeModel> from_json(const nlohmann::ordered_json& node, const std::string& path,
                                    bool byte_level);

  // Buffers that encode() reuses from word to word.
  struct Scratch {
    struct Symbol {
      TokenId id;
      std::int32_t previous;
      std::int32_t next;  // -1: none
      bool merged_away;
    };
    struct Candidate {
      std::int32_t rank;
      std::int32_t position;  // of the left symbol
      TokenId result;

      bool operator>(const Candidate& other) const {
        return rank != other.rank ? rank > other.rank : position > other.position;
      }
    };
    std::vector<TokenId> ids;               // a word's symbols
    std::vector<MergeTable::Merge> merges;  // [i]: of symbol i and the next one
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // Appends the ids of `word`. What the vocabulary lacks gives nothing if there is no unknown
  // token, as in Hugging Face.
  void encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;

  // Texts by id as they stand in the file; empty where an id is unused.
  const std::vector<std::string>& token_texts() const { return vocabulary_.texts; }
  TokenId find(std::string_view token_text) const { return vocabulary_.ids.find(token_text); }

 private:
  static constexpr TokenId kNone = TokenIndex::kNone;

  explicit BpeModel(std::size_t num_merges) : merges_(num_merges) {}

  Result<void> read_options(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> find_unknown(const nlohmann::ordered_json& node, const std::string& path);
  Result<void> find_symbols(const std::string& path);
  Result<void> read_merges(const nlohmann::ordered_json& merges, const std::string& path);
  bool ends_with_stand_in(std::string_view left) const;
  void find_whole_words();

  std::size_t part_before_marker(std::string_view word) const;
  void encode_part(std::string_view part, Scratch& scratch, std::vector<TokenId>& ids) const;
  void append_symbols(std::string_view part, std::vector<TokenId>& symbols) const;
  void append_byte_symbols(std::string_view part, std::vector<TokenId>& symbols) const;
  TokenId symbol_of(std::string_view code_point, bool first, bool last) const;
  bool append_byte_tokens(std::string_view text, std::vector<TokenId>& symbols) const;
  void merge(std::string_view part, Scratch& scratch, std::vector<TokenId>& ids) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;
  void push_candidate(std::int32_t left, Scratch& scratch) const;
  void join(std::int32_t left, TokenId result, Scratch& scratch) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  TokenIndex whole_words_;                // words that are one token, as they are given to encode()
  std::array<TokenId, 256> byte_ids_{};   // of byte-level words, or of byte fallback
  std::array<TokenId, 128> ascii_ids_{};  // of code points
  TokenId unknown_ = kNone;
  std::string prefix_;  // of symbols that do not begin a word
  std::string suffix_;  // of the symbol that ends one
  bool byte_level_ = false;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  bool cut_at_markers_ = false;     // before a "▁", behind what is not in:
  CodePointSet joined_to_markers_;  // the ends of the left halves of merges with "▁..."
};

}  // namespace tessera

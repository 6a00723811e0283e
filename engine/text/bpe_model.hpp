// bpe_model.hpp — byte-pair encoding: a word's bytes, joined pair by pair in the order of the
// merges.
//
// The rule: of all adjacent pairs that have a merge, the one of lowest rank is joined, the leftmost
// of equals, until none is left. Done with a heap over a linked list, O(n log n) in the word's
// bytes.
//
// Most words of ordinary text are tokens themselves. Whether the merges would rebuild a token is
// known from the vocabulary alone, so it is found out once, when the model is loaded; such a word
// then costs one look-up, and no cache that threads would have to share is needed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// Pairs of ids to what they merge into; open addressing, filled once.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank;
    TokenId result;
  };

  explicit MergeTable(std::size_t num_merges);

  // A pair that is there already gets the new merge.
  void insert(TokenId left, TokenId right, Merge merge);
  const Merge* find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    std::uint64_t pair;
    Merge merge;
  };

  std::size_t slot_of(std::uint64_t pair) const;

  std::vector<Slot> slots_;  // a power of two, at most half full
};

// Immutable and thread-safe.
class BpeModel {
 public:
  // `node` is tokenizer.json's "model" of type BPE, of a byte-level tokenizer.
  // Errors: kUnsupportedModel, param is the path of the field.
  static Result<BpeModel> from_json(const nlohmann::ordered_json& node, const std::string& path);

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
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::string word;  // the key of the look-up
  };

  // Appends the ids of `word`. A byte that the vocabulary lacks gives nothing, as in Hugging Face.
  void encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;

  // Texts by id as they stand in the file; empty where an id is unused.
  const std::vector<std::string>& token_texts() const { return token_texts_; }

 private:
  explicit BpeModel(std::size_t num_merges) : merges_(num_merges) { byte_ids_.fill(kNone); }

  static constexpr TokenId kNone = -1;

  Result<void> read_vocabulary(const nlohmann::ordered_json& vocabulary, const std::string& path);
  void find_byte_ids();
  Result<void> read_merges(const nlohmann::ordered_json& merges, const std::string& path);
  void find_whole_words(bool ignore_merges);
  void merge(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;
  void push_candidate(std::int32_t left, Scratch& scratch) const;
  void join(std::int32_t left, TokenId result, Scratch& scratch) const;

  std::vector<std::string> token_texts_;
  std::unordered_map<std::string, TokenId> id_by_whole_word_;  // words that are one token, as bytes
  std::array<TokenId, 256> byte_ids_;
  MergeTable merges_;
};

}  // namespace tessera

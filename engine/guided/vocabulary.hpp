// vocabulary.hpp — a tokenizer's tokens as bytes, laid out so that a mask is a short walk.
//
// Made once per model, shared by all constraints, thread-safe. Tokens are sorted by their bytes (a
// token's place among them is its rank) into a trie in which a subtree is a range of ranks. For a
// set of code points a slice says which tokens lie wholly within it (token_slice.hpp), for classes
// of them another trie has the tokens as sequences of classes (token_classes.hpp): both are made
// when first asked for and kept for all constraints, within kMaxSliceBytes and kMaxClassesBytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/guided/ranked_trie.hpp"
#include "engine/guided/string_lexer.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/text/code_point_set.hpp"
#include "kernels/model_spec.hpp"

namespace tessera::guided {

class CodePointTrie;
class TokenClasses;
class TokenSlice;
struct Partition;

struct VocabularyTokens {
  std::vector<std::string> bytes;   // of each id; empty for special and unused ids
  std::vector<bool> special;        // never matches bytes
  std::vector<TokenId> end_tokens;  // any of them ends the text
  int vocab_size = 0;               // the logits' width; may be larger than bytes.size()
  // The tokenizer's own way from text to ids (without special tokens), for forced text: the ids of
  // `text` where it stands in the middle of a longer one.
  std::function<std::vector<TokenId>(std::string_view)> encode;
  // The first token of a text loses the space it begins with (SentencePiece's models).
  bool drops_first_space = false;
};

// The tokens that have bytes, in the order of these: by rank.
struct SortedTokens {
  std::span<const TokenId> ids;
  std::span<const std::uint16_t> alike;  // bytes in common with the one before
  std::span<const std::uint32_t> begins;
  const char* arena = nullptr;

  std::string_view bytes_at(std::size_t rank) const {
    return {arena + begins[rank], begins[rank + 1] - begins[rank]};
  }
};

// Whether what all constraints share is made if it is not there. What is asked for once is often
// not asked for again, and there is a shorter way to answer that once.
enum class Making : std::uint8_t { kNever, kSecondTime, kNow };

class Vocabulary {
 public:
  static constexpr std::size_t kMaxTokenBytes = 1024;  // a longer token is never allowed
  static constexpr std::size_t kMaxSliceBytes = std::size_t{64} << 20;
  static constexpr std::size_t kMaxClassesBytes = std::size_t{64} << 20;

  explicit Vocabulary(VocabularyTokens tokens);
  ~Vocabulary();

  int vocab_size() const;  // the logits' width
  std::string_view bytes(TokenId id) const;
  bool special(TokenId id) const;
  std::span<const TokenId> end_tokens() const;
  bool is_end(TokenId id) const;
  bool drops_first_space() const;
  std::size_t longest_token() const;  // bytes
  // The ids of `text` in the middle of a longer one; empty if the tokenizer has no such ids.
  std::vector<TokenId> encode(std::string_view text) const;

  const RankedTrie& trie() const;        // of the tokens that have bytes, by rank
  std::span<const TokenId> ids() const;  // by rank
  SortedTokens sorted() const;
  std::string_view bytes_at(std::uint32_t rank) const;
  std::size_t alike(std::uint32_t rank) const;  // bytes in common with the one before
  // Ranks of the tokens in which `byte` occurs, rising.
  std::span<const std::uint32_t> containing(std::uint8_t byte) const;
  // Tokens with something behind a quote, and those of three quotes (five) and more: what a JSON
  // text may have in one token of two of its members or items. As masks, without words that are 0.
  std::span<const MaskWord> behind_quotes() const;
  std::span<const MaskWord> three_quotes() const;
  std::span<const MaskWord> five_quotes() const;
  // The most bytes between the second quote and the last of a token: no name that stands whole in a
  // token behind the end of another is longer.
  std::size_t longest_second_name() const;
  // The tokens as sequences of code points; `quoted`: between the quotes of a JSON string.
  const CodePointTrie& code_points(bool quoted) const;
  // The tokens below `node` of the trie, seen from a loop over `set` (and escapes). The vocabulary
  // must outlive it. nullptr if it is not there and not made.
  std::shared_ptr<const TokenSlice> slice(std::uint32_t node, const CodePointSet& set,
                                          std::optional<Escapes> escapes = {},
                                          Making making = Making::kNow) const;
  // The tokens as sequences of classes of code points. The vocabulary must outlive them. nullptr if
  // they are not there and not made.
  std::shared_ptr<const TokenClasses> classes(const Partition& classes, bool quoted,
                                              Making making = Making::kNow) const;

 private:
  void make_string_slice();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::guided

// charsmap.hpp — SentencePiece's compiled table of what each character is rewritten as.
//
// A blob: the size of a double-array trie (Darts), the trie, and the replacement texts, each ended
// by a zero byte. It is applied as Hugging Face does: to each grapheme cluster of fewer than six
// bytes as a whole if the table has a prefix of it, else to its characters one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class Charsmap {
 public:
  // Errors: kCorrupt if the sizes do not fit the blob.
  static Result<Charsmap> read(std::string_view blob);

  std::string apply(std::string_view text) const;

  std::size_t longest_text() const { return longest_text_; }  // in bytes, of the replacements

 private:
  // What the shortest prefix of `text` that the table has is rewritten as.
  std::optional<std::string_view> find(std::string_view text) const;

  std::vector<std::uint32_t> trie_;
  std::string texts_;
  std::size_t longest_text_ = 0;
};

}  // namespace tessera

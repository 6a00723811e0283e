// detokenizer.hpp — token ids to text while they arrive, never half a character.
//
// A token is a run of bytes that may begin or end inside a code point. The detokenizer keeps back
// the (at most three) bytes of an unfinished code point and replaces bytes that can no longer
// become one by U+FFFD, at the same places as a decode of the whole would: for any ids, the pushes
// and the flush concatenated equal Tokenizer::decode.
#pragma once

#include <string>

#include "engine/text/tokenizer.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {

// Not thread-safe: one per generated sequence, used by the connection that owns it.
class Detokenizer {
 public:
  // `tokenizer` must outlive this. Special tokens give no text unless `skip_special` is false.
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // The text that `id` completes: whole code points, often empty.
  std::string push(TokenId id);

  // What is left at the end: U+FFFD for an unfinished code point, else nothing.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  Utf8Repairer repairer_;
};

}  // namespace tessera

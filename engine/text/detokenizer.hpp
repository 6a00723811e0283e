// detokenizer.hpp — token ids to text while they arrive, never half a character.
//
// For any ids, the pushes and the flush concatenated equal Tokenizer::decode; decoder.hpp says what
// is kept back and why.
#pragma once

#include <string>

#include "engine/text/decoder.hpp"
#include "engine/text/tokenizer.hpp"

namespace tessera {

// Not thread-safe: one per generated sequence, used by the connection that owns it.
class Detokenizer {
 public:
  // `tokenizer` must outlive this. Special tokens give no text unless `skip_special` is false.
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(tokenizer), skip_special_(skip_special), stream_(tokenizer.decoder()) {}

  // The text that `id` completes: whole code points, often empty.
  std::string push(TokenId id);

  // What is left at the end: U+FFFD for an unfinished code point, usually nothing. Then as new.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  Decoder::Stream stream_;
};

}  // namespace tessera

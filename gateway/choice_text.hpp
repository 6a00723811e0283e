// choice_text.hpp — the tokens of one choice as text that may be shown, with its log-probabilities.
//
// Tokens become text by way of the detokenizer (no half characters) and the stop strings (nothing
// of a stop, nor what may be the beginning of one). Both hold text back, so a token's record waits
// until its text is out; records of tokens that lie behind a stop are dropped with their text.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

#include "engine/text/detokenizer.hpp"
#include "engine/text/stop_strings.hpp"
#include "engine/token_stream.hpp"

namespace tessera {

// A token as clients see it.
struct TokenRecord {
  GeneratedToken token;
  std::size_t text_offset = 0;  // in code points of the choice's text: where the token's begins
};

// What became visible.
struct Piece {
  std::string text;
  std::vector<TokenRecord> records;  // empty unless they are kept

  bool empty() const { return text.empty() && records.empty(); }
};

// Not thread-safe: owned by the connection's strand.
class ChoiceText {
 public:
  // `tokenizer` outlives this. `keep_records`: the request asked for log-probabilities.
  ChoiceText(const Tokenizer& tokenizer, const std::vector<std::string>& stops, bool keep_records)
      : detokenizer_(tokenizer), stops_(stops), keep_records_(keep_records) {}

  // The next tokens. Nothing more becomes visible once a stop was hit.
  Piece push(std::vector<GeneratedToken> tokens);
  // The end of the tokens: what was held back.
  Piece flush();

  bool stopped() const { return stops_.hit().has_value(); }
  // Pushed, up to and including the one that completed a stop.
  int num_tokens() const { return num_tokens_; }

 private:
  struct Held {
    TokenRecord record;
    std::size_t begin_bytes;  // where its text begins
  };

  void release_records(Piece& piece);

  Detokenizer detokenizer_;
  StopStrings stops_;
  bool keep_records_;
  int num_tokens_ = 0;
  std::size_t read_bytes_ = 0;        // out of the detokenizer
  std::size_t read_code_points_ = 0;  // in them
  std::size_t visible_bytes_ = 0;     // out of the stop strings
  std::deque<Held> held_;             // whose text is not out, in order
};

}  // namespace tessera

// choice_text.hpp — the tokens of one choice as text that may be shown, with its log-probabilities.
//
// Tokens become text by way of the detokenizer (no half characters), the stop strings (nothing of a
// stop, nor what may be the beginning of one), which look at the model's own text, and in a chat
// the answer's parser, which tells reasoning, content and tool calls apart in what is left. All of
// them hold text back, so a token's record waits until its text is past the stops; records of
// tokens that lie behind a stop are dropped with their text.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/answer_parser.hpp"
#include "engine/text/detokenizer.hpp"
#include "engine/text/stop_strings.hpp"
#include "engine/token_stream.hpp"

namespace tessera {

// Of well-formed UTF-8.
std::size_t count_code_points(std::string_view text);

// A token as clients see it.
struct TokenRecord {
  GeneratedToken token;
  std::size_t text_offset = 0;  // in code points of the choice's text: where the token's begins
  bool has_logprob = true;      // not the first of a prompt
};

// What became visible.
struct Piece {
  std::string text;  // content
  std::string reasoning = {};
  std::vector<ToolCallDelta> calls = {};
  std::vector<TokenRecord> records = {};  // empty unless they are kept

  bool empty() const {
    return text.empty() && reasoning.empty() && calls.empty() && records.empty();
  }
  void append(Piece more);
};

// How a chat's answer is told apart.
struct AnswerReading {
  AnswerSyntax syntax;
  AnswerOptions options;
  std::vector<TokenId> marks = {};  // special tokens whose text the parser has to see
  bool may_reason = false;          // the answer may begin with reasoning that the model opens
};

// Not thread-safe: owned by the connection's strand.
class ChoiceText {
 public:
  // `tokenizer` outlives this. `keep_records`: the request asked for log-probabilities. Without
  // `reading` all text is content.
  ChoiceText(const Tokenizer& tokenizer, const std::vector<std::string>& stops, bool keep_records,
             const std::optional<AnswerReading>& reading = std::nullopt);

  // So many code points of the choice's text stand before the answer. Before the first push().
  void begin_behind(std::size_t code_points) { read_code_points_ = code_points; }

  // The next tokens. Nothing more becomes visible once it has stopped.
  Piece push(std::vector<GeneratedToken> tokens);
  // The end of the tokens: what was held back.
  Piece flush();

  // A stop string was hit, or the one call that was wanted is there.
  bool stopped() const { return stops_.hit().has_value() || has_the_call_; }
  // Pushed, up to and including the one that stopped it.
  int num_tokens() const { return num_tokens_; }
  // The mean of the log-probabilities of the tokens pushed, which the request asked for; 0 if none.
  double mean_logprob() const { return num_tokens_ > 0 ? sum_logprob_ / num_tokens_ : 0.0; }
  int num_reasoning_tokens() const { return num_reasoning_tokens_; }
  int num_calls() const { return parser_ ? parser_->num_calls() : 0; }

 private:
  struct Held {
    TokenRecord record;
    std::size_t begin_bytes;  // where its text begins
  };

  std::string text_of(TokenId id);
  bool in_reasoning() const { return parser_ && parser_->in_reasoning(); }
  void read(const std::string& text, Piece& piece);
  void read_end(Piece& piece);
  void add(AnswerDelta delta, Piece& piece);
  void release_records(Piece& piece);

  const Tokenizer& tokenizer_;
  Detokenizer detokenizer_;
  StopStrings stops_;
  bool keep_records_;
  std::vector<TokenId> marks_;
  std::optional<AnswerParser> parser_;
  bool short_ids_ = false;     // of calls: Mistral's templates want nine characters
  bool has_the_call_ = false;  // the only one that was wanted
  int num_tokens_ = 0;
  double sum_logprob_ = 0.0;
  int num_reasoning_tokens_ = 0;
  std::size_t read_bytes_ = 0;        // out of the detokenizer
  std::size_t read_code_points_ = 0;  // in them
  std::size_t visible_bytes_ = 0;     // out of the stop strings
  std::deque<Held> held_;             // whose text is not out, in order
};

}  // namespace tessera

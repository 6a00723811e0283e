// grammar_text.hpp — reading a grammar's source: what the two front ends have in common.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "engine/guided/grammar_draft.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// Whether a grammar of this size and encoding is read at all; if not, findings say why.
bool readable_grammar(std::string_view text, const GuidedLimits& limits, GrammarFindings& findings);

// A place in the source. Peeking behind the end gives '\0'.
class GrammarCursor {
 public:
  explicit GrammarCursor(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }
  bool done() const { return at_ >= text_.size(); }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool starts_with(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  std::string_view from(std::size_t begin) const { return text_.substr(begin, at_ - begin); }
  std::string_view rest() const { return text_.substr(at_); }
  void skip(std::size_t count = 1) { at_ = std::min(at_ + count, text_.size()); }
  void go_to(std::size_t at) { at_ = at; }
  bool take(std::string_view what) {
    if (!starts_with(what)) return false;
    skip(what.size());
    return true;
  }
  void skip_line() {
    while (!done() && peek() != '\n') skip();
  }
  // A decimal number; nullopt, and nothing taken, if there is none. Larger ones than 2^32 - 2
  // become that.
  std::optional<std::uint32_t> take_number();
  // One code point as it stands.
  char32_t take_code_point();
  // Exactly `digits` hexadecimal digits as a Unicode scalar value.
  std::optional<char32_t> take_hex(int digits);

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// The text with upper and lower case letters of ASCII taken for the same.
RegexId literal_ignoring_case(std::string_view utf8, RegexPool& pool);

inline bool is_ascii_lower(char c) {
  return c >= 'a' && c <= 'z';
}
inline bool is_ascii_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
inline bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace tessera::guided

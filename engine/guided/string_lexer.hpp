// string_lexer.hpp — the bytes between a JSON string's quotes, decoded into a TextDfa's code
// points.
//
// Escapes are not part of the user's language: an outer machine of a few states reads UTF-8 (RFC
// 3629: no overlong forms, no surrogates), the two-character escapes, \uXXXX and surrogate pairs,
// and steps the TextDfa once a code point is whole. While one is half read, a byte is live only if
// some code point that can still come of it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/guided/text_dfa.hpp"
#include "engine/text/code_point_set.hpp"

namespace tessera::guided {

// Which spellings of a character are legal: all of JSON; or escapes only where they are needed, and
// one spelling of each: \" \\ \b \f \n \r \t, and \u00 with two lower-case digits for the other
// control characters. Under kJson every character has several spellings, so no byte of a string is
// ever forced, but those inside an escape.
enum class Escapes : std::uint8_t { kJson, kMinimal };

struct StringState {
  TextDfa::State text = TextDfa::kDead;
  std::uint32_t pending = 0;  // what of an escape or of a UTF-8 sequence has been read; 0: nothing

  bool dead() const { return text == TextDfa::kDead; }
  bool operator==(const StringState&) const = default;
};

// What a string may hold unescaped.
CodePointSet raw_characters();
// Of one byte, by itself.
constexpr bool stands_for_itself(std::uint8_t byte) {
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}
// `utf8` between quotes, escaped as kMinimal has it.
std::string escape_string(std::string_view utf8);
// The same with the quotes.
inline std::string quoted_string(std::string_view utf8) {
  return '"' + escape_string(utf8) + '"';
}

// Never sees the closing quote: it may come where pending == 0 and the text is accepted. `Text` is
// a TextDfa, or KeyText, which reads the names of properties.
template <class Text>
class BasicStringLexer {
 public:
  BasicStringLexer(Text& dfa, Escapes escapes) : dfa_(dfa), escapes_(escapes) {}

  // `byte` is not the closing quote (a '"' after a backslash is). Dead if refused.
  StringState step(StringState state, std::uint8_t byte) {
    if (state.pending == 0 && stands_for_itself(byte)) return {dfa_.step(state.text, byte), 0};
    return step_within(state, byte);
  }
  bool may_close(StringState state) const { return state.pending == 0 && dfa_.accepts(state.text); }
  // The only byte that can follow, where the string cannot be closed here.
  std::optional<std::uint8_t> forced(StringState state);
  // A shortest rest, escaped, up to and without the closing quote; nearly so where a code point is
  // half read.
  std::string shortest_rest(StringState state);
  static std::string escape(std::string_view utf8) { return escape_string(utf8); }

 private:
  StringState step_within(StringState state, std::uint8_t byte);
  StringState step_fresh(TextDfa::State text, std::uint8_t byte);
  StringState step_utf8(StringState state, std::uint8_t byte);
  StringState step_escape(TextDfa::State text, std::uint8_t byte);
  StringState step_hex(StringState state, std::uint8_t byte);
  StringState step_low_surrogate(StringState state, std::uint8_t byte);
  StringState whole(TextDfa::State text, char32_t code_point);
  // Whether a scalar value of [begin, end) can follow.
  bool any_scalar(TextDfa::State text, char32_t begin, char32_t end);
  bool any_short_escape(TextDfa::State text);
  // Whether \u and a code unit of [begin, end) can, alone or as the first of a pair.
  bool any_unicode_escape(TextDfa::State text, char32_t begin, char32_t end);

  Text& dfa_;
  Escapes escapes_;
};

using StringLexer = BasicStringLexer<TextDfa>;

// A text of which nothing is asked: for what escapes are whole by themselves.
struct AnyText {
  TextDfa::State step(TextDfa::State state, char32_t) { return state; }
  bool any_step(TextDfa::State, char32_t begin, char32_t end) { return begin < end; }
  bool accepts(TextDfa::State) const { return true; }
  char32_t forced(TextDfa::State) { return 0; }
  std::string shortest_rest(TextDfa::State) { return {}; }
};

}  // namespace tessera::guided

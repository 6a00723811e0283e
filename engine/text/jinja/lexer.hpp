// lexer.hpp — a template's source as tokens, with Jinja's rules for white space applied.
//
// Outside of tags all is data. trim_blocks: the newline right after a block or comment is dropped.
// lstrip_blocks: white space before a block or comment that begins its line is dropped. A minus in
// a tag's bracket drops all white space on that side; a plus switches the two rules off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::jinja {

enum class TokenKind : std::uint8_t {
  kData,
  kBlockBegin,
  kBlockEnd,
  kPrintBegin,
  kPrintEnd,
  kName,
  kString,   // text: unescaped
  kInteger,  // text: as written, without underscores
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text = {};
  int line = 0;
};

inline constexpr std::size_t kTagTokensMax = 10'000;  // in one tag; bounds its tree

// Ends with a kEnd token. Throws Failure (kSyntax) at what cannot be a token.
std::vector<Token> tokenize(std::string_view source);

}  // namespace tessera::jinja

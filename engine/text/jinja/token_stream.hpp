// token_stream.hpp — the parser's view of the tokens: one ahead, and what to say when it is wrong.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/jinja/failure.hpp"
#include "engine/text/jinja/lexer.hpp"

namespace tessera::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& look_ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  int line() const { return current().line; }

  Token next() {
    Token token = current();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }

  bool is(TokenKind kind) const { return current().kind == kind; }
  bool is(TokenKind kind, std::string_view text) const { return matches(current(), kind, text); }
  bool is_name(std::string_view text) const { return is(TokenKind::kName, text); }
  bool is_operator(std::string_view text) const { return is(TokenKind::kOperator, text); }
  bool next_is_name(std::string_view text) const {
    return matches(look_ahead(), TokenKind::kName, text);
  }

  // Takes the token if it is that one.
  bool skip_name(std::string_view text) { return skip(is_name(text)); }
  bool skip_operator(std::string_view text) { return skip(is_operator(text)); }

  void expect_operator(std::string_view text) {
    if (!skip_operator(text)) unexpected("'" + std::string(text) + "'");
  }
  void expect_name(std::string_view text) {
    if (!skip_name(text)) unexpected("'" + std::string(text) + "'");
  }
  std::string expect_any_name() {
    if (!is(TokenKind::kName)) unexpected("a name");
    return next().text;
  }
  void expect(TokenKind kind, const std::string& what) {
    if (!skip(is(kind))) unexpected(what);
  }

  [[noreturn]] void error(const std::string& what) const {
    throw Failure(Failure::Kind::kSyntax, "line " + std::to_string(line()) + ": " + what);
  }
  [[noreturn]] void unexpected(const std::string& wanted) const {
    const bool named = !current().text.empty();
    error("expected " + wanted + ", found " +
          (named ? "'" + current().text + "'" : std::string("the end of the tag")));
  }

 private:
  static bool matches(const Token& token, TokenKind kind, std::string_view text) {
    return token.kind == kind && token.text == text;
  }
  bool skip(bool take) {
    if (take) next();
    return take;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace tessera::jinja

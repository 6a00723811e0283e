// expression_parser.hpp — the expression half of the parser.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/jinja/ast.hpp"
#include "engine/text/jinja/token_stream.hpp"

namespace tessera::jinja {

// Each function parses what its name says from the stream's current token on.
class ExpressionParser {
 public:
  ExpressionParser(TokenStream& stream, int depth_max) : stream_(stream), depth_left_(depth_max) {}

  ExpressionPtr expression() { return conditional(); }
  ExpressionPtr expression_without_conditional() { return or_expression(); }

  // `a, b` as a tuple, else the one expression. Nothing between its ends is the empty tuple if
  // `may_be_empty`.
  ExpressionPtr tuple(bool with_conditional, bool may_be_empty = false);

  ExpressionPtr primary();
  ExpressionPtr unary(bool with_filters = true);

  // The filters that follow, `|name(...)|name`, around `input`.
  ExpressionPtr filters(ExpressionPtr input);
  // "name(...)|name", as after `filter` and in a `set` block: the first one's input is null.
  ExpressionPtr filter_chain(ExpressionPtr input);

  CallArguments call_arguments();

  // Guards recursion; the statements' parser nests through it too. (Chains such as a + b + c nest
  // their tree without it; they are bounded by the tokens that the lexer lets a tag have.)
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser) : parser_(parser) {
      if (parser_.depth_left_ == 0) parser_.stream_.error("the source is nested too deeply");
      --parser_.depth_left_;
    }
    ~Nesting() { ++parser_.depth_left_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

  // The special names that the macros now being parsed refer to.
  struct MacroUses {
    bool varargs = false;
    bool kwargs = false;
    bool caller = false;
  };
  std::vector<MacroUses>& macro_uses() { return macro_uses_; }

 private:
  ExpressionPtr conditional();
  ExpressionPtr or_expression();
  ExpressionPtr and_expression();
  ExpressionPtr not_expression();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr postfix(ExpressionPtr object);
  ExpressionPtr filters_tests_and_calls(ExpressionPtr input);
  ExpressionPtr attribute(ExpressionPtr object);
  ExpressionPtr subscript(ExpressionPtr object);
  ExpressionPtr test(ExpressionPtr input);
  ExpressionPtr filter(ExpressionPtr input);
  ExpressionPtr name();
  ExpressionPtr string();
  ExpressionPtr number();
  ExpressionPtr list();
  ExpressionPtr dict();
  std::string dotted_name();
  bool at_tuple_end() const;

  template <class Form>
  ExpressionPtr make(int line, Form form) const {
    return std::make_unique<const Expression>(Expression{line, std::move(form)});
  }

  TokenStream& stream_;
  int depth_left_;
  std::vector<MacroUses> macro_uses_;
};

}  // namespace tessera::jinja

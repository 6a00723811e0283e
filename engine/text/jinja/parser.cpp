#include "engine/text/jinja/parser.hpp"

#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

#include "engine/text/jinja/expression_parser.hpp"
#include "engine/text/jinja/token_stream.hpp"

namespace tessera::jinja {
namespace {

class Parser {
 public:
  Parser(TokenStream& stream, int depth_max) : stream_(stream), expressions_(stream, depth_max) {}

  Template run();

 private:
  using Ends = std::initializer_list<std::string_view>;

  // Statements up to one of the tags `ends`, whose name is left as the current token. Without
  // `ends`, up to the end of the template.
  Block block(Ends ends);
  // The same up to `end` alone, and the tag's close.
  Block block_to(std::string_view end);
  std::optional<Statement> statement();

  If if_statement();
  For for_statement();
  std::variant<Set, SetBlock> set_statement();
  MacroDefinition macro();
  CallBlock call_block();
  FilterBlock filter_block();
  With with();
  void parameters(Signature& signature);
  Block macro_body(Signature& signature, std::string_view end);

  Target target(bool with_member);
  Target single_target(bool with_member);
  void close_tag() { stream_.expect(TokenKind::kBlockEnd, "the end of the tag"); }
  bool at_end(Ends ends) const;

  TokenStream& stream_;
  ExpressionParser expressions_;
  int loops_ = 0;  // around the current statement, within the same macro
};

Template Parser::run() {
  Template parsed{block({})};
  return parsed;
}

bool Parser::at_end(Ends ends) const {
  for (const std::string_view end : ends) {
    if (stream_.is_name(end)) return true;
  }
  return false;
}

Block Parser::block(Ends ends) {
  const ExpressionParser::Nesting nesting(expressions_);
  Block out;
  for (;;) {
    const int line = stream_.line();
    if (stream_.is(TokenKind::kEnd)) {
      if (ends.size() > 0) stream_.error("expected {% " + std::string(*ends.begin()) + " %}");
      return out;
    }
    if (stream_.is(TokenKind::kData)) {
      out.push_back({line, Data{stream_.next().text}});
    } else if (stream_.is(TokenKind::kPrintBegin)) {
      stream_.next();
      out.push_back({line, Print{expressions_.tuple(true)}});
      stream_.expect(TokenKind::kPrintEnd, "'}}'");
    } else {
      stream_.expect(TokenKind::kBlockBegin, "a tag");
      if (at_end(ends)) return out;
      if (auto parsed = statement()) out.push_back(std::move(*parsed));
    }
  }
}

Block Parser::block_to(std::string_view end) {
  Block out = block({end});
  stream_.expect_name(end);
  close_tag();
  return out;
}

std::optional<Statement> Parser::statement() {
  const int line = stream_.line();
  const std::string keyword = stream_.expect_any_name();
  if (keyword == "if") return Statement{line, if_statement()};
  if (keyword == "for") return Statement{line, for_statement()};
  if (keyword == "macro") return Statement{line, macro()};
  if (keyword == "call") return Statement{line, call_block()};
  if (keyword == "filter") return Statement{line, filter_block()};
  if (keyword == "with") return Statement{line, with()};
  if (keyword == "set") {
    return std::visit(
        [line](auto form) {
          return Statement{line, std::move(form)};
        },
        set_statement());
  }
  if (keyword == "generation") {
    close_tag();
    return Statement{line, Generation{block_to("endgeneration")}};
  }
  if (keyword == "break" || keyword == "continue") {
    if (loops_ == 0) stream_.error("'" + keyword + "' outside of a loop");
    close_tag();
    if (keyword == "break") return Statement{line, Break{}};
    return Statement{line, Continue{}};
  }
  stream_.error("the tag '" + keyword + "' is not supported");
}

If Parser::if_statement() {
  If out;
  for (;;) {
    ExpressionPtr test = expressions_.tuple(false);
    close_tag();
    out.branches.emplace_back(std::move(test), block({"elif", "else", "endif"}));
    if (!stream_.skip_name("elif")) break;
  }
  if (stream_.skip_name("else")) {
    close_tag();
    out.otherwise = block({"endif"});
  }
  stream_.expect_name("endif");
  close_tag();
  return out;
}

For Parser::for_statement() {
  For out;
  out.target = target(false);
  stream_.expect_name("in");
  out.iterable = expressions_.tuple(false);
  if (stream_.skip_name("if")) out.condition = expressions_.expression();
  if (stream_.is_name("recursive")) stream_.error("recursive loops are not supported");
  close_tag();
  ++loops_;
  out.body = block({"endfor", "else"});
  --loops_;
  if (stream_.skip_name("else")) {
    close_tag();
    out.otherwise = block({"endfor"});
  }
  stream_.expect_name("endfor");
  close_tag();
  return out;
}

std::variant<Set, SetBlock> Parser::set_statement() {
  Target where = target(true);
  if (stream_.skip_operator("=")) {
    ExpressionPtr value = expressions_.tuple(true);
    close_tag();
    return Set{std::move(where), std::move(value)};
  }
  ExpressionPtr filter;
  if (stream_.skip_operator("|")) filter = expressions_.filter_chain(nullptr);
  close_tag();
  return SetBlock{std::move(where), std::move(filter), block_to("endset")};
}

void Parser::parameters(Signature& signature) {
  stream_.expect_operator("(");
  while (!stream_.is_operator(")")) {
    if (!signature.parameters.empty()) stream_.expect_operator(",");
    signature.parameters.push_back(stream_.expect_any_name());
    if (stream_.skip_operator("=")) {
      signature.defaults.push_back(expressions_.expression());
    } else if (!signature.defaults.empty()) {
      stream_.error("a parameter without a default follows one with a default");
    }
  }
  stream_.expect_operator(")");
}

// A body of its own: loops around it are not around what it does, and the special names that it
// mentions decide what it may be called with.
Block Parser::macro_body(Signature& signature, std::string_view end) {
  const int outer_loops = std::exchange(loops_, 0);
  expressions_.macro_uses().emplace_back();
  Block body = block_to(end);
  const ExpressionParser::MacroUses uses = expressions_.macro_uses().back();
  expressions_.macro_uses().pop_back();
  loops_ = outer_loops;
  signature.uses_varargs = uses.varargs;
  signature.uses_kwargs = uses.kwargs;
  signature.uses_caller = uses.caller;
  return body;
}

MacroDefinition Parser::macro() {
  MacroDefinition out;
  out.signature.name = stream_.expect_any_name();
  parameters(out.signature);
  close_tag();
  out.body = macro_body(out.signature, "endmacro");
  return out;
}

CallBlock Parser::call_block() {
  CallBlock out;
  out.signature.name = "caller";
  if (stream_.is_operator("(")) parameters(out.signature);
  out.call = expressions_.expression();
  if (!std::holds_alternative<Call>(out.call->form)) stream_.error("expected a call");
  close_tag();
  out.body = macro_body(out.signature, "endcall");
  return out;
}

FilterBlock Parser::filter_block() {
  ExpressionPtr filter = expressions_.filter_chain(nullptr);
  close_tag();
  return {std::move(filter), block_to("endfilter")};
}

With Parser::with() {
  With out;
  while (!stream_.is(TokenKind::kBlockEnd)) {
    if (!out.values.empty()) stream_.expect_operator(",");
    Target name = single_target(false);
    stream_.expect_operator("=");
    out.values.emplace_back(std::move(name), expressions_.expression());
  }
  close_tag();
  out.body = block_to("endwith");
  return out;
}

Target Parser::target(bool with_member) {
  Target first = single_target(with_member);
  if (!stream_.is_operator(",")) return first;
  Target tuple;
  tuple.is_tuple = true;
  tuple.parts.push_back(std::move(first));
  while (stream_.skip_operator(",")) {
    const bool ends = stream_.is_operator("=") || stream_.is_name("in") || stream_.is_operator(")");
    if (ends) break;
    tuple.parts.push_back(single_target(with_member));
  }
  return tuple;
}

Target Parser::single_target(bool with_member) {
  if (stream_.skip_operator("(")) {
    Target inside = target(with_member);
    stream_.expect_operator(")");
    return inside;
  }
  Target out{.name = stream_.expect_any_name()};
  if (with_member && stream_.skip_operator(".")) out.member = stream_.expect_any_name();
  return out;
}

}  // namespace

Template parse(std::string_view source, int depth_max) {
  TokenStream stream(tokenize(source));
  return Parser(stream, depth_max).run();
}

}  // namespace tessera::jinja

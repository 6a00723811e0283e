#include "engine/text/jinja/expression_parser.hpp"

#include <charconv>
#include <optional>

namespace tessera::jinja {
namespace {

std::optional<BinaryOperator> sum_operator(const Token& token) {
  if (token.kind != TokenKind::kOperator) return std::nullopt;
  if (token.text == "+") return BinaryOperator::kAdd;
  if (token.text == "-") return BinaryOperator::kSubtract;
  return std::nullopt;
}

std::optional<BinaryOperator> product_operator(const Token& token) {
  if (token.kind != TokenKind::kOperator) return std::nullopt;
  if (token.text == "*") return BinaryOperator::kMultiply;
  if (token.text == "/") return BinaryOperator::kDivide;
  if (token.text == "//") return BinaryOperator::kFloorDivide;
  if (token.text == "%") return BinaryOperator::kModulo;
  return std::nullopt;
}

std::optional<Comparison> comparison_operator(const Token& token) {
  if (token.kind != TokenKind::kOperator) return std::nullopt;
  if (token.text == "==") return Comparison::kEqual;
  if (token.text == "!=") return Comparison::kNotEqual;
  if (token.text == "<") return Comparison::kLess;
  if (token.text == "<=") return Comparison::kLessEqual;
  if (token.text == ">") return Comparison::kGreater;
  if (token.text == ">=") return Comparison::kGreaterEqual;
  return std::nullopt;
}

std::optional<Value> constant(std::string_view name) {
  if (name == "true" || name == "True") return Value(true);
  if (name == "false" || name == "False") return Value(false);
  if (name == "none" || name == "None") return Value(None{});
  return std::nullopt;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  int base = 10;
  if (text.size() > 2 && text[0] == '0') {
    const char prefix = static_cast<char>(text[1] | 0x20);  // lower case
    base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
    if (base != 10) text.remove_prefix(2);
  }
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

ExpressionPtr ExpressionParser::conditional() {
  const Nesting nesting(*this);
  const int line = stream_.line();
  ExpressionPtr value = or_expression();
  while (stream_.skip_name("if")) {
    ExpressionPtr test = or_expression();
    ExpressionPtr otherwise = stream_.skip_name("else") ? conditional() : nullptr;
    value = make(line, Conditional{std::move(test), std::move(value), std::move(otherwise)});
  }
  return value;
}

ExpressionPtr ExpressionParser::or_expression() {
  const int line = stream_.line();
  ExpressionPtr left = and_expression();
  while (stream_.skip_name("or")) {
    left = make(line, Logical{false, std::move(left), and_expression()});
  }
  return left;
}

ExpressionPtr ExpressionParser::and_expression() {
  const int line = stream_.line();
  ExpressionPtr left = not_expression();
  while (stream_.skip_name("and")) {
    left = make(line, Logical{true, std::move(left), not_expression()});
  }
  return left;
}

ExpressionPtr ExpressionParser::not_expression() {
  const Nesting nesting(*this);
  const int line = stream_.line();
  if (stream_.skip_name("not")) return make(line, Unary{UnaryOperator::kNot, not_expression()});
  return comparison();
}

ExpressionPtr ExpressionParser::comparison() {
  const int line = stream_.line();
  ExpressionPtr first = sum();
  std::vector<std::pair<Comparison, ExpressionPtr>> rest;
  for (;;) {
    if (const auto op = comparison_operator(stream_.current())) {
      stream_.next();
      rest.emplace_back(*op, sum());
    } else if (stream_.skip_name("in")) {
      rest.emplace_back(Comparison::kIn, sum());
    } else if (stream_.is_name("not") && stream_.next_is_name("in")) {
      stream_.next();
      stream_.next();
      rest.emplace_back(Comparison::kNotIn, sum());
    } else {
      break;
    }
  }
  if (rest.empty()) return first;
  return make(line, Compare{std::move(first), std::move(rest)});
}

ExpressionPtr ExpressionParser::sum() {
  const int line = stream_.line();
  ExpressionPtr left = concatenation();
  while (const auto op = sum_operator(stream_.current())) {
    stream_.next();
    left = make(line, Binary{*op, std::move(left), concatenation()});
  }
  return left;
}

ExpressionPtr ExpressionParser::concatenation() {
  const int line = stream_.line();
  std::vector<ExpressionPtr> parts;
  parts.push_back(product());
  while (stream_.skip_operator("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts.front());
  return make(line, Concat{std::move(parts)});
}

ExpressionPtr ExpressionParser::product() {
  const int line = stream_.line();
  ExpressionPtr left = power();
  while (const auto op = product_operator(stream_.current())) {
    stream_.next();
    left = make(line, Binary{*op, std::move(left), power()});
  }
  return left;
}

ExpressionPtr ExpressionParser::power() {
  const int line = stream_.line();
  ExpressionPtr left = unary();
  while (stream_.skip_operator("**")) {
    left = make(line, Binary{BinaryOperator::kPower, std::move(left), unary()});
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Nesting nesting(*this);
  const int line = stream_.line();
  ExpressionPtr value;
  if (stream_.skip_operator("-")) {
    value = make(line, Unary{UnaryOperator::kNegative, unary(false)});
  } else if (stream_.skip_operator("+")) {
    value = make(line, Unary{UnaryOperator::kPositive, unary(false)});
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters_tests_and_calls(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const int line = stream_.line();
  if (stream_.is(TokenKind::kName)) return name();
  if (stream_.is(TokenKind::kString)) return string();
  if (stream_.is(TokenKind::kInteger) || stream_.is(TokenKind::kFloat)) return number();
  if (stream_.is_operator("[")) return list();
  if (stream_.is_operator("{")) return dict();
  if (!stream_.skip_operator("(")) stream_.unexpected("a value");
  if (stream_.skip_operator(")")) return make(line, SequenceDisplay{true, {}});
  ExpressionPtr inside = tuple(true);
  stream_.expect_operator(")");
  return inside;
}

ExpressionPtr ExpressionParser::name() {
  const Token token = stream_.next();
  if (const auto value = constant(token.text)) return make(token.line, Literal{*value});
  for (MacroUses& uses : macro_uses_) {
    uses.varargs |= token.text == "varargs";
    uses.kwargs |= token.text == "kwargs";
    uses.caller |= token.text == "caller";
  }
  return make(token.line, Name{token.text});
}

ExpressionPtr ExpressionParser::string() {
  const int line = stream_.line();
  std::string text;
  while (stream_.is(TokenKind::kString)) text += stream_.next().text;
  return make(line, Literal{Value(std::move(text))});
}

ExpressionPtr ExpressionParser::number() {
  const Token token = stream_.current();
  if (token.kind == TokenKind::kFloat) {
    double value = 0.0;
    const char* end = token.text.data() + token.text.size();
    if (std::from_chars(token.text.data(), end, value).ec != std::errc()) {
      stream_.error("the number is out of range");
    }
    stream_.next();
    return make(token.line, Literal{Value(value)});
  }
  const auto value = parse_integer(token.text);
  if (!value) stream_.error("not a whole number of 64 bits: " + token.text);
  stream_.next();
  return make(token.line, Literal{Value(*value)});
}

ExpressionPtr ExpressionParser::list() {
  const int line = stream_.line();
  stream_.expect_operator("[");
  std::vector<ExpressionPtr> items;
  while (!stream_.is_operator("]")) {
    if (!items.empty()) stream_.expect_operator(",");
    if (stream_.is_operator("]")) break;
    items.push_back(expression());
  }
  stream_.expect_operator("]");
  return make(line, SequenceDisplay{false, std::move(items)});
}

ExpressionPtr ExpressionParser::dict() {
  const int line = stream_.line();
  stream_.expect_operator("{");
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
  while (!stream_.is_operator("}")) {
    if (!items.empty()) stream_.expect_operator(",");
    if (stream_.is_operator("}")) break;
    ExpressionPtr key = expression();
    stream_.expect_operator(":");
    items.emplace_back(std::move(key), expression());
  }
  stream_.expect_operator("}");
  return make(line, DictDisplay{std::move(items)});
}

bool ExpressionParser::at_tuple_end() const {
  return stream_.is(TokenKind::kPrintEnd) || stream_.is(TokenKind::kBlockEnd) ||
         stream_.is_operator(")") || stream_.is_name("recursive");
}

ExpressionPtr ExpressionParser::tuple(bool with_conditional, bool may_be_empty) {
  const int line = stream_.line();
  std::vector<ExpressionPtr> items;
  bool is_tuple = may_be_empty && at_tuple_end();
  while (!at_tuple_end() || items.empty()) {
    if (is_tuple && items.empty()) break;
    items.push_back(with_conditional ? expression() : expression_without_conditional());
    if (!stream_.skip_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) return std::move(items.front());
  return make(line, SequenceDisplay{true, std::move(items)});
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr object) {
  for (;;) {
    if (stream_.is_operator(".")) {
      object = attribute(std::move(object));
    } else if (stream_.is_operator("[")) {
      object = subscript(std::move(object));
    } else if (stream_.is_operator("(")) {
      const int line = stream_.line();
      object = make(line, Call{std::move(object), call_arguments()});
    } else {
      return object;
    }
  }
}

ExpressionPtr ExpressionParser::filters_tests_and_calls(ExpressionPtr input) {
  for (;;) {
    if (stream_.is_operator("|")) {
      input = filters(std::move(input));
    } else if (stream_.is_name("is")) {
      input = test(std::move(input));
    } else if (stream_.is_operator("(")) {
      const int line = stream_.line();
      input = make(line, Call{std::move(input), call_arguments()});
    } else {
      return input;
    }
  }
}

ExpressionPtr ExpressionParser::attribute(ExpressionPtr object) {
  const int line = stream_.line();
  stream_.expect_operator(".");
  if (stream_.is(TokenKind::kInteger)) {
    ExpressionPtr index = number();
    return make(line, Item{std::move(object), std::move(index)});
  }
  return make(line, Attribute{std::move(object), stream_.expect_any_name()});
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr object) {
  const int line = stream_.line();
  stream_.expect_operator("[");
  const auto bound = [this]() -> ExpressionPtr {
    const bool absent = stream_.is_operator(":") || stream_.is_operator("]");
    return absent ? nullptr : expression();
  };
  ExpressionPtr first = bound();
  if (stream_.skip_operator(":")) {
    ExpressionPtr stop = bound();
    ExpressionPtr step = stream_.skip_operator(":") ? bound() : nullptr;
    stream_.expect_operator("]");
    return make(line, Slice{std::move(object), std::move(first), std::move(stop), std::move(step)});
  }
  if (!first) stream_.unexpected("an index");
  stream_.expect_operator("]");
  return make(line, Item{std::move(object), std::move(first)});
}

std::string ExpressionParser::dotted_name() {
  std::string name = stream_.expect_any_name();
  while (stream_.skip_operator(".")) name += '.' + stream_.expect_any_name();
  return name;
}

ExpressionPtr ExpressionParser::filter(ExpressionPtr input) {
  const int line = stream_.line();
  std::string filter_name = dotted_name();
  CallArguments arguments = stream_.is_operator("(") ? call_arguments() : CallArguments{};
  return make(line, Filter{std::move(input), std::move(filter_name), std::move(arguments)});
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr input) {
  while (stream_.skip_operator("|")) input = filter(std::move(input));
  return input;
}

ExpressionPtr ExpressionParser::filter_chain(ExpressionPtr input) {
  return filters(filter(std::move(input)));
}

ExpressionPtr ExpressionParser::test(ExpressionPtr input) {
  const int line = stream_.line();
  stream_.expect_name("is");
  const bool negated = stream_.skip_name("not");
  std::string test_name = dotted_name();
  CallArguments arguments;
  const Token& token = stream_.current();
  const bool begins_value = token.kind == TokenKind::kName || token.kind == TokenKind::kString ||
                            token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat ||
                            stream_.is_operator("[") || stream_.is_operator("{");
  const bool is_keyword =
      stream_.is_name("else") || stream_.is_name("or") || stream_.is_name("and");
  if (stream_.is_operator("(")) {
    arguments = call_arguments();
  } else if (begins_value && !is_keyword) {
    if (stream_.is_name("is")) stream_.error("tests cannot be chained with 'is'");
    ExpressionPtr argument = primary();
    arguments.positional.push_back(postfix(std::move(argument)));
  }
  ExpressionPtr result =
      make(line, Test{std::move(input), std::move(test_name), std::move(arguments)});
  return negated ? make(line, Unary{UnaryOperator::kNot, std::move(result)}) : std::move(result);
}

CallArguments ExpressionParser::call_arguments() {
  CallArguments arguments;
  stream_.expect_operator("(");
  bool first = true;
  while (!stream_.is_operator(")")) {
    if (!first) stream_.expect_operator(",");
    if (stream_.is_operator(")")) break;
    first = false;
    if (stream_.skip_operator("*")) {
      arguments.star = expression();
    } else if (stream_.skip_operator("**")) {
      arguments.double_star = expression();
    } else if (stream_.is(TokenKind::kName) && stream_.look_ahead().kind == TokenKind::kOperator &&
               stream_.look_ahead().text == "=") {
      std::string keyword = stream_.next().text;
      stream_.next();
      arguments.named.emplace_back(std::move(keyword), expression());
    } else {
      if (!arguments.named.empty()) stream_.error("a positional argument follows a named one");
      arguments.positional.push_back(expression());
    }
  }
  stream_.expect_operator(")");
  return arguments;
}

}  // namespace tessera::jinja

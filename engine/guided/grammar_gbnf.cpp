#include "engine/guided/grammar_gbnf.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/guided/grammar_text.hpp"
#include "engine/text/code_point_set.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

using Kind = GrammarExpr::Kind;

class GbnfParser {
 public:
  GbnfParser(std::string_view text, RegexPool& pool, const GuidedLimits& limits)
      : cursor_(text), pool_(pool), limits_(limits), findings_(text, limits.max_findings) {
    if (readable_grammar(text, limits, findings_)) parse();
  }

  std::variant<GrammarDraft, GuidedFindings> take() {
    if (!findings_.empty()) return findings_.take();
    return std::move(draft_);
  }

 private:
  // Each answers nullopt once it has told what is wrong.
  std::optional<ExprId> parse_alternatives(int depth);
  std::optional<ExprId> parse_sequence(int depth);
  std::optional<ExprId> parse_item(int depth);
  std::optional<ExprId> parse_repeats(ExprId item);
  std::optional<ExprId> parse_group(int depth);
  std::optional<ExprId> parse_literal();
  std::optional<ExprId> parse_class();
  std::optional<char32_t> parse_character();

  void parse();
  void parse_rule();
  void skip_space();
  void skip_to_rule();
  std::string_view take_name();
  bool at_rule();
  bool at_end_of_sequence();
  std::nullopt_t fail(std::size_t offset, std::string keyword, std::string reason) {
    findings_.add(offset, std::move(keyword), std::move(reason));
    return std::nullopt;
  }

  GrammarCursor cursor_;
  RegexPool& pool_;
  const GuidedLimits& limits_;
  GrammarFindings findings_;
  GrammarDraft draft_;
};

bool is_name(char c) {
  return is_ascii_lower(c) || is_ascii_upper(c) || is_ascii_digit(c) || c == '-' || c == '_';
}

void GbnfParser::skip_space() {
  for (;;) {
    const char c = cursor_.peek();
    if (c == '#') {
      cursor_.skip_line();
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      cursor_.skip();
    } else {
      return;
    }
  }
}

std::string_view GbnfParser::take_name() {
  const std::size_t begin = cursor_.at();
  while (is_name(cursor_.peek())) cursor_.skip();
  return cursor_.from(begin);
}

bool GbnfParser::at_rule() {
  if (!is_name(cursor_.peek())) return false;
  const std::size_t begin = cursor_.at();
  take_name();
  skip_space();
  const bool is_rule = cursor_.starts_with("::=");
  cursor_.go_to(begin);
  return is_rule;
}

bool GbnfParser::at_end_of_sequence() {
  return cursor_.done() || cursor_.peek() == '|' || cursor_.peek() == ')' || at_rule();
}

// Reading goes on where a line begins with a rule.
void GbnfParser::skip_to_rule() {
  do {
    cursor_.skip_line();
    skip_space();
  } while (!cursor_.done() && !at_rule());
}

void GbnfParser::parse() {
  draft_.start = draft_.rule("root", 0);
  for (skip_space(); !cursor_.done(); skip_space()) {
    if (at_rule()) {
      parse_rule();
    } else {
      findings_.add(cursor_.at(), "", "Expected a rule here: name ::= ...");
      skip_to_rule();
    }
  }
  if (draft_.rules.size() > limits_.max_grammar_rules)
    findings_.add(
        0, "",
        "The grammar has more than " + std::to_string(limits_.max_grammar_rules) + " rules.");
}

void GbnfParser::parse_rule() {
  const std::size_t offset = cursor_.at();
  const std::string name(take_name());
  const std::uint32_t index = draft_.rule(name, offset);
  skip_space();
  cursor_.take("::=");
  if (draft_.rules[index].body)
    findings_.add(offset, name, "Rule '" + name + "' is defined twice.");
  const auto body = parse_alternatives(0);
  if (body && cursor_.peek() == ')') fail(cursor_.at(), name, "There is no ( for this ).");
  if (!body || cursor_.peek() == ')') skip_to_rule();
  // A rule that was told to be wrong counts as defined, so that its users are not told too.
  draft_.rules[index].body = body.value_or(draft_.add({}));
  draft_.rules[index].offset = offset;
}

std::optional<ExprId> GbnfParser::parse_alternatives(int depth) {
  GrammarExpr choice = {.kind = Kind::kChoice};
  skip_space();
  choice.offset = cursor_.at();
  do {
    const auto sequence = parse_sequence(depth);
    if (!sequence) return std::nullopt;
    choice.parts.push_back(*sequence);
  } while (cursor_.take("|"));
  return choice.parts.size() == 1 ? choice.parts[0] : draft_.add(std::move(choice));
}

std::optional<ExprId> GbnfParser::parse_sequence(int depth) {
  GrammarExpr sequence = {.kind = Kind::kSequence};
  skip_space();
  sequence.offset = cursor_.at();
  for (; !at_end_of_sequence(); skip_space()) {
    const auto item = parse_item(depth);
    if (!item) return std::nullopt;
    const auto repeated = parse_repeats(*item);
    if (!repeated) return std::nullopt;
    sequence.parts.push_back(*repeated);
  }
  return sequence.parts.size() == 1 ? sequence.parts[0] : draft_.add(std::move(sequence));
}

std::optional<ExprId> GbnfParser::parse_item(int depth) {
  const std::size_t offset = cursor_.at();
  const char c = cursor_.peek();
  if (c == '"') return parse_literal();
  if (c == '[') return parse_class();
  if (c == '(') return parse_group(depth);
  if (c == '.') {
    cursor_.skip();
    return draft_.add({.kind = Kind::kRegex, .regex = pool_.any_code_point(), .offset = offset});
  }
  if (c == '<' || c == '!')
    return fail(offset, "<token>", "Tokens by name are not supported in a grammar.");
  const std::string_view name = take_name();
  if (name.empty()) return fail(offset, "", "This is not part of a rule.");
  return draft_.add(
      {.kind = Kind::kReference, .index = draft_.rule(name, offset), .offset = offset});
}

std::optional<ExprId> GbnfParser::parse_group(int depth) {
  const std::size_t offset = cursor_.at();
  if (depth >= limits_.max_pattern_depth) return fail(offset, "(", "Groups are nested too deep.");
  cursor_.skip();
  const auto body = parse_alternatives(depth + 1);
  if (!body) return std::nullopt;
  if (!cursor_.take(")")) return fail(offset, "(", "There is no ) for this (.");
  return body;
}

// * + ? {m} {m,} {m,n}, one on top of the other where there are several.
std::optional<ExprId> GbnfParser::parse_repeats(ExprId item) {
  for (int count = 0;; ++count) {
    const std::size_t before = cursor_.at();
    skip_space();
    const std::size_t offset = cursor_.at();
    GrammarExpr repeat = {.kind = Kind::kRepeat, .min = 0, .offset = offset};
    const char c = cursor_.peek();
    if (c != '*' && c != '+' && c != '?' && c != '{') {
      cursor_.go_to(before);
      return item;
    }
    if (count >= limits_.max_pattern_depth) return fail(offset, "", "Too many repetitions.");
    cursor_.skip();
    if (c == '+') repeat.min = 1;
    if (c == '?') repeat.max = 1;
    if (c == '{') {
      skip_space();
      const auto min = cursor_.take_number();
      if (!min) return fail(offset, "{", "Expected a number: {m}, {m,} or {m,n}.");
      repeat.min = repeat.max = *min;
      skip_space();
      if (cursor_.take(",")) {
        skip_space();
        repeat.max = cursor_.take_number().value_or(RegexPool::kUnbounded);
        skip_space();
      }
      if (!cursor_.take("}")) return fail(offset, "{", "Expected } after the numbers.");
      if (repeat.min > repeat.max) return fail(offset, "{", "The numbers are out of order.");
      const bool bounded = repeat.max != RegexPool::kUnbounded;
      if ((bounded ? repeat.max : repeat.min) > limits_.max_repeat)
        return fail(offset, "{", "The number is too large.");
    }
    repeat.parts = {item};
    item = draft_.add(std::move(repeat));
  }
}

std::optional<ExprId> GbnfParser::parse_literal() {
  const std::size_t offset = cursor_.at();
  cursor_.skip();
  std::string text;
  while (cursor_.peek() != '"') {
    if (cursor_.done()) return fail(offset, "\"", "This string has no end.");
    const auto character = parse_character();
    if (!character) return std::nullopt;
    append_utf8(text, *character);
  }
  cursor_.skip();
  return draft_.add({.kind = Kind::kRegex, .regex = pool_.literal(text), .offset = offset});
}

std::optional<ExprId> GbnfParser::parse_class() {
  const std::size_t offset = cursor_.at();
  cursor_.skip();
  const bool negated = cursor_.take("^");
  CodePointSet set;
  while (cursor_.peek() != ']') {
    if (cursor_.done()) return fail(offset, "[", "This class has no end.");
    const std::size_t at = cursor_.at();
    const auto first = parse_character();
    if (!first) return std::nullopt;
    char32_t last = *first;
    if (cursor_.peek() == '-' && cursor_.peek(1) != ']' && cursor_.peek(1) != '\0') {
      cursor_.skip();
      const auto end = parse_character();
      if (!end) return std::nullopt;
      last = *end;
    }
    if (last < *first) return fail(at, "[", "This range ends before it begins.");
    set.add(*first, last + 1);
  }
  cursor_.skip();
  const RegexId regex = pool_.set(negated ? set.complement() : set);
  return draft_.add({.kind = Kind::kRegex, .regex = regex, .offset = offset});
}

std::optional<char32_t> GbnfParser::parse_character() {
  const std::size_t offset = cursor_.at();
  if (cursor_.peek() != '\\') return cursor_.take_code_point();
  cursor_.skip();
  const char c = cursor_.peek();
  if (c != '\0') cursor_.skip();
  switch (c) {
    case 'n':
      return U'\n';
    case 't':
      return U'\t';
    case 'r':
      return U'\r';
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
    case '/':
      return static_cast<char32_t>(c);
    case 'x':
    case 'u':
    case 'U': {
      const auto value = cursor_.take_hex(c == 'x' ? 2 : c == 'u' ? 4 : 8);
      if (!value) return fail(offset, "\\", "This escape is not a Unicode character.");
      return value;
    }
    default:
      return fail(offset, "\\", "There is no such escape.");
  }
}

}  // namespace

std::variant<GrammarDraft, GuidedFindings> parse_gbnf(std::string_view text, RegexPool& pool,
                                                      const GuidedLimits& limits) {
  return GbnfParser(text, pool, limits).take();
}

}  // namespace tessera::guided

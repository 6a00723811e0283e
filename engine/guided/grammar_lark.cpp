#include "engine/guided/grammar_lark.hpp"

#include <array>
#include <utility>
#include <vector>

#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/grammar_text.hpp"
#include "engine/text/code_point_set.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

using Kind = GrammarExpr::Kind;

bool is_name(char c) {
  return is_ascii_lower(c) || is_ascii_upper(c) || is_ascii_digit(c) || c == '_';
}

enum class NameKind : std::uint8_t { kRule, kTerminal, kNeither };

NameKind kind_of(std::string_view name) {
  bool lower = false;
  bool upper = false;
  for (const char c : name) {
    lower = lower || is_ascii_lower(c);
    upper = upper || is_ascii_upper(c);
  }
  if (name.empty() || is_ascii_digit(name[0]) || lower == upper) return NameKind::kNeither;
  return lower ? NameKind::kRule : NameKind::kTerminal;
}

class LarkParser {
 public:
  LarkParser(std::string_view text, RegexPool& pool, const GuidedLimits& limits,
             const SchemaRecognizerMaker& make_schema)
      : cursor_(text),
        pool_(pool),
        limits_(limits),
        make_schema_(make_schema),
        findings_(text, limits.max_findings) {
    if (readable_grammar(text, limits, findings_)) parse();
  }

  std::variant<GrammarDraft, GuidedFindings> take() {
    if (!findings_.empty()) return findings_.take();
    return std::move(draft_);
  }

 private:
  void parse();
  bool parse_statement();  // like all below: false or nullopt once it has told what is wrong
  bool parse_definition();
  bool parse_directive();
  bool parse_import();
  bool import_one(std::string_view name, std::size_t offset, std::string_view alias);
  bool parse_ignore();
  std::optional<ExprId> parse_alternatives();
  std::optional<ExprId> parse_sequence();
  std::optional<ExprId> parse_item();
  std::optional<ExprId> parse_repeat(ExprId item);
  std::optional<ExprId> parse_atom();
  std::optional<ExprId> parse_group(char open, char close);
  std::optional<ExprId> parse_string();
  std::optional<ExprId> parse_pattern();
  std::optional<ExprId> parse_reference();
  std::optional<ExprId> parse_embedded();
  std::optional<std::string> take_string();
  bool take_escape(std::string& text);
  bool take_alias();

  bool at_pattern() const { return cursor_.peek() == '/' && cursor_.peek(1) != '/'; }
  bool at_comment() const {
    return cursor_.peek() == '#' || (cursor_.peek() == '/' && cursor_.peek(1) == '/');
  }
  void skip_inline();
  void skip_blank();
  void skip_statement();
  bool at_definition();
  bool at_end();
  bool at_end_of_sequence();
  std::string_view take_name();
  std::uint32_t define(std::string_view name, std::size_t offset, ExprId body);
  ExprId add_regex(RegexId regex, std::size_t offset) {
    return draft_.add({.kind = Kind::kRegex, .regex = regex, .offset = offset});
  }
  std::nullopt_t fail(std::size_t offset, std::string keyword, std::string reason) {
    findings_.add(offset, std::move(keyword), std::move(reason));
    return std::nullopt;
  }
  bool refuse(std::size_t offset, std::string keyword, std::string reason) {
    findings_.add(offset, std::move(keyword), std::move(reason));
    return false;
  }

  GrammarCursor cursor_;
  RegexPool& pool_;
  const GuidedLimits& limits_;
  const SchemaRecognizerMaker& make_schema_;
  GrammarFindings findings_;
  GrammarDraft draft_;
  bool in_terminal_ = false;  // what is being defined
  int depth_ = 0;             // of groups
};

// Blanks and comments up to the end of the line; a backslash there joins it with the next.
void LarkParser::skip_inline() {
  for (;;) {
    const char c = cursor_.peek();
    if (c == ' ' || c == '\t' || c == '\r') {
      cursor_.skip();
    } else if (at_comment()) {
      cursor_.skip_line();
    } else if (c == '\\' && cursor_.peek(1) == '\n') {
      cursor_.skip(2);
    } else {
      return;
    }
  }
}

void LarkParser::skip_blank() {
  for (skip_inline(); cursor_.peek() == '\n' || cursor_.peek() == '\f'; skip_inline())
    cursor_.skip();
}

std::string_view LarkParser::take_name() {
  const std::size_t begin = cursor_.at();
  while (is_name(cursor_.peek())) cursor_.skip();
  return cursor_.from(begin);
}

// Whether `name:` stands here, with all that may stand around the name.
bool LarkParser::at_definition() {
  const std::size_t begin = cursor_.at();
  while (cursor_.peek() == '?' || cursor_.peek() == '!') cursor_.skip();
  bool is_definition = !take_name().empty();
  if (cursor_.peek() == '{') {
    while (!cursor_.done() && cursor_.peek() != '}' && cursor_.peek() != '\n') cursor_.skip();
    cursor_.take("}");
  }
  if (cursor_.take(".")) {
    cursor_.take("-");
    cursor_.take_number();
  }
  skip_inline();
  is_definition = is_definition && cursor_.peek() == ':';
  cursor_.go_to(begin);
  return is_definition;
}

// Whether the statement ends here. A line that begins with | goes on with it, and so do all lines
// within a group, unless a definition begins there: then a bracket is missing.
bool LarkParser::at_end() {
  skip_inline();
  if (cursor_.done()) return true;
  if (cursor_.peek() != '\n') return false;
  const std::size_t newline = cursor_.at();
  skip_blank();
  const bool directive = cursor_.peek() == '%' && !cursor_.starts_with("%json");
  const bool within = depth_ > 0 && !cursor_.done() && !directive && !at_definition();
  if (cursor_.peek() == '|' || within) return false;
  cursor_.go_to(newline);
  return true;
}

bool LarkParser::at_end_of_sequence() {
  if (at_end()) return true;
  const char c = cursor_.peek();
  return c == '|' || c == ')' || c == ']' || cursor_.starts_with("->");
}

void LarkParser::skip_statement() {
  depth_ = 0;
  do {
    cursor_.skip_line();
    skip_blank();
  } while (!cursor_.done() && cursor_.peek() != '%' && !at_definition());
}

void LarkParser::parse() {
  draft_.start = draft_.rule("start", 0);
  for (skip_blank(); !cursor_.done(); skip_blank())
    if (!parse_statement()) skip_statement();
  if (draft_.rules.size() > limits_.max_grammar_rules)
    findings_.add(0, "",
                  "The grammar has more than " + std::to_string(limits_.max_grammar_rules) +
                      " rules and terminals.");
}

bool LarkParser::parse_statement() {
  depth_ = 0;
  const bool done = cursor_.peek() == '%' ? parse_directive() : parse_definition();
  if (!done) return false;
  if (at_end()) return true;
  return refuse(cursor_.at(), "", "This does not belong to the statement before it.");
}

// [?!]name[.priority]: alternatives. What shapes a parse tree has no effect here.
bool LarkParser::parse_definition() {
  while (cursor_.peek() == '?' || cursor_.peek() == '!') cursor_.skip();
  const std::size_t offset = cursor_.at();
  const std::string name(take_name());
  const NameKind kind = kind_of(name);
  if (name.empty()) return refuse(offset, "", "Expected a definition here: name: ...");
  if (kind == NameKind::kNeither)
    return refuse(offset, name, "A rule's name is all lower case, a terminal's all upper case.");
  const std::uint32_t index = draft_.rule(name, offset);
  const bool again = draft_.rules[index].body.has_value();
  // Until it is read, and if it is wrong, it counts as defined: its users are not told too.
  define(name, offset, draft_.add({}));
  draft_.rules[index].terminal = kind == NameKind::kTerminal;
  in_terminal_ = kind == NameKind::kTerminal;
  if (cursor_.peek() == '{')
    return refuse(offset, name, "Templates are not supported ('" + name + "').");
  if (cursor_.take(".")) {
    cursor_.take("-");
    if (!cursor_.take_number()) return refuse(cursor_.at(), name, "Expected a priority here.");
  }
  skip_inline();
  if (!cursor_.take(":")) return refuse(cursor_.at(), name, "Expected ':' after '" + name + "'.");
  const auto body = parse_alternatives();
  if (!body) return false;
  define(name, offset, *body);
  return !again || refuse(offset, name, "'" + name + "' is defined twice.");
}

std::uint32_t LarkParser::define(std::string_view name, std::size_t offset, ExprId body) {
  const std::uint32_t index = draft_.rule(name, offset);
  draft_.rules[index].body = body;
  draft_.rules[index].offset = offset;
  return index;
}

bool LarkParser::parse_directive() {
  const std::size_t offset = cursor_.at();
  cursor_.skip();
  const std::string name = '%' + std::string(take_name());
  skip_inline();
  if (name == "%ignore") return parse_ignore();
  if (name == "%import") return parse_import();
  if (name == "%declare")
    return refuse(offset, name, "%declare needs a lexer of your own, which cannot be had here.");
  return refuse(offset, name, name + " is not supported.");
}

bool LarkParser::parse_ignore() {
  const std::size_t offset = cursor_.at();
  in_terminal_ = true;
  const auto body = parse_alternatives();
  if (!body) return false;
  const std::string name = "%ignore " + std::to_string(draft_.ignored.size() + 1);
  const std::uint32_t index = define(name, offset, *body);
  draft_.rules[index].terminal = true;
  draft_.ignored.push_back(index);
  return true;
}

// %import common.NAME [-> ALIAS] or %import common (NAME, ...).
bool LarkParser::parse_import() {
  const std::size_t offset = cursor_.at();
  const std::string_view module = take_name();
  if (module != "common")
    return refuse(offset, "%import", "Only the terminals of 'common' can be imported.");
  if (cursor_.take(".")) {
    const std::string_view name = take_name();
    std::string_view alias = name;
    skip_inline();
    if (cursor_.take("->")) {
      skip_inline();
      alias = take_name();
    }
    return import_one(name, offset, alias);
  }
  skip_inline();
  if (!cursor_.take("(")) return refuse(cursor_.at(), "%import", "Expected a terminal's name.");
  do {
    skip_blank();
    const std::size_t at = cursor_.at();
    const std::string_view name = take_name();
    if (!import_one(name, at, name)) return false;
    skip_blank();
  } while (cursor_.take(","));
  return cursor_.take(")") || refuse(cursor_.at(), "%import", "Expected ) after the names.");
}

bool LarkParser::import_one(std::string_view name, std::size_t offset, std::string_view alias) {
  const auto pattern = common_terminal(name);
  if (!pattern) return refuse(offset, "%import", "There is no 'common." + std::string(name) + "'.");
  if (kind_of(alias) != NameKind::kTerminal)
    return refuse(offset, "%import", "A terminal's name is all upper case.");
  const auto regex = parse_ecma_whole(*pattern, pool_, limits_);
  if (!regex) return refuse(offset, "%import", regex.error().message);
  const std::uint32_t index = draft_.rule(alias, offset);
  if (draft_.rules[index].body)
    return refuse(offset, "%import", "'" + std::string(alias) + "' is defined twice.");
  define(alias, offset, add_regex(*regex, offset));
  draft_.rules[index].terminal = true;
  return true;
}

std::optional<ExprId> LarkParser::parse_alternatives() {
  GrammarExpr choice = {.kind = Kind::kChoice};
  at_end();
  choice.offset = cursor_.at();
  do {
    const auto sequence = parse_sequence();
    if (!sequence || !take_alias()) return std::nullopt;
    choice.parts.push_back(*sequence);
  } while (!at_end() && cursor_.take("|"));
  return choice.parts.size() == 1 ? choice.parts[0] : draft_.add(std::move(choice));
}

bool LarkParser::take_alias() {
  if (at_end() || !cursor_.take("->")) return true;
  skip_inline();
  const std::size_t offset = cursor_.at();
  if (in_terminal_) return refuse(offset, "->", "A terminal has no aliases.");
  return !take_name().empty() || refuse(offset, "->", "Expected the alias's name.");
}

std::optional<ExprId> LarkParser::parse_sequence() {
  GrammarExpr sequence = {.kind = Kind::kSequence};
  skip_inline();
  sequence.offset = cursor_.at();
  while (!at_end_of_sequence()) {
    const auto item = parse_item();
    if (!item) return std::nullopt;
    sequence.parts.push_back(*item);
  }
  return sequence.parts.size() == 1 ? sequence.parts[0] : draft_.add(std::move(sequence));
}

std::optional<ExprId> LarkParser::parse_item() {
  const auto atom = parse_atom();
  if (!atom) return std::nullopt;
  return parse_repeat(*atom);
}

// ? * + ~n ~n..m
std::optional<ExprId> LarkParser::parse_repeat(ExprId item) {
  skip_inline();
  const std::size_t offset = cursor_.at();
  GrammarExpr repeat = {.kind = Kind::kRepeat, .min = 0, .parts = {item}, .offset = offset};
  switch (cursor_.peek()) {
    case '?':
      repeat.max = 1;
      break;
    case '*':
      break;
    case '+':
      repeat.min = 1;
      break;
    case '~':
      break;
    default:
      return item;
  }
  const bool counted = cursor_.peek() == '~';
  cursor_.skip();
  if (!counted) return draft_.add(std::move(repeat));
  skip_inline();
  const auto min = cursor_.take_number();
  if (!min) return fail(offset, "~", "Expected a number after ~.");
  repeat.min = repeat.max = *min;
  skip_inline();
  if (cursor_.take("..")) {
    skip_inline();
    const auto max = cursor_.take_number();
    if (!max) return fail(offset, "~", "Expected a number after ...");
    repeat.max = *max;
  }
  if (repeat.min > repeat.max) return fail(offset, "~", "The numbers are out of order.");
  if (repeat.max > limits_.max_repeat) return fail(offset, "~", "The number is too large.");
  return draft_.add(std::move(repeat));
}

std::optional<ExprId> LarkParser::parse_atom() {
  const std::size_t offset = cursor_.at();
  const char c = cursor_.peek();
  if (c == '(') return parse_group('(', ')');
  if (c == '[') return parse_group('[', ']');
  if (c == '"') return parse_string();
  if (at_pattern()) return parse_pattern();
  if (c == '%') return parse_embedded();
  if (c == '<') return fail(offset, "<token>", "Tokens by name are not supported in a grammar.");
  if (c == '\'') return fail(offset, "'", "A string stands in double quotes.");
  if (is_name(c)) return parse_reference();
  return fail(offset, "", "This is not part of a rule.");
}

// (...), or [...], which may be left out.
std::optional<ExprId> LarkParser::parse_group(char open, char close) {
  const std::size_t offset = cursor_.at();
  if (depth_ >= limits_.max_pattern_depth)
    return fail(offset, std::string(1, open), "Groups are nested too deep.");
  cursor_.skip();
  ++depth_;
  const auto body = parse_alternatives();
  if (!body) return std::nullopt;
  at_end();
  if (cursor_.peek() != close)
    return fail(offset, std::string(1, open), std::string("There is no ") + close + " for this.");
  cursor_.skip();
  --depth_;
  if (open == '(') return body;
  return draft_.add(
      {.kind = Kind::kRepeat, .min = 0, .max = 1, .parts = {*body}, .offset = offset});
}

// "text", "text"i or "a".."z"
std::optional<ExprId> LarkParser::parse_string() {
  const std::size_t offset = cursor_.at();
  const auto text = take_string();
  if (!text) return std::nullopt;
  if (cursor_.peek() == 'i' && !is_name(cursor_.peek(1))) {
    cursor_.skip();
    return add_regex(literal_ignoring_case(*text, pool_), offset);
  }
  skip_inline();
  if (!cursor_.take("..")) return add_regex(pool_.literal(*text), offset);
  skip_inline();
  if (cursor_.peek() != '"') return fail(offset, "..", "A range ends with a string.");
  const auto last = take_string();
  if (!last) return std::nullopt;
  const auto one = [](const std::string& string) {
    return !string.empty() && utf8_step(string).bytes == string.size();
  };
  if (!one(*text) || !one(*last))
    return fail(offset, "..", "A range is from one character to one.");
  const char32_t begin = utf8_step(*text).code_point;
  const char32_t end = utf8_step(*last).code_point;
  if (end < begin) return fail(offset, "..", "This range ends before it begins.");
  CodePointSet set;
  set.add(begin, end + 1);
  return add_regex(pool_.set(set), offset);
}

std::optional<std::string> LarkParser::take_string() {
  const std::size_t offset = cursor_.at();
  cursor_.skip();
  std::string text;
  while (cursor_.peek() != '"') {
    if (cursor_.done() || cursor_.peek() == '\n')
      return fail(offset, "\"", "This string has no end.");
    if (cursor_.peek() == '\\') {
      if (!take_escape(text)) return std::nullopt;
    } else {
      append_utf8(text, cursor_.take_code_point());
    }
  }
  cursor_.skip();
  return text;
}

bool LarkParser::take_escape(std::string& text) {
  constexpr std::string_view kNames = "ntrfv0\\\"'/";
  constexpr std::string_view kMeant{"\n\t\r\f\v\0\\\"'/", 10};
  const std::size_t offset = cursor_.at();
  cursor_.skip();
  const char c = cursor_.peek();
  if (c != '\0') cursor_.skip();
  if (const std::size_t at = kNames.find(c); c != '\0' && at != kNames.npos) {
    text.push_back(kMeant[at]);
    return true;
  }
  const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (digits == 0) return refuse(offset, "\\", "There is no such escape.");
  const auto value = cursor_.take_hex(digits);
  if (!value) return refuse(offset, "\\", "This escape is not a Unicode character.");
  append_utf8(text, *value);
  return true;
}

std::optional<ExprId> LarkParser::parse_pattern() {
  const std::size_t offset = cursor_.at();
  cursor_.skip();
  const std::size_t begin = cursor_.at();
  while (cursor_.peek() != '/') {
    if (cursor_.done() || cursor_.peek() == '\n')
      return fail(offset, "/", "This regular expression has no end.");
    cursor_.skip(cursor_.peek() == '\\' ? 2 : 1);
  }
  const std::string_view pattern = cursor_.from(begin);
  cursor_.skip();
  const std::size_t flags_begin = cursor_.at();
  while (std::string_view("imslux").find(cursor_.peek()) != std::string_view::npos &&
         cursor_.peek() != '\0')
    cursor_.skip();
  const auto written = lark_pattern(pattern, cursor_.from(flags_begin));
  if (!written) return fail(offset, "/", written.error().message);
  const auto regex = parse_ecma_whole(*written, pool_, limits_);
  if (!regex) return fail(offset, "/", regex.error().message);
  return add_regex(*regex, offset);
}

std::optional<ExprId> LarkParser::parse_reference() {
  const std::size_t offset = cursor_.at();
  const std::string name(take_name());
  const NameKind kind = kind_of(name);
  if (kind == NameKind::kNeither)
    return fail(offset, name, "A rule's name is all lower case, a terminal's all upper case.");
  if (cursor_.peek() == '{')
    return fail(offset, name, "Templates are not supported ('" + name + "').");
  if (in_terminal_ && kind == NameKind::kRule)
    return fail(offset, name, "A terminal cannot use the rule '" + name + "'.");
  const std::uint32_t index = draft_.rule(name, offset);
  draft_.rules[index].terminal = kind == NameKind::kTerminal;
  return draft_.add({.kind = Kind::kReference, .index = index, .offset = offset});
}

// %json { schema }
std::optional<ExprId> LarkParser::parse_embedded() {
  const std::size_t offset = cursor_.at();
  cursor_.skip();
  const std::string name = '%' + std::string(take_name());
  if (name != "%json") return fail(offset, name, name + " is not supported within a rule.");
  if (in_terminal_) return fail(offset, name, "A terminal cannot be a JSON document; a rule can.");
  skip_blank();
  const std::size_t begin = cursor_.at();
  int open = 0;
  bool in_string = false;
  do {
    const char c = cursor_.peek();
    if (cursor_.done() || (open == 0 && c != '{'))
      return fail(offset, name, "Expected a schema, { ... }, which ends.");
    if (in_string && c == '\\') {
      cursor_.skip();
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      open += c == '{' ? 1 : c == '}' ? -1 : 0;
    }
    cursor_.skip();
  } while (open > 0);
  if (!make_schema_) return fail(offset, name, "%json is not supported here.");
  auto made = make_schema_(cursor_.from(begin));
  if (auto* findings = std::get_if<GuidedFindings>(&made)) {
    for (const GuidedFinding& finding : *findings)
      findings_.add(begin + finding.offset, finding.keyword,
                    "In the schema, at '" + finding.pointer + "': " + finding.reason);
    return std::nullopt;
  }
  draft_.children.push_back(std::get<std::unique_ptr<Recognizer>>(std::move(made)));
  const auto child = static_cast<std::uint32_t>(draft_.children.size() - 1);
  return draft_.add({.kind = Kind::kDocument, .index = child, .offset = offset});
}

}  // namespace

std::variant<GrammarDraft, GuidedFindings> parse_lark(std::string_view text, RegexPool& pool,
                                                      const GuidedLimits& limits,
                                                      const SchemaRecognizerMaker& make_schema) {
  return LarkParser(text, pool, limits, make_schema).take();
}

}  // namespace tessera::guided

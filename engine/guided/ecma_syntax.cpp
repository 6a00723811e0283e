#include "engine/guided/ecma_syntax.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "engine/guided/ecma_classes.hpp"
#include "engine/guided/regex_pool.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

constexpr std::uint32_t kUnbounded = RegexPool::kUnbounded;

bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::optional<std::uint32_t> hex_value(char32_t c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

struct Counts {
  std::uint32_t min;
  std::uint32_t max;
};

// Recursive descent; a group is a level, and levels are limited. The first thing wrong is kept and
// everything returns.
class Reader {
 public:
  Reader(std::string_view pattern, const GuidedLimits& limits) : text_(pattern), limits_(limits) {}

  Result<EcmaTree> read() {
    if (text_.size() > limits_.max_pattern_bytes) {
      return Error{
          Code::kUnsupportedParameter,
          "the pattern is longer than " + std::to_string(limits_.max_pattern_bytes) + " bytes"};
    }
    if (!is_utf8(text_)) return Error{Code::kInvalidValue, "the pattern is not valid UTF-8"};
    if (text_.substr(0, 2) == "(?") {  // (?i) at the very beginning
      at_ = 1;
      if (!read_modifiers(')')) at_ = 0;
    }
    tree_.root = read_alternatives();
    if (!failed() && at_ < text_.size()) invalid("unmatched )");
    if (failed()) return std::move(*error_);
    return std::move(tree_);
  }

 private:
  using Index = std::uint32_t;
  struct Modifiers {
    bool ignore_case = false;
    bool dot_is_all = false;
  };

  bool failed() const { return error_.has_value(); }
  Index fail(Code code, std::string what, std::size_t at) {
    if (!failed()) {
      error_ = Error{code, std::move(what) + " (byte " + std::to_string(at) + " of the pattern)"};
    }
    at_ = text_.size();
    return 0;
  }
  Index invalid(std::string what) {
    return fail(Code::kInvalidValue, "not a regular expression: " + std::move(what), at_);
  }
  Index unsupported(std::string what) {
    return fail(Code::kUnsupportedParameter, std::move(what), at_);
  }

  bool more() const { return at_ < text_.size(); }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool next_is(std::string_view what) const { return text_.substr(at_, what.size()) == what; }
  bool take(std::string_view what) {
    if (!next_is(what)) return false;
    at_ += what.size();
    return true;
  }
  char32_t take_code_point() {
    const Utf8Step step = utf8_step(text_.substr(at_));
    at_ += step.bytes;
    return step.code_point;
  }

  Index add(EcmaNode node) {
    if (tree_.nodes.size() >= limits_.max_pattern_nodes) {
      return unsupported("the pattern has more than " + std::to_string(limits_.max_pattern_nodes) +
                         " parts");
    }
    tree_.nodes.push_back(std::move(node));
    return static_cast<Index>(tree_.nodes.size() - 1);
  }
  Index add_assertion(EcmaKind kind, bool negative = false) {
    EcmaNode node;
    node.kind = kind;
    node.negative = negative;
    node.pure = false;
    return add(std::move(node));
  }
  Index add_set(CodePointSet set) {
    return add_exact_set(modifiers_.ignore_case ? ecma_ignoring_case(set) : std::move(set));
  }
  Index add_exact_set(CodePointSet set) {
    EcmaNode node;
    node.kind = EcmaKind::kSet;
    node.set = static_cast<std::uint32_t>(tree_.sets.size());
    node.shortest = 1;
    tree_.sets.push_back(std::move(set));
    return add(std::move(node));
  }
  Index add_list(EcmaKind kind, std::vector<Index> children) {
    if (children.size() == 1) return children.front();
    EcmaNode node;
    node.kind = children.empty() ? EcmaKind::kEmpty : kind;
    node.shortest = kind == EcmaKind::kEither ? kUnbounded : 0;
    for (const Index child : children) {
      const EcmaNode& part = tree_.nodes[child];
      node.pure = node.pure && part.pure;
      node.shortest = kind == EcmaKind::kEither ? std::min(node.shortest, part.shortest)
                                                : saturated(node.shortest, part.shortest);
    }
    node.children = std::move(children);
    return add(std::move(node));
  }
  static std::uint32_t saturated(std::uint64_t a, std::uint64_t b) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(a + b, kUnbounded));
  }

  Index read_alternatives() {
    if (++depth_ > limits_.max_pattern_depth) {
      return unsupported("groups are nested more than " +
                         std::to_string(limits_.max_pattern_depth) + " deep");
    }
    std::vector<Index> alternatives{read_sequence()};
    while (take("|")) alternatives.push_back(read_sequence());
    --depth_;
    return failed() ? 0 : add_list(EcmaKind::kEither, std::move(alternatives));
  }

  Index read_sequence() {
    std::vector<Index> parts;
    while (more() && peek() != '|' && peek() != ')') {
      parts.push_back(read_term());
      if (failed()) return 0;
    }
    return add_list(EcmaKind::kConcat, std::move(parts));
  }

  Index read_term() {
    const std::size_t begin = at_;
    const Index atom = read_atom();
    if (failed()) return 0;
    const auto counts = read_quantifier();
    if (failed() || !counts) return atom;
    const EcmaKind kind = tree_.nodes[atom].kind;
    const bool lone_assertion = text_[begin] != '(' || next_begins_assertion(begin);
    if (kind == EcmaKind::kLookahead && lone_assertion) {
      // Annex B. Once is as good as often, and not at all is always possible.
      return counts->min == 0 ? add({}) : atom;
    }
    if (lone_assertion && (kind == EcmaKind::kStart || kind == EcmaKind::kEnd ||
                           kind == EcmaKind::kBoundary || kind == EcmaKind::kLookbehind)) {
      at_ = begin;
      return invalid("nothing to repeat");
    }
    return add_repeat(atom, *counts);
  }
  bool next_begins_assertion(std::size_t at) const {
    const std::string_view rest = text_.substr(at);
    return rest.substr(0, 3) == "(?=" || rest.substr(0, 3) == "(?!" ||
           rest.substr(0, 4) == "(?<=" || rest.substr(0, 4) == "(?<!";
  }
  Index add_repeat(Index atom, Counts counts) {
    EcmaNode node;
    node.kind = EcmaKind::kRepeat;
    node.pure = tree_.nodes[atom].pure;
    node.min = counts.min;
    node.max = counts.max;
    node.shortest = static_cast<std::uint32_t>(std::min<std::uint64_t>(
        std::uint64_t{tree_.nodes[atom].shortest} * counts.min, kUnbounded));
    node.children = {atom};
    return add(std::move(node));
  }

  // nullopt: there is none. A lazy one has the same language.
  std::optional<Counts> read_quantifier() {
    std::optional<Counts> counts;
    if (take("*")) {
      counts = Counts{0, kUnbounded};
    } else if (take("+")) {
      counts = Counts{1, kUnbounded};
    } else if (take("?")) {
      counts = Counts{0, 1};
    } else {
      counts = read_braces();
    }
    if (!counts || failed()) return std::nullopt;
    take("?");
    if (peek() == '+') unsupported("a possessive quantifier is not part of ECMA-262");
    if (peek() == '*' || peek() == '?') invalid("nothing to repeat");
    return counts;
  }

  // {m}, {m,}, {m,n}; anything else is no quantifier.
  std::optional<Counts> read_braces() {
    if (peek() != '{') return std::nullopt;
    const std::size_t begin = at_;
    ++at_;
    const auto min = read_count();
    auto max = min;
    if (min && take(",")) {
      max = kUnbounded;
      if (peek() != '}') max = read_count();
    }
    if (!min || !max || !take("}")) {
      at_ = begin;
      return std::nullopt;
    }
    if (*min > *max) {
      at_ = begin;
      invalid("numbers out of order in {}");
      return std::nullopt;
    }
    if (*min > limits_.max_repeat || (*max != kUnbounded && *max > limits_.max_repeat)) {
      at_ = begin;
      unsupported("a repeat count is above " + std::to_string(limits_.max_repeat));
      return std::nullopt;
    }
    return Counts{*min, *max};
  }
  std::optional<std::uint32_t> read_count() {
    if (!is_digit(static_cast<unsigned char>(peek()))) return std::nullopt;
    std::uint64_t value = 0;
    while (is_digit(static_cast<unsigned char>(peek()))) {
      value = std::min<std::uint64_t>(10 * value + static_cast<std::uint64_t>(text_[at_++] - '0'),
                                      kUnbounded - 1);
    }
    return static_cast<std::uint32_t>(value);
  }

  Index read_atom() {
    switch (peek()) {
      case '^':
        ++at_;
        return add_assertion(EcmaKind::kStart);
      case '$':
        ++at_;
        return add_assertion(EcmaKind::kEnd);
      case '.':
        ++at_;
        return modifiers_.dot_is_all ? add_exact_set(CodePointSet().complement())
                                     : add_set(ecma_all_but_line_ends());
      case '(':
        return read_group();
      case '[':
        return read_class();
      case '\\':
        return read_escape();
      case '*':
      case '+':
      case '?':
        return invalid("nothing to repeat");
      case '{':
        if (read_braces() || failed()) return invalid("nothing to repeat");
        break;
      default:
        break;
    }
    return add_set(CodePointSet(take_code_point()));
  }

  Index read_group() {
    const std::size_t begin = at_;
    ++at_;
    EcmaNode look;
    look.pure = false;
    bool is_look = false;
    const Modifiers outside = modifiers_;
    if (take("?=") || take("?!")) {
      is_look = true;
      look.kind = EcmaKind::kLookahead;
      look.negative = text_[at_ - 1] == '!';
    } else if (take("?<=") || take("?<!")) {
      is_look = true;
      look.kind = EcmaKind::kLookbehind;
      look.negative = text_[at_ - 1] == '!';
    } else if (read_modifiers(':')) {
    } else if (next_is("?<") || next_is("?P<")) {
      read_group_name();
    } else if (peek() == '?') {
      at_ = begin;
      if (begin + 2 == text_.size()) return invalid("a group without )");
      return unsupported("a group that begins with " + std::string(text_.substr(begin, 3)) +
                         " cannot be enforced");
    }
    if (failed()) return 0;
    const Index body = read_alternatives();
    if (failed()) return 0;
    if (!take(")")) {
      at_ = begin;
      return invalid("a group without )");
    }
    modifiers_ = outside;
    if (!is_look) return body;
    look.children = {body};
    return add(std::move(look));
  }
  // ?:, ?i:, ?s-i: and so on, up to `end`. False, and nothing read, if it is something else.
  bool read_modifiers(char end) {
    if (peek() != '?') return false;
    const std::size_t begin = at_;
    Modifiers read = modifiers_;
    bool on = true;
    for (++at_; more() && peek() != end; ++at_) {
      const char c = peek();
      if (c == '-' && on) {
        on = false;
      } else if (c == 'i') {
        read.ignore_case = on;
      } else if (c == 's') {
        read.dot_is_all = on;
      } else {
        break;
      }
    }
    const bool empty = at_ == begin + 1;
    if (peek() != end || (empty && end == ')')) {
      at_ = begin;
      return false;
    }
    ++at_;
    modifiers_ = read;
    return true;
  }
  void read_group_name() {
    const std::size_t end = text_.find('>', at_);
    const std::size_t name = text_.find('<', at_) + 1;
    if (end == std::string_view::npos || end == name ||
        is_digit(static_cast<unsigned char>(text_[name]))) {
      invalid("a group's name");
      return;
    }
    at_ = end + 1;
  }

  // A backslash and what follows, outside a class.
  Index read_escape() {
    const char c = peek(1);
    if (c == 'b' || c == 'B') {
      at_ += 2;
      return add_assertion(EcmaKind::kBoundary, c == 'B');
    }
    if (c == 'k' || (c >= '1' && c <= '9')) {
      return unsupported("a back-reference is not regular and cannot be enforced");
    }
    auto set = read_class_escape();
    if (failed()) return 0;
    if (set) return add_set(std::move(*set));
    const char32_t one = read_character_escape();
    return failed() ? 0 : add_set(CodePointSet(one));
  }

  // \d \D \w \W \s \S \p{} \P{}; nullopt if it is none of them.
  std::optional<CodePointSet> read_class_escape() {
    const char c = peek(1);
    const bool negative = c >= 'A' && c <= 'Z';
    std::optional<CodePointSet> set;
    if (c == 'd' || c == 'D') set = ecma_digits();
    if (c == 'w' || c == 'W') set = ecma_word_characters();
    if (c == 's' || c == 'S') set = ecma_white_space();
    if (c == 'p' || c == 'P') return read_property(negative);
    if (!set) return std::nullopt;
    at_ += 2;
    return negative ? set->complement() : set;
  }
  std::optional<CodePointSet> read_property(bool negative) {
    const std::size_t end = text_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) {
      invalid("\\p without {a property}");
      return std::nullopt;
    }
    const std::string_view name = text_.substr(at_ + 3, end - at_ - 3);
    auto set = ecma_property(name);
    if (!set) {
      unsupported("the Unicode property \"" + std::string(name) + "\" is not known");
      return std::nullopt;
    }
    at_ = end + 1;
    return negative ? set->complement() : set;
  }

  // An escape that stands for one code point.
  char32_t read_character_escape() {
    const std::size_t begin = at_;
    ++at_;
    if (!more()) return invalid("\\ at the end");
    const char32_t c = take_code_point();
    switch (c) {
      case 't':
        return '\t';
      case 'n':
        return '\n';
      case 'v':
        return '\v';
      case 'f':
        return '\f';
      case 'r':
        return '\r';
      case 'c':
        if (!is_letter(static_cast<unsigned char>(peek()))) return invalid("\\c without a letter");
        return static_cast<unsigned char>(text_[at_++]) % 32U;
      case 'x':
        if (const auto value = read_hex(2)) return *value;
        return invalid_at(begin, "\\x without two hexadecimal digits");
      case 'u':
        return read_unicode_escape(begin);
      default:
        break;
    }
    if (c == '0' && !is_digit(static_cast<unsigned char>(peek()))) return 0;
    if (is_digit(c)) {
      at_ = begin;
      return unsupported("an octal escape is not part of ECMA-262's Unicode mode");
    }
    if (is_letter(c)) {
      at_ = begin;
      return unsupported(std::string("the escape \\") + static_cast<char>(c) +
                         " is not part of ECMA-262");
    }
    return c;
  }
  char32_t invalid_at(std::size_t at, std::string_view what) {
    at_ = at;
    return invalid(std::string(what));
  }

  std::optional<char32_t> read_hex(std::size_t digits) {
    char32_t value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const auto digit = hex_value(static_cast<unsigned char>(peek(i)));
      if (!digit) return std::nullopt;
      value = 16 * value + *digit;
    }
    at_ += digits;
    return value;
  }

  char32_t read_unicode_escape(std::size_t begin) {
    if (take("{")) {
      char32_t value = 0;
      std::size_t digits = 0;
      while (const auto digit = hex_value(static_cast<unsigned char>(peek()))) {
        value = std::min<char32_t>(16 * value + *digit, kCodePointEnd);
        ++at_;
        ++digits;
      }
      if (digits > 0 && value < kCodePointEnd && take("}")) return value;
      return invalid_at(begin, "\\u{} without a code point");
    }
    const auto unit = read_hex(4);
    if (!unit) return invalid_at(begin, "\\u without four hexadecimal digits");
    constexpr char32_t kHigh = 0xD800;
    constexpr char32_t kLow = 0xDC00;
    if (*unit < kHigh || *unit >= kLow || !next_is("\\u")) return *unit;
    const std::size_t behind = at_;
    at_ += 2;
    const auto low = read_hex(4);
    if (low && *low >= kLow && *low < 0xE000) {
      return 0x10000 + ((*unit - kHigh) << 10U) + (*low - kLow);
    }
    at_ = behind;
    return *unit;
  }

  Index read_class() {
    const std::size_t begin = at_;
    ++at_;
    const bool negative = take("^");
    CodePointSet set;
    while (more() && peek() != ']') {
      read_class_item(set);
      if (failed()) return 0;
    }
    if (!take("]")) {
      at_ = begin;
      return invalid("a character class without ]");
    }
    if (modifiers_.ignore_case) set = ecma_ignoring_case(set);
    return add_exact_set(negative ? set.complement() : std::move(set));
  }

  // One member, a range, or a class escape; '-' next to a class escape is itself (annex B).
  void read_class_item(CodePointSet& set) {
    CodePointSet first_set;
    const auto first = read_class_atom(first_set);
    if (failed()) return;
    if (peek() != '-' || peek(1) == ']' || at_ + 1 >= text_.size()) {
      if (first) first_set.add(*first, *first + 1);
      set.add(first_set);
      return;
    }
    const std::size_t dash = at_++;
    CodePointSet last_set;
    const auto last = read_class_atom(last_set);
    if (failed()) return;
    if (first && last) {
      if (*first > *last) {
        at_ = dash;
        invalid("a range out of order in a character class");
        return;
      }
      set.add(*first, *last + 1);
      return;
    }
    if (first) first_set.add(*first, *first + 1);
    if (last) last_set.add(*last, *last + 1);
    set.add(first_set);
    set.add(last_set);
    set.add('-', '-' + 1);
  }
  // The code point, or nullopt and a set.
  std::optional<char32_t> read_class_atom(CodePointSet& set) {
    if (peek() != '\\') return take_code_point();
    if (peek(1) == 'b') {
      at_ += 2;
      return '\b';
    }
    auto escape = read_class_escape();
    if (failed()) return std::nullopt;
    if (escape) {
      set = std::move(*escape);
      return std::nullopt;
    }
    return read_character_escape();
  }

  std::string_view text_;
  const GuidedLimits& limits_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Modifiers modifiers_;
  EcmaTree tree_;
  std::optional<Error> error_;
};

}  // namespace

Result<EcmaTree> read_ecma(std::string_view pattern, const GuidedLimits& limits) {
  return Reader(pattern, limits).read();
}

}  // namespace tessera::guided

#include "engine/text/regex_parser.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/text/regex_alphabet.hpp"
#include "engine/text/unicode_tables.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

constexpr std::size_t kPatternMax = std::size_t{64} << 10;  // bytes
constexpr std::size_t kGroupDepthMax = 50;

CodePointSet any_but_line_feed() {
  return CodePointSet(U'\n').complement();
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

char32_t RegexParser::take_code_point() {
  if (done()) throw RegexRefusal{"ends too early"};
  const Utf8Step step = utf8_step(pattern_.substr(at_));
  if (step.kind != Utf8Step::Kind::kValid) throw RegexRefusal{"is not UTF-8"};
  at_ += step.bytes;
  return step.code_point;
}

void RegexParser::parse() {
  if (pattern_.size() > kPatternMax) throw RegexRefusal{"is too long"};
  while (!done()) parse_atom();
  if (!groups_.empty()) throw RegexRefusal{"has an open parenthesis"};
}

void RegexParser::parse_atom() {
  const char32_t before = std::exchange(literal_before_, 0);
  if (atom_ != kNoAtom && parse_repetition()) return;
  switch (peek()) {
    case '(':
      ++at_;
      return open_group();
    case ')':
      ++at_;
      return close_group();
    case '[':
      ++at_;
      return put_set(parse_class(0));
    case '\\':
      ++at_;
      return parse_escape();
    case '.':
      ++at_;
      return put_set(any_but_line_feed());
    case '|':
    case '^':
    case '$':
      put(pattern_.substr(at_++, 1));
      atom_ = kNoAtom;
      return;
    case '*':
    case '+':
    case '?':
      throw RegexRefusal{"repeats nothing"};
    default:
      literal_before_ = before;
      return put_literal(take_code_point());
  }
}

// Two letters that together have a case variant of one character ("ss" and "ß") would need more
// than classes.
void RegexParser::put_literal(char32_t code_point) {
  const char32_t before = std::exchange(literal_before_, 0);
  if (!ignore_case_) return put_set(CodePointSet(code_point));
  const char32_t lower = to_lower(code_point).first;
  static constexpr std::array<std::pair<char, char>, 5> kFolds = {
      {{'s', 's'}, {'s', 't'}, {'f', 'f'}, {'f', 'i'}, {'f', 'l'}}};
  for (const auto& [first, second] : kFolds) {
    if (before == static_cast<char32_t>(first) && lower == static_cast<char32_t>(second)) {
      throw RegexRefusal{"has letters that a ligature matches, ignoring case"};
    }
  }
  put_set(CodePointSet(code_point));
  literal_before_ = lower;
}

void RegexParser::put_set(CodePointSet set) {
  if (ignore_case_) set = without_case(set);
  const auto known = std::find(sets.begin(), sets.end(), set);
  atom_ = pieces.size();
  pieces.push_back({"", static_cast<std::size_t>(known - sets.begin())});
  if (known == sets.end()) sets.push_back(std::move(set));
}

void RegexParser::open_group() {
  if (groups_.size() >= kGroupDepthMax) throw RegexRefusal{"has too many groups in each other"};
  Group group{pieces.size(), ignore_case_};
  atom_ = kNoAtom;
  static constexpr std::array<std::string_view, 6> kKinds = {"?:", "?=", "?!", "?<=", "?<!", "?>"};
  for (const std::string_view kind : kKinds) {
    if (!take_if(kind)) continue;
    put("(" + std::string(kind));
    groups_.push_back(group);
    return;
  }
  if (take_if("?i)")) {  // until the end of the group around it, which it must begin
    const std::size_t begin = groups_.empty() ? 0 : groups_.back().first_piece + 1;
    if (pieces.size() != begin) throw RegexRefusal{"has an option in the middle"};
    ignore_case_ = true;
    return;
  }
  if (take_if("?i:")) {
    ignore_case_ = true;
    put("(?:");
  } else if (peek() == '?') {
    throw RegexRefusal{"has a kind of group that is not supported"};
  } else {
    put("(");
  }
  groups_.push_back(group);
}

void RegexParser::close_group() {
  if (groups_.empty()) throw RegexRefusal{"closes a parenthesis that is not open"};
  put(")");
  atom_ = groups_.back().first_piece;
  ignore_case_ = groups_.back().ignore_case_before;
  groups_.pop_back();
}

void RegexParser::parse_escape() {
  const char escaped = take();
  if (auto set = escaped_set(escaped)) return put_set(std::move(*set));
  if (escaped == 'A' || escaped == 'z' || escaped == 'Z') {
    put(std::string("\\") + escaped);
    atom_ = kNoAtom;
    return;
  }
  if (escaped == 'b' || escaped == 'B') {  // in terms of \w, as classes have no word characters
    const CodePointSet& word = unicode_set(UnicodeTable::kWord);
    const bool edge = escaped == 'b';
    put("(?:(?<=");
    put_set(word);
    put(edge ? ")(?!" : ")(?=");
    put_set(word);
    put(")|(?<!");
    put_set(word);
    put(edge ? ")(?=" : ")(?!");
    put_set(word);
    put("))");
    atom_ = kNoAtom;
    return;
  }
  put_literal(escaped_code_point(escaped));
}

// The `{n,m}` at `at_` as PCRE2 writes it, and whether it is exactly `{n}`; at_ is behind it then.
std::optional<std::pair<std::string, bool>> RegexParser::bounds() {
  std::size_t end = at_ + 1;
  while (end < pattern_.size() && (is_digit(pattern_[end]) || pattern_[end] == ',')) ++end;
  const std::string_view inside = pattern_.substr(at_ + 1, end - at_ - 1);
  const std::size_t comma = inside.find(',');
  const bool one_comma = comma == inside.rfind(',');
  if (end >= pattern_.size() || pattern_[end] != '}' || inside.empty() || inside == "," ||
      !one_comma) {
    return std::nullopt;
  }
  at_ = end + 1;
  std::string text = "{" + std::string(comma == 0 ? "0" : "") + std::string(inside) + "}";
  return std::pair(std::move(text), comma == std::string_view::npos);
}

void RegexParser::wrap_atom() {
  pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(atom_), Piece{"(?:", kNoSet});
  put(")");
}

bool RegexParser::parse_repetition() {
  const char c = peek();
  if (c == '{') {
    const auto range = bounds();
    if (!range) return false;
    put(range->first);
    // What follows is no modifier of this repetition but repeats it; a lazy range is one, though.
    if (!range->second && take_if("?")) {
      put("?");
      wrap_atom();
    } else if (peek() == '+' || peek() == '*' || peek() == '?' || peek() == '{') {
      wrap_atom();
    } else {
      atom_ = kNoAtom;
    }
    return true;
  }
  if (c != '*' && c != '+' && c != '?') return false;
  put(std::string(1, take()));
  if (peek() == '?' || peek() == '+') {
    put(std::string(1, take()));
  }
  if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') {
    wrap_atom();
  } else {
    atom_ = kNoAtom;
  }
  return true;
}

namespace {

void append_byte(std::string& out, char byte) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  const auto value = static_cast<std::uint8_t>(byte);
  out.append({'\\', 'x', kDigits[value >> 4U], kDigits[value & 15U]});
}

// A class of PCRE2's with these bytes, given in ascending order; `all` there are.
std::string byte_class(const std::string& bytes, std::size_t all) {
  if (bytes.empty()) return "(?!)";
  if (bytes.size() == all) return R"([\x00-\xff])";
  std::string out;
  if (bytes.size() == 1) {
    append_byte(out, bytes.front());
    return out;
  }
  out = "[";
  for (const char byte : bytes) append_byte(out, byte);
  return out + "]";
}

}  // namespace

Result<TranslatedRegex> translate_regex(std::string_view pattern) {
  RegexParser parser(pattern);
  try {
    parser.parse();
  } catch (const RegexRefusal& refusal) {
    return Error{Code::kInvalidValue, "is not a regular expression we can run: it " + refusal.what +
                                          ", at byte " + std::to_string(parser.at())};
  }
  TranslatedRegex out;
  if (!out.classes.build(parser.sets)) {
    return Error{Code::kInvalidValue,
                 "is not a regular expression we can run: it has too many classes of characters"};
  }
  for (const RegexParser::Piece& piece : parser.pieces) {
    out.pattern +=
        piece.set == RegexParser::kNoSet
            ? piece.text
            : byte_class(out.classes.classes_of(parser.sets[piece.set]), out.classes.size());
  }
  return out;
}

}  // namespace tessera

// regex_classes.cpp — what a RegexParser reads as sets: escapes, properties and classes.
#include <array>
#include <cstdint>

#include "engine/text/regex_parser.hpp"
#include "engine/text/unicode_tables.hpp"

namespace tessera {
namespace {

constexpr int kClassDepthMax = 50;

CodePointSet hex_digits() {
  CodePointSet set;
  set.add('0', '9' + 1);
  set.add('A', 'F' + 1);
  set.add('a', 'f' + 1);
  return set;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Whether every letter beyond ASCII that is in `set` is there in both cases. (The table of cases is
// newer than that of letters.)
bool closed_beyond_ascii(const CodePointSet& set) {
  const CodePointSet& not_known = *property_set("C");
  for (const LowerRun& run : lower_runs()) {
    for (char32_t upper = run.first; upper <= run.last; upper += run.step) {
      const char32_t lower = to_lower(upper).first;
      if (lower < 0x80 || not_known.contains(upper) || not_known.contains(lower)) continue;
      if (set.contains(upper) != set.contains(lower)) return false;
    }
  }
  return true;
}

}  // namespace

CodePointSet without_case(const CodePointSet& set) {
  CodePointSet out = set;
  for (char32_t upper = 'A'; upper <= 'Z'; ++upper) {
    const char32_t lower = upper + 32;
    if (!set.contains(upper) && !set.contains(lower)) continue;
    out.add(upper, upper + 1);
    out.add(lower, lower + 1);
    if (lower == 's') out.add(0x17F, 0x180);    // the long s
    if (lower == 'k') out.add(0x212A, 0x212B);  // the Kelvin sign
  }
  if (!closed_beyond_ascii(out)) throw RegexRefusal{"has a letter beyond ASCII, ignoring case"};
  return out;
}

std::optional<CodePointSet> RegexParser::escaped_set(char escaped) {
  const auto either = [](const CodePointSet& set, bool negated) {
    return negated ? set.complement() : set;
  };
  switch (escaped) {
    case 's':
    case 'S':
      return either(unicode_set(UnicodeTable::kSpace), escaped == 'S');
    case 'w':
    case 'W':
      return either(unicode_set(UnicodeTable::kWord), escaped == 'W');
    case 'd':
    case 'D':
      return either(unicode_set(UnicodeTable::kNd), escaped == 'D');
    case 'h':
    case 'H':
      return either(hex_digits(), escaped == 'H');
    case 'p':
    case 'P':
      return property(escaped == 'P');
    default:
      return std::nullopt;
  }
}

CodePointSet RegexParser::property(bool negated) {
  if (take() != '{') throw RegexRefusal{"has a property without braces"};
  if (take_if("^")) negated = !negated;
  const std::size_t end = pattern_.find('}', at_);
  if (end == std::string_view::npos) throw RegexRefusal{"has a property without an end"};
  const std::string_view name = pattern_.substr(at_, end - at_);
  at_ = end + 1;
  const CodePointSet* set = property_set(name);
  if (!set) throw RegexRefusal{"has a property that is not supported, " + std::string(name)};
  return negated ? set->complement() : *set;
}

char32_t RegexParser::hex_code_point(std::size_t digits_max) {
  char32_t value = 0;
  std::size_t digits = 0;
  for (; digits < digits_max && hex_value(peek()) >= 0; ++digits) {
    value = value * 16 + static_cast<char32_t>(hex_value(take()));
  }
  if (digits == 0 || value >= kCodePointEnd) throw RegexRefusal{"has a bad hexadecimal escape"};
  return value;
}

char32_t RegexParser::escaped_code_point(char escaped) {
  static constexpr std::array<std::pair<char, char>, 7> kControls = {{{'n', '\n'},
                                                                      {'r', '\r'},
                                                                      {'t', '\t'},
                                                                      {'f', '\f'},
                                                                      {'v', '\v'},
                                                                      {'a', '\a'},
                                                                      {'e', '\x1B'}}};
  for (const auto& [name, control] : kControls) {
    if (escaped == name) return static_cast<char32_t>(control);
  }
  if (escaped == 'u') return hex_code_point(4);
  if (escaped == 'x') {
    if (!take_if("{")) return hex_code_point(2);
    const char32_t code_point = hex_code_point(8);
    if (!take_if("}")) throw RegexRefusal{"has a hexadecimal escape without an end"};
    return code_point;
  }
  const bool letter = to_lower(static_cast<std::uint8_t>(escaped)).first >= 'a' &&
                      to_lower(static_cast<std::uint8_t>(escaped)).first <= 'z';
  if (letter || (escaped >= '0' && escaped <= '9')) {
    throw RegexRefusal{std::string("has the escape \\") + escaped + ", which is not supported"};
  }
  --at_;
  return take_code_point();
}

CodePointSet RegexParser::parse_class(int depth) {
  if (depth >= kClassDepthMax) throw RegexRefusal{"has too many classes in each other"};
  const bool negated = take_if("^");
  CodePointSet set;
  std::optional<CodePointSet> intersected;
  bool first = true;
  while (first || peek() != ']') {
    if (take_if("&&")) {
      intersected = intersected ? intersected->intersection(set) : set;
      set = CodePointSet();
      continue;
    }
    bool is_single = false;
    char32_t single = 0;
    CodePointSet item = parse_class_item(depth, is_single, single);
    first = false;
    const bool is_range =
        is_single && peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']';
    if (!is_range) {
      set.add(item);
      continue;
    }
    ++at_;
    char32_t last = 0;
    parse_class_item(depth, is_single, last);
    if (!is_single || last < single) throw RegexRefusal{"has a bad range in a class"};
    set.add(single, last + 1);
  }
  ++at_;
  if (intersected) set = intersected->intersection(set);
  return negated ? set.complement() : set;
}

CodePointSet RegexParser::parse_class_item(int depth, bool& is_single, char32_t& single) {
  is_single = false;
  if (peek() == '[') {
    ++at_;
    if (peek() == ':') throw RegexRefusal{"has a POSIX class, which is not supported"};
    return parse_class(depth + 1);
  }
  if (peek() == '\\') {
    ++at_;
    const char escaped = take();
    if (auto set = escaped_set(escaped)) return std::move(*set);
    single = escaped == 'b' ? U'\b' : escaped_code_point(escaped);
  } else {
    single = take_code_point();
  }
  is_single = true;
  return CodePointSet(single);
}

}  // namespace tessera

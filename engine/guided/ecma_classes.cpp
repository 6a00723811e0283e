#include "engine/guided/ecma_classes.hpp"

#include <array>
#include <utility>

#include "engine/text/unicode_tables.hpp"

namespace tessera::guided {
namespace {

using Name = std::pair<std::string_view, std::string_view>;

// The long names of the general categories.
constexpr std::array kCategories{
    Name{"Letter", "L"},
    Name{"Uppercase_Letter", "Lu"},
    Name{"Lowercase_Letter", "Ll"},
    Name{"Titlecase_Letter", "Lt"},
    Name{"Modifier_Letter", "Lm"},
    Name{"Other_Letter", "Lo"},
    Name{"Mark", "M"},
    Name{"Combining_Mark", "M"},
    Name{"Nonspacing_Mark", "Mn"},
    Name{"Spacing_Mark", "Mc"},
    Name{"Enclosing_Mark", "Me"},
    Name{"Number", "N"},
    Name{"Decimal_Number", "Nd"},
    Name{"digit", "Nd"},
    Name{"Letter_Number", "Nl"},
    Name{"Other_Number", "No"},
    Name{"Punctuation", "P"},
    Name{"punct", "P"},
    Name{"Connector_Punctuation", "Pc"},
    Name{"Dash_Punctuation", "Pd"},
    Name{"Open_Punctuation", "Ps"},
    Name{"Close_Punctuation", "Pe"},
    Name{"Initial_Punctuation", "Pi"},
    Name{"Final_Punctuation", "Pf"},
    Name{"Other_Punctuation", "Po"},
    Name{"Symbol", "S"},
    Name{"Math_Symbol", "Sm"},
    Name{"Currency_Symbol", "Sc"},
    Name{"Modifier_Symbol", "Sk"},
    Name{"Other_Symbol", "So"},
    Name{"Separator", "Z"},
    Name{"Space_Separator", "Zs"},
    Name{"Line_Separator", "Zl"},
    Name{"Paragraph_Separator", "Zp"},
    Name{"Other", "C"},
    Name{"Control", "Cc"},
    Name{"cntrl", "Cc"},
    Name{"Format", "Cf"},
    Name{"Private_Use", "Co"},
};

// Scripts' short names.
constexpr std::array kScripts{
    Name{"Arab", "Arabic"},  Name{"Cyrl", "Cyrillic"}, Name{"Deva", "Devanagari"},
    Name{"Grek", "Greek"},   Name{"Hani", "Han"},      Name{"Hang", "Hangul"},
    Name{"Hebr", "Hebrew"},  Name{"Hira", "Hiragana"}, Name{"Kana", "Katakana"},
    Name{"Khmr", "Khmer"},   Name{"Laoo", "Lao"},      Name{"Latn", "Latin"},
    Name{"Mymr", "Myanmar"}, Name{"Thai", "Thai"},
};

template <class Names>
std::string_view resolve(const Names& names, std::string_view name) {
  for (const auto& [from, to] : names) {
    if (from == name) return to;
  }
  return name;
}

CodePointSet ranges(std::initializer_list<CodePointSet::Range> list) {
  CodePointSet set;
  for (const CodePointSet::Range& range : list) set.add(range.begin, range.end);
  return set;
}

std::optional<CodePointSet> known(std::string_view name, bool script) {
  // Scripts have names of four letters and more, categories of one or two.
  constexpr std::size_t kLongestCategory = 2;
  if (script != (name.size() > kLongestCategory)) return std::nullopt;
  const CodePointSet* set = property_set(name);
  return set == nullptr ? std::nullopt : std::optional(*set);
}

}  // namespace

const CodePointSet& ecma_digits() {
  static const CodePointSet kSet = ranges({{'0', '9' + 1}});
  return kSet;
}

const CodePointSet& ecma_word_characters() {
  static const CodePointSet kSet =
      ranges({{'0', '9' + 1}, {'A', 'Z' + 1}, {'_', '_' + 1}, {'a', 'z' + 1}});
  return kSet;
}

const CodePointSet& ecma_white_space() {
  static const CodePointSet kSet = ranges({{0x09, 0x0E},
                                           {0x20, 0x21},
                                           {0xA0, 0xA1},
                                           {0x1680, 0x1681},
                                           {0x2000, 0x200B},
                                           {0x2028, 0x202A},
                                           {0x202F, 0x2030},
                                           {0x205F, 0x2060},
                                           {0x3000, 0x3001},
                                           {0xFEFF, 0xFF00}});
  return kSet;
}

const CodePointSet& ecma_all_but_line_ends() {
  static const CodePointSet kSet =
      ranges({{0x0A, 0x0B}, {0x0D, 0x0E}, {0x2028, 0x202A}}).complement();
  return kSet;
}

std::optional<CodePointSet> ecma_property(std::string_view expression) {
  const std::size_t equals = expression.find('=');
  if (equals != std::string_view::npos) {
    const std::string_view property = expression.substr(0, equals);
    const std::string_view value = expression.substr(equals + 1);
    if (property == "General_Category" || property == "gc") {
      return known(resolve(kCategories, value), false);
    }
    if (property == "Script" || property == "sc") return known(resolve(kScripts, value), true);
    return std::nullopt;
  }
  if (expression == "Any") return ranges({{0, kCodePointEnd}});
  if (expression == "ASCII") return ranges({{0, 0x80}});
  if (expression == "ASCII_Hex_Digit" || expression == "AHex") {
    return ranges({{'0', '9' + 1}, {'A', 'F' + 1}, {'a', 'f' + 1}});
  }
  if (expression == "Assigned") return std::nullopt;
  if (auto category = known(resolve(kCategories, expression), false)) return category;
  return known(resolve(kScripts, expression), true);
}

CodePointSet ecma_ignoring_case(const CodePointSet& set) {
  CodePointSet out = set;
  const auto pair = [&](char32_t upper, char32_t lower) {
    if (set.contains(upper)) out.add(lower, lower + 1);
    if (set.contains(lower)) out.add(upper, upper + 1);
  };
  for (char32_t c = 'A'; c <= 'Z'; ++c) pair(c, c + 32);
  for (const LowerRun& run : lower_runs()) {
    for (char32_t c = run.first; c <= run.last; c += run.step) {
      pair(c, static_cast<char32_t>(static_cast<std::int32_t>(c) + run.delta));
    }
  }
  return out;
}

}  // namespace tessera::guided

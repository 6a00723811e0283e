// ECMA-262 patterns: what each construct means, and random patterns against PCRE2.
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <gtest/gtest.h>

#include "tests/engine/guided/regex_fixture.hpp"
#include "tests/engine/guided/regex_oracle.hpp"

namespace tessera::guided {
namespace {

// nullptr if PCRE2 does not take the pattern (a lookbehind of no fixed length).
std::shared_ptr<pcre2_code> pcre(const std::string& ecma) {
  std::string pattern;
  for (const char c : ecma) {  // what a line end is, they do not agree about
    if (c == '.') {
      pattern += "[^\\n\\r\\x{2028}\\x{2029}]";
    } else {
      pattern += c;
    }
  }
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &error, &at, nullptr);
  return {code, [](pcre2_code* c) { pcre2_code_free(c); }};
}

bool pcre_finds(pcre2_code* code, const std::string& text) {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(),
                     nullptr) >= 0;
}

class RandomPattern {
 public:
  explicit RandomPattern(std::mt19937& random) : random_(random) {}

  std::string make(int depth) {
    std::string out = sequence(depth);
    while (pick(4) == 0) out += '|' + sequence(depth);
    return out;
  }

 private:
  std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  template <class... Choices>
  std::string one_of(Choices... choices) {
    const std::string list[] = {choices...};
    return list[pick(sizeof...(choices))];
  }
  std::string sequence(int depth) {
    std::string out;
    for (std::uint32_t i = pick(4); i > 0; --i) out += term(depth);
    return out;
  }
  std::string term(int depth) {
    if (pick(6) == 0) return assertion(depth);
    return atom(depth) + (pick(3) == 0 ? quantifier() : "");
  }
  std::string atom(int depth) {
    if (depth > 0 && pick(3) == 0)
      return one_of("(", "(?:", "(?<n" + std::to_string(pick(1000000)) + ">") + make(depth - 1) +
             ')';
    return one_of("a", "b", "-", " ", ".", "[ab]", "[^a]", "\\w", "\\W", "[ \\t]", "\\d", "[^-b]",
                  "[\\w-]", "\\-");
  }
  std::string quantifier() {
    return one_of("*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,3}", "{2,}", "{1,3}?");
  }
  std::string assertion(int depth) {
    switch (pick(8)) {
      case 0:
        return "^";
      case 1:
        return "$";
      case 2:
        return "\\b";
      case 3:
        return "\\B";
      case 4:
        return "(?=" + make(depth > 0 ? depth - 1 : 0) + ')';
      case 5:
        return "(?!" + make(depth > 0 ? depth - 1 : 0) + ')';
      case 6:
        return one_of("(?<=a)", "(?<=-|ab)", "(?<=^|b)", "(?<=[ab]b)", "(?<=^a)", "(?<=)");
      default:
        return one_of("(?<!a)", "(?<!-|ab)", "(?<!^|b)", "(?<!.b)", "(?<!^a)");
    }
  }

  std::mt19937& random_;
};

std::vector<std::string> all_texts(std::size_t longest) {
  std::vector<std::string> texts{""};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() == longest) continue;
    for (const char c : {'a', 'b', '-', ' '}) texts.push_back(texts[i] + c);
  }
  texts.insert(texts.end(), {"a\nb", "\n", "a\n", "é", "aéb", "7", "b7-"});
  return texts;
}

TEST(EcmaRegex, FindsWhatPcreFinds) {
  const std::uint32_t seed = regex_oracle::seed();
  std::mt19937 random(seed);
  const auto texts = all_texts(4);
  int compared = 0;
  int refused = 0;
  for (int round = 0; round < regex_oracle::rounds(1500); ++round) {
    const std::string pattern = RandomPattern(random).make(2);
    const auto oracle = pcre(pattern);
    GuidedLimits limits;
    Fuel fuel(limits.compile_fuel);
    RegexPool pool(fuel, limits);
    try {
      const auto ours = parse_ecma_search(pattern, pool, limits);
      if (!ours) {
        EXPECT_NE(ours.error().code, Code::kInvalidValue) << pattern << ours.error().message;
        ++refused;
        continue;
      }
      if (!oracle) continue;
      ++compared;
      fuel.refill(100 * limits.compile_fuel);
      bool any = false;
      for (const std::string& text : texts) {
        const bool expected = pcre_finds(oracle.get(), text);
        any = any || expected;
        ASSERT_EQ(pool.matches(*ours, text), expected)
            << "seed " << seed << ": /" << pattern << "/ on \"" << text << '"';
      }
      if (any) {
        ASSERT_TRUE(pool.alive(*ours)) << pattern;
      }
      if (const auto example = pool.shortest(*ours)) {
        ASSERT_TRUE(pcre_finds(oracle.get(), *example)) << '/' << pattern << "/ on " << *example;
      } else {
        ASSERT_FALSE(any) << pattern;
      }
    } catch (const FuelExhausted&) {
      ADD_FAILURE() << "no fuel for " << pattern;
    }
  }
  std::cout << compared << " patterns compared, " << refused << " refused\n";
  EXPECT_GT(compared, 1000);
}

using EcmaRegexTest = RegexFixture;

TEST_F(EcmaRegexTest, APatternIsSearchedForUnlessItIsAnchored) {
  EXPECT_TRUE(finds("b", "abc"));
  EXPECT_TRUE(finds("", ""));
  EXPECT_TRUE(finds("^a", "abc"));
  EXPECT_FALSE(finds("^b", "abc"));
  EXPECT_TRUE(finds("c$", "abc"));
  EXPECT_FALSE(finds("c$", "c\n"));
  EXPECT_TRUE(pool.matches(*parse_ecma_whole("a|bc", pool, limits), "bc"));
  EXPECT_FALSE(pool.matches(*parse_ecma_whole("a|bc", pool, limits), "abc"));
}

TEST_F(EcmaRegexTest, AnchorsMayStandAnywhere) {
  EXPECT_TRUE(finds("a|^b", "bc"));
  EXPECT_FALSE(finds("x|^c", "bc"));
  EXPECT_TRUE(finds("(^a|b$)", "xb"));
  EXPECT_FALSE(finds("(^a|b$)", "xab "));
  EXPECT_TRUE(finds("^^a$$", "a"));
  EXPECT_FALSE(pool.alive(search("a^b")));
  EXPECT_FALSE(pool.alive(search("a$b")));
  EXPECT_TRUE(finds("^(a$|b)*$", "bba"));
  EXPECT_FALSE(finds("^(a$|b)*$", "bab"));
  EXPECT_TRUE(finds("^(\\/?((\\.{2})|([a-z0-9\\-]*))($|\\/))*$", "a/../b"));
  EXPECT_FALSE(finds("^(\\/?((\\.{2})|([a-z0-9\\-]*))($|\\/))*$", "a/.../b"));
}

TEST_F(EcmaRegexTest, WordBoundariesLookAtBothSides) {
  EXPECT_TRUE(finds("\\bfoo\\b", "a foo b"));
  EXPECT_FALSE(finds("\\bfoo\\b", "afoo b"));
  EXPECT_TRUE(finds("\\Bo", "foo"));
  EXPECT_FALSE(finds("^\\B", "foo"));
  EXPECT_TRUE(finds("^(\\b[a-z]+\\b ?)+$", "all these words"));
  EXPECT_TRUE(finds("\\w{1,50}\\b$", "word"));
  EXPECT_TRUE(finds("^\\b.{3,1000}\\b$", "a b"));
  EXPECT_FALSE(finds("^\\b.{3,1000}\\b$", "a b "));
  EXPECT_TRUE(finds("(?<=\\bre)do", "to redo"));
  EXPECT_FALSE(finds("(?<=\\bre)do", "predo"));
}

TEST_F(EcmaRegexTest, LookaroundsAreIntersections) {
  EXPECT_TRUE(finds("^(?=.*[A-Z])(?=.*\\d)[A-Za-z\\d]{8,}$", "Passw0rdX"));
  EXPECT_FALSE(finds("^(?=.*[A-Z])(?=.*\\d)[A-Za-z\\d]{8,}$", "PasswordX"));
  EXPECT_FALSE(finds("^(?!.*foo).*$", "afoob"));
  EXPECT_TRUE(finds("^((?!foo).)*$", "fo fo"));
  EXPECT_FALSE(finds("^((?!foo).)*$", "fo foo"));
  EXPECT_TRUE(finds("^a(?!b)[a-z]", "ac"));
  EXPECT_FALSE(finds("^a(?!b)[a-z]", "ab"));
  EXPECT_TRUE(finds("(?<=\\$)[0-9]+", "a $5"));
  EXPECT_FALSE(finds("(?<=\\$)[0-9]+", "a 5"));
  EXPECT_FALSE(finds("^[a-z]+(?<!ing)$", "going"));
  EXPECT_TRUE(finds("^[a-z]+(?<!ing)$", "goes"));
  EXPECT_TRUE(finds("(?<=^|,)x", "a,x"));
  EXPECT_TRUE(finds("^(?=a)*b$", "b"));  // annex B
}

TEST_F(EcmaRegexTest, ClassesAndEscapes) {
  EXPECT_TRUE(finds("^[\\w.-]+$", "a.b-c_D9"));
  EXPECT_TRUE(finds("^[a\\-z]+$", "a-z"));
  EXPECT_FALSE(finds("^[a\\-z]+$", "b"));
  EXPECT_TRUE(finds("^[\\b]$", "\b"));
  EXPECT_TRUE(finds("^[^]$", "\n"));
  EXPECT_FALSE(pool.alive(search("[]")));
  EXPECT_TRUE(finds("^[[:a]]$", ":]"));  // no POSIX classes in ECMA-262
  EXPECT_TRUE(finds("^\\x41\\u0042\\u{43}\\cJ\\0\\t$", std::string("ABC\n\0\t", 6)));
  EXPECT_TRUE(finds("^\\-\\_\\.\\/\\@$", "-_./@"));
  EXPECT_TRUE(finds("^]}{a{,5}$", "]}{a{,5}"));
  EXPECT_TRUE(finds("^\\s$", "\u00a0"));
  EXPECT_TRUE(finds("^\\s$", "\ufeff"));
  EXPECT_FALSE(finds("^\\d$", "\u0669"));
  EXPECT_FALSE(finds("^.$", "\u2028"));
  EXPECT_TRUE(finds("^.$", "\u0085"));
}

TEST_F(EcmaRegexTest, CodePointsBeyondSixteenBitsAreOneCharacter) {
  EXPECT_TRUE(finds("^.$", "😀"));
  EXPECT_TRUE(finds("^\\uD83D\\uDE00$", "😀"));
  EXPECT_TRUE(finds("^[\\uD83D\\uDE00-\\uD83D\\uDE4F]$", "😁"));
  EXPECT_TRUE(finds("^[😀-😎]{2}$", "😀😃"));
  EXPECT_TRUE(finds("^[^a]$", "😀"));
}

TEST_F(EcmaRegexTest, PropertiesAreCategoriesAndScripts) {
  EXPECT_TRUE(finds("^\\p{L}+$", "aéЖ"));
  EXPECT_TRUE(finds("^\\p{Lu}\\p{Lowercase_Letter}$", "Éé"));
  EXPECT_TRUE(finds("^\\p{Script=Greek}\\P{sc=Grek}$", "λl"));
  EXPECT_TRUE(finds("^[\\p{Nd}_]+$", "٣_3"));
  EXPECT_EQ(refusal("\\p{Nonsense}").code, Code::kUnsupportedParameter);
}

TEST_F(EcmaRegexTest, CaseMayBeIgnoredFromTheBeginning) {
  EXPECT_TRUE(finds("(?i)^straße[a-c]$", "STRAßEB"));
  EXPECT_FALSE(finds("(?i)^[^a]$", "A"));
  EXPECT_TRUE(finds("^a(?i:b)c$", "aBc"));
  EXPECT_FALSE(finds("^a(?i:b)c$", "aBC"));
  EXPECT_TRUE(finds("(?s)^.$", "\n"));
  EXPECT_FALSE(finds("(?i)^(?-i:b)$", "B"));
  EXPECT_EQ(refusal("a(?i)b").code, Code::kUnsupportedParameter);
  EXPECT_EQ(refusal("(?m)^b").code, Code::kUnsupportedParameter);
}

TEST_F(EcmaRegexTest, WhatIsNoExpressionIsRefusedWithItsPlace) {
  for (const std::string_view pattern :
       {"(", ")", "a)", "[", "[b-a]", "*", "a**", "a{2,1}", "{1}", "(?<1>a)", "\\", "\\x1",
        "\\u{110000}", "^*", "\\b+", "\\p{", "(?<=a)+", "(?"}) {
    EXPECT_EQ(refusal(pattern).code, Code::kInvalidValue) << pattern;
  }
  EXPECT_NE(refusal("abc[z").message.find("byte 3"), std::string::npos);
  EXPECT_EQ(refusal("\xFF").code, Code::kInvalidValue);
}

TEST_F(EcmaRegexTest, WhatCannotBeEnforcedIsRefusedByName) {
  for (const std::string_view pattern : {"(a)\\1", "(?<n>a)\\k<n>", "a++", "(?>a)", "(?(1)a)",
                                         "\\A", "\\Z", "\\012", "a{2000000}", "(?<=a$)b"}) {
    EXPECT_EQ(refusal(pattern).code, Code::kUnsupportedParameter) << pattern;
  }
  EXPECT_NE(refusal("(a)\\1").message.find("back-reference"), std::string::npos);
  EXPECT_EQ(refusal(std::string(200, '(')).code, Code::kUnsupportedParameter);
  EXPECT_EQ(refusal(std::string(20'000, 'a')).code, Code::kUnsupportedParameter);
}

}  // namespace
}  // namespace tessera::guided

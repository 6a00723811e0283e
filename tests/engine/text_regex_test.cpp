#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/text/code_point_set.hpp"
#include "engine/text/regex.hpp"
#include "engine/text/unicode_tables.hpp"

namespace tessera {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::compile(pattern);
  EXPECT_TRUE(regex) << pattern;
  std::vector<Regex::Match> found;
  if (regex) regex->find_all(text, found);
  std::vector<std::string> out;
  for (const Regex::Match& match : found) {
    out.emplace_back(text.substr(match.begin, match.end - match.begin));
  }
  return out;
}

using Strings = std::vector<std::string>;

TEST(Regex, ClassesAreSetsOfCodePoints) {
  EXPECT_EQ(matches("[a-cx]+", "abxzcc"), (Strings{"abx", "cc"}));
  EXPECT_EQ(matches("[^\\s\\p{L}]+", "a1- b"), (Strings{"1-"}));
  EXPECT_EQ(matches("[\\p{L}&&[^a-z]]+", "aÉBz中"), (Strings{"ÉB", "中"}));
  EXPECT_EQ(matches("[]a]+", "a]b"), (Strings{"a]"}));
  EXPECT_EQ(matches("[a-]+", "a-b"), (Strings{"a-"}));
  EXPECT_EQ(matches("\\p{^L}+", "a1é"), (Strings{"1"}));
  EXPECT_EQ(matches("\\x{4e00}|\\u00e9|\\xe8", "a\u4e00éè"), (Strings{"\u4e00", "é", "è"}));
  EXPECT_EQ(matches(".+", "ab\ncd"), (Strings{"ab", "cd"}));
}

TEST(Regex, PositionsAreBytesWhateverTheCharacters) {
  EXPECT_EQ(matches("b+", "éb中bb👍b"), (Strings{"b", "bb", "b"}));
  EXPECT_EQ(matches("\\p{N}", "٣x²"), (Strings{"٣", "²"}));
}

TEST(Regex, CaseIsIgnoredWhereTheOptionHolds) {
  EXPECT_EQ(matches("(?i:'s|'re)", "'S 'rE 'ſ's"), (Strings{"'S", "'rE", "'ſ", "'s"}));
  EXPECT_EQ(matches("(?i:a)b", "AB Ab ab"), (Strings{"Ab", "ab"}));
  EXPECT_EQ(matches("(?i)ab", "AB aB"), (Strings{"AB", "aB"}));
  EXPECT_EQ(matches("(?i:[^\\s\\p{L}]|k)", "a1 K"), (Strings{"1", "K"}));
}

TEST(Regex, RepetitionsAreRubys) {
  EXPECT_EQ(matches("\\d{1,3}+", "1234567"), (Strings{"1234567"}));  // not possessive
  EXPECT_EQ(matches("\\d{1,3}", "1234567"), (Strings{"123", "456", "7"}));
  EXPECT_EQ(matches("a++b|a", "aab aa"), (Strings{"aab", "a", "a"}));
  EXPECT_EQ(matches("a{,2}b", "aaab"), (Strings{"aab"}));
  EXPECT_EQ(matches("a{1,3}?", "aaa"), (Strings{"a", "a", "a"}));
  EXPECT_EQ(matches("a{b}", "a{b}"), (Strings{"a{b}"}));
}

TEST(Regex, AssertionsLookAround) {
  EXPECT_EQ(matches("\\s+(?!\\S)|\\s+", "a   b "), (Strings{"  ", " ", " "}));
  EXPECT_EQ(matches("(?<=a)b|(?<!a)c", "abcac"), (Strings{"b", "c"}));
  EXPECT_EQ(matches("\\bé\\w*", "xé étude"), (Strings{"étude"}));
  EXPECT_EQ(matches("^.|.$", "ab\ncd"), (Strings{"a", "b", "c", "d"}));
}

TEST(Regex, WhatIsNotSupportedIsRefused) {
  for (const char* pattern :
       {"(", ")", "[a", "a\\", "*a", "\\1", "(a)\\1", "\\p{Novel}", "\\pL", "(?<name>a)", "(?x)a",
        "[[:alpha:]]", "\\X", "[z-a]", "(?i:é)", "(?i:ss)", "a(?i)b", "\\x{110000}", "\xFF"}) {
    const auto regex = Regex::compile(pattern);
    EXPECT_FALSE(regex) << pattern;
    if (!regex) {
      EXPECT_NE(regex.error().message.find("regular expression"), std::string::npos);
    }
  }
}

TEST(Regex, AnyPatternCompilesOrIsRefused) {
  constexpr unsigned kSeed = 5;
  std::mt19937 random(kSeed);
  constexpr std::string_view kPieces = "ab()[]{}|*+?^$.\\-,&12pLsSwd:=!<>i\xC3\xA9";
  for (int round = 0; round < 20'000; ++round) {
    std::string pattern(random() % 12, ' ');
    for (char& c : pattern) c = kPieces[random() % kPieces.size()];
    const auto regex = Regex::compile(pattern);
    std::vector<Regex::Match> found;
    if (regex) regex->find_all("ab1 \u00e9\n--", found);
    for (const Regex::Match& match : found) ASSERT_LE(match.begin, match.end) << pattern;
  }
}

TEST(CodePointSet, IsWhatItsElementsSay) {
  constexpr unsigned kSeed = 9;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    CodePointSet set;
    CodePointSet other;
    std::vector<bool> in(400);
    std::vector<bool> in_other(400);
    for (int i = 0; i < 12; ++i) {
      const auto begin = static_cast<char32_t>(random() % 380);
      const char32_t end = begin + static_cast<char32_t>(random() % 20);
      (i % 2 == 0 ? set : other).add(begin, end);
      for (char32_t c = begin; c < end; ++c) (i % 2 == 0 ? in : in_other)[c] = true;
    }
    const CodePointSet complement = set.complement();
    const CodePointSet both = set.intersection(other);
    for (char32_t c = 0; c < 400; ++c) {
      ASSERT_EQ(set.contains(c), in[c]) << "seed " << kSeed << ", round " << round;
      ASSERT_EQ(complement.contains(c), !in[c]);
      ASSERT_EQ(both.contains(c), in[c] && in_other[c]);
    }
    for (std::size_t i = 1; i < set.ranges().size(); ++i) {
      ASSERT_LT(set.ranges()[i - 1].end, set.ranges()[i].begin);
    }
  }
}

TEST(UnicodeTables, KnowWhatTheLibraryKnows) {
  EXPECT_TRUE(property_set("L")->contains(0x31350));   // of Unicode 15
  EXPECT_TRUE(property_set("Lu")->contains(0x1C89));   // of Unicode 16
  EXPECT_FALSE(property_set("L")->contains(0x323B0));  // of Unicode 17
  EXPECT_TRUE(unicode_set(UnicodeTable::kSpace).contains(0x3000));
  EXPECT_FALSE(unicode_set(UnicodeTable::kSpace).contains(0x180E));
  EXPECT_TRUE(property_set("C")->contains(0x323B0));
  EXPECT_EQ(property_set("Novel"), nullptr);
}

TEST(UnicodeTables, LowerCase) {
  EXPECT_EQ(to_lower(U'A').first, U'a');
  EXPECT_EQ(to_lower(U'Ÿ').first, U'ÿ');
  EXPECT_EQ(to_lower(U'ā').first, U'ā');
  EXPECT_EQ(to_lower(U'Ā').first, U'ā');
  EXPECT_EQ(to_lower(U'İ').second, char32_t{0x307});
  EXPECT_EQ(to_lower(U'ẞ').first, U'ß');
}

}  // namespace
}  // namespace tessera

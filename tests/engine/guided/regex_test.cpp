#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/guided/regex_fixture.hpp"

namespace tessera::guided {
namespace {

using RegexPoolTest = RegexFixture;
constexpr auto kUnbounded = RegexPool::kUnbounded;

TEST_F(RegexPoolTest, EqualLanguagesByTheSimpleLawsAreOneTerm) {
  const RegexId a = range('a', 'a');
  const RegexId b = range('b', 'b');
  const RegexId ab = range('a', 'b');
  EXPECT_EQ(either(a, b), ab);
  EXPECT_EQ(either(b, a), either(a, b));
  EXPECT_EQ(both(ab, b), b);
  EXPECT_EQ(both(a, b), RegexPool::kNothing);
  EXPECT_EQ(pool.complement(pool.complement(ab)), ab);
  EXPECT_EQ(pool.complement(RegexPool::kNothing), RegexPool::kAnything);
  EXPECT_EQ(either(a, pool.complement(a)), RegexPool::kAnything);
  EXPECT_EQ(both(a, pool.complement(a)), RegexPool::kNothing);
  EXPECT_EQ(both(pool.complement(a), pool.complement(b)), pool.complement(ab));
  EXPECT_EQ(concat(concat(a, b), a), concat(a, concat(b, a)));
  EXPECT_EQ(concat(a, RegexPool::kNothing), RegexPool::kNothing);
  EXPECT_EQ(concat(RegexPool::kEmpty, a), a);
  EXPECT_EQ(concat(RegexPool::kAnything, RegexPool::kAnything), RegexPool::kAnything);
  EXPECT_EQ(either(RegexPool::kEmpty, pool.repeat(a, 1, 5)), pool.repeat(a, 0, 5));
  EXPECT_EQ(either(pool.repeat(a, 1, 3), pool.repeat(a, 4, 9)), pool.repeat(a, 1, 9));
  EXPECT_NE(either(pool.repeat(a, 1, 3), pool.repeat(a, 5, 9)), pool.repeat(a, 1, 9));
  EXPECT_EQ(pool.repeat(pool.repeat(a, 1, 100), 1, 100), pool.repeat(a, 1, 10'000));
  EXPECT_NE(pool.repeat(pool.repeat(a, 2, 2), 0, kUnbounded), pool.repeat(a, 0, kUnbounded));
  EXPECT_EQ(both(pool.repeat(ab, 2, kUnbounded), pool.length_between(0, 7)), pool.repeat(ab, 2, 7));
  EXPECT_EQ(pool.complement(pool.length_between(3, 5)),
            either(pool.length_between(0, 2), pool.length_between(6, ~0ULL)));
}

TEST_F(RegexPoolTest, SurrogatesAreInNoString) {
  CodePointSet surrogates;
  surrogates.add(0xD800, 0xE000);
  EXPECT_EQ(pool.set(surrogates), RegexPool::kNothing);
  EXPECT_EQ(pool.derivative(RegexPool::kAnything, 0xD800), RegexPool::kNothing);
  EXPECT_EQ(pool.derivative(pool.complement(range('a', 'a')), 0xDFFF), RegexPool::kNothing);
  EXPECT_EQ(pool.count(pool.any_code_point(), 10'000'000), 0x110000 - 0x800);
}

TEST_F(RegexPoolTest, CountedRepetitionStaysACount) {
  const RegexId many = pool.length_between(0, 100'000);
  EXPECT_EQ(pool.derivative(many, 'x'), pool.length_between(0, 99'999));
  const RegexId nested = search("^((a{1,100}b?){1,100}c?){1,100}$");
  RegexId at = nested;
  const std::uint64_t fuel_spent = spent([&] {
    for (int i = 0; i < 2000; ++i) at = pool.derivative(at, 'a');
  });
  EXPECT_NE(at, RegexPool::kNothing);
  EXPECT_LT(fuel_spent, 60'000);
}

TEST_F(RegexPoolTest, AFiniteSetOfAnySizeIsBuiltAndReadCheaply) {
  std::vector<std::string> strings;
  for (int i = 0; i < 50'000; ++i)
    strings.push_back("value-" + std::to_string(i * 7919 % 1'000'003));
  const std::vector<std::string_view> views(strings.begin(), strings.end());
  RegexId all = 0;
  EXPECT_LT(spent([&] { all = pool.any_of_literals(views); }), 20'000);
  EXPECT_LT(spent([&] {
              for (const std::string& text : strings) ASSERT_TRUE(pool.matches(all, text));
            }),
            10);
  EXPECT_FALSE(pool.matches(all, "value-"));
  EXPECT_FALSE(pool.matches(all, "value-1000004"));
  EXPECT_EQ(pool.count(all, 1'000'000), 50'000);
  EXPECT_EQ(pool.matches(pool.complement(all), strings[77]), false);
}

TEST_F(RegexPoolTest, LiteralsMayHoldAnythingThatIsUtf8) {
  const std::vector<std::string_view> views = {"", "é", "éa", "日本語", "😀", "a😀b", "a"};
  const RegexId all = pool.any_of_literals(views);
  for (const std::string_view text : views) EXPECT_TRUE(pool.matches(all, text)) << text;
  EXPECT_FALSE(pool.matches(all, "日本"));
  EXPECT_FALSE(pool.matches(all, "\xC3"));  // half an é
  EXPECT_EQ(pool.count(all, 100), views.size());
  const std::string longer(1000, 'x');
  EXPECT_TRUE(pool.matches(pool.literal(longer), longer));
  EXPECT_FALSE(pool.matches(pool.literal(longer), longer + "x"));
}

TEST_F(RegexPoolTest, LengthsAreDecidedWithoutASearch) {
  const std::uint64_t fuel_spent = spent([&] {
    EXPECT_TRUE(pool.alive(both(search("^[a-z]+$"), pool.length_between(500, ~0ULL))));
    EXPECT_TRUE(pool.alive(both(search("^[a-z]+-[0-9]{4}$"), pool.length_between(10, 2000))));
    EXPECT_FALSE(pool.alive(both(search("^[a-z]+-[0-9]{4}$"), pool.length_between(0, 5))));
    EXPECT_TRUE(pool.alive(both(search("^.*a.{1000}$"), pool.length_between(1001, 1001))));
    EXPECT_FALSE(pool.alive(both(search("^.*a.{1000}$"), pool.length_between(0, 1000))));
    EXPECT_TRUE(pool.alive(pool.complement(pool.literal("abc"))));
  });
  EXPECT_LT(fuel_spent, 20);
}

TEST_F(RegexPoolTest, AnEmptyLanguageIsFoundToBeOne) {
  EXPECT_FALSE(pool.alive(both(search("^(ab)*$"), pool.length_between(501, 501))));
  EXPECT_TRUE(pool.alive(both(search("^(ab)*$"), pool.length_between(500, 501))));
  EXPECT_FALSE(pool.alive(both(search("^a"), search("^b"))));
  EXPECT_FALSE(pool.alive(both(search("a"), search("^[^a]*$"))));
  EXPECT_FALSE(pool.alive(pool.complement(either(search("a"), search("^[^a]*$")))));
  EXPECT_FALSE(pool.alive(both(search("^(aa)*$"), search("^a(aa)*$"))));
}

TEST_F(RegexPoolTest, WhatCannotBeDecidedCheaplyEndsWithTheFuel) {
  const RegexId hard =
      both(search("^(a{23})*$"),
           both(search("^(a{29})*$"), both(search("^(a{31})*$"), search("^(a{37})*a$"))));
  fuel.refill(50'000);
  EXPECT_THROW(pool.alive(hard), FuelExhausted);
  fuel.refill(50'000'000);
  EXPECT_TRUE(pool.alive(either(hard, range('a', 'a'))));
}

TEST_F(RegexPoolTest, TheShortestStringIsShortAndReadable) {
  EXPECT_EQ(pool.shortest(RegexPool::kAnything), "");
  EXPECT_EQ(pool.shortest(RegexPool::kNothing), std::nullopt);
  EXPECT_EQ(pool.shortest(pool.length_between(3, 10)), "aaa");
  EXPECT_EQ(pool.shortest(search("^[0-9A-F]{2}-[A-Z]$")), "00-A");
  EXPECT_EQ(pool.shortest(both(search("^(ab|cde)+$"), pool.length_between(7, 7)))->size(), 7U);
  EXPECT_EQ(pool.shortest(search("^\\0$")), std::string(1, '\0'));
}

TEST_F(RegexPoolTest, AStringThatIsSpelledOutIsKnownToBeTheOnlyOne) {
  EXPECT_EQ(pool.only_string(search("^Abs$")), "Abs");
  EXPECT_EQ(pool.only_string(search("^\u00e9\\.[x]$")), "\u00e9.x");
  EXPECT_EQ(pool.only_string(RegexPool::kEmpty), "");
  for (const char* pattern : {"Abs", "^Abs", "Abs$", "^[ab]$", "^(a|b)c$", "^ab*$", "^a{2,3}$"}) {
    EXPECT_FALSE(pool.only_string(search(pattern))) << pattern;
  }
  EXPECT_FALSE(pool.only_string(RegexPool::kNothing));
}

TEST_F(RegexPoolTest, CountIsExactUpToItsLimit) {
  EXPECT_EQ(pool.count(RegexPool::kNothing, 9), 0U);
  EXPECT_EQ(pool.count(RegexPool::kEmpty, 9), 1U);
  EXPECT_EQ(pool.count(search("^[ab]{3}c?$"), 1000), 16U);
  EXPECT_EQ(pool.count(search("^[0-9]{9}$"), 2'000'000'000), 1'000'000'000U);
  EXPECT_EQ(pool.count(search("^a*$"), 5'000'000'000), 5'000'000'000U);
  EXPECT_EQ(pool.count(RegexPool::kAnything, 7), 7U);
}

// Words of a's and b's with as many b's as a's stand in it modulo 3.
class BalanceModulo3 : public Automaton {
 public:
  std::uint64_t start() const override { return 0; }
  std::uint64_t step(std::uint64_t state, char32_t c) const override {
    if (c == 'a') return (state + 1) % 3;
    return c == 'b' ? (state + 2) % 3 : kDead;
  }
  bool accepting(std::uint64_t state) const override { return state == 0; }
};

TEST_F(RegexPoolTest, AnAutomatonIsALanguageLikeAnyOther) {
  const RegexId balanced = pool.automaton(std::make_shared<BalanceModulo3>());
  EXPECT_TRUE(pool.matches(balanced,
                           "abaa"
                           "b"
                           "b"));
  EXPECT_FALSE(pool.matches(balanced, "aab"));
  EXPECT_TRUE(pool.matches(pool.complement(balanced), "aab"));
  EXPECT_TRUE(pool.matches(pool.complement(balanced), "é"));
  EXPECT_EQ(pool.shortest(both(balanced, search("^a+$"))), "aaa");
  EXPECT_EQ(pool.count(both(balanced, pool.length_between(0, 2)), 100), 3U);
}

TEST_F(RegexPoolTest, TheTablesAreCappedByTheConstraintsLimit) {
  limits.max_constraint_bytes = std::size_t{1} << 20;
  RegexPool small(fuel, limits);
  const auto pattern = parse_ecma_search("^(abc)*$", small, limits);
  const RegexId parts[] = {*pattern, small.length_between(1'000'000, 1'000'000)};
  fuel.refill(1'000'000'000);
  EXPECT_THROW(small.alive(small.both(parts)), FuelExhausted);
  EXPECT_LT(small.bytes(), std::size_t{3} << 20);
}

}  // namespace
}  // namespace tessera::guided

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/earley_recognizer.hpp"
#include "tests/engine/guided/grammar_fixture.hpp"
#include "tests/engine/guided/grammar_oracle.hpp"

namespace tessera::guided {
namespace {

std::vector<std::string> all_texts(const std::string& alphabet, std::size_t max_length) {
  std::vector<std::string> texts = {""};
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (texts[i].size() < max_length)
      for (const char c : alphabet) texts.push_back(texts[i] + c);
  return texts;
}

// What the enumeration of random grammars says of every short text, the recognizer says too.
struct Agreement {
  int grammars = 0;
  int refused = 0;
  int texts = 0;
  int far_ends = 0;  // live, with no end short enough for the enumeration
};

void compare(std::uint64_t seed, GrammarOracle::Syntax syntax, bool ignored, Agreement& sum) {
  const std::size_t length = ignored ? 6 : 8;
  GrammarOracle oracle(seed, length, ignored);
  const std::string source = oracle.print(syntax);
  SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + source);
  GrammarFixture made;
  Recognizer* recognizer =
      syntax == GrammarOracle::Syntax::kLark ? made.lark(source) : made.gbnf(source);
  ++sum.grammars;
  if (recognizer == nullptr) {
    ++sum.refused;
    ASSERT_TRUE(oracle.has_unproductive_rule()) << made.places() << made.findings[0].reason;
    return;
  }
  const Texts texts = oracle.texts();
  for (const std::string& text : all_texts(ignored ? "abc" : "ab", ignored ? 4 : 6)) {
    made.fuel.refill(made.limits.mask_fuel);
    ++sum.texts;
    const Position end = read(*recognizer, text);
    const auto extension = texts.lower_bound(text);
    const bool extends = extension != texts.end() && extension->starts_with(text);
    ASSERT_FALSE(extends && end.dead()) << "'" << text << "' can become " << *extension;
    if (end.dead()) continue;
    ASSERT_EQ(recognizer->accepting(end), texts.contains(text)) << "'" << text << "'";
    const std::string rest = recognizer->shortest_rest(end);
    ASSERT_TRUE(accepts(*recognizer, text + rest)) << "'" << text << "' + '" << rest << "'";
    ASSERT_EQ(rest.empty(), recognizer->accepting(end));
    if (text.size() + rest.size() <= length) {
      ASSERT_TRUE(texts.contains(text + rest)) << text << " + " << rest;
    } else {
      ASSERT_FALSE(extends) << "a shorter end than '" << rest << "' is " << *extension;
      ++sum.far_ends;
    }
    if (const auto byte = recognizer->forced(end)) {
      ASSERT_FALSE(recognizer->accepting(end));
      for (unsigned other = 0; other < 256; ++other)
        ASSERT_EQ(recognizer->step(end, static_cast<std::uint8_t>(other)).dead(), other != *byte)
            << "'" << text << "' forces " << *byte << ", which " << other << " contradicts";
    }
  }
}

TEST(Earley, AgreesWithEnumerationOnRandomGrammars) {
  const int count = std::getenv("TESSERA_LONG") != nullptr ? 20'000 : 300;
  Agreement sum;
  for (int seed = 1; seed <= count && !HasFatalFailure(); ++seed) {
    const auto syntax = seed % 2 == 0 ? GrammarOracle::Syntax::kLark : GrammarOracle::Syntax::kGbnf;
    compare(static_cast<std::uint64_t>(seed), syntax, false, sum);
  }
  EXPECT_LT(sum.refused, sum.grammars / 2);
  EXPECT_LT(sum.far_ends, sum.texts / 10);
}

TEST(Earley, AgreesWithEnumerationWhereTextIsIgnored) {
  const int count = std::getenv("TESSERA_LONG") != nullptr ? 5'000 : 60;
  Agreement sum;
  for (int seed = 1; seed <= count && !HasFatalFailure(); ++seed)
    compare(static_cast<std::uint64_t>(seed), GrammarOracle::Syntax::kLark, true, sum);
  EXPECT_LT(sum.refused, sum.grammars / 2);
  EXPECT_LT(sum.far_ends, sum.texts / 10);
}

// Reads `piece` again and again; the tables of the last three quarters of it must not grow.
void expect_constant_memory(Recognizer& recognizer, const std::string& begin,
                            const std::string& piece, Fuel& fuel) {
  Position position = read(recognizer, begin);
  std::size_t early = 0;
  for (int i = 0; i < 4000; ++i) {
    fuel.refill(100'000);
    position = read(recognizer, piece, position);
    ASSERT_FALSE(position.dead()) << i;
    if (i == 1000) early = recognizer.bytes();
  }
  EXPECT_EQ(recognizer.bytes(), early);
}

TEST(Earley, ListsAreLoopsWhicheverSideTheyRecurOn) {
  for (const char* list :
       {"list: \"x\" item | list \",\" \"x\" item", "list: \"x\" item | \"x\" item \",\" list",
        "list: \"x\" item [\",\" list]", "list: head tail\nhead: \"x\" item\ntail: | \",\" list",
        "list: \"x\" item (\",\" \"x\" item)*"}) {
    GrammarFixture made;
    Recognizer* recognizer =
        made.lark(std::string("start: \"[\" list \"]\"\nitem: \"(\" item \")\" | \"y\"\n") + list);
    ASSERT_NE(recognizer, nullptr) << made.places();
    expect_constant_memory(*recognizer, "[", "xy,xy,x((y)),", made.fuel);
    EXPECT_TRUE(accepts(*recognizer, "[xy,x(y)]")) << list;
    EXPECT_FALSE(live(*recognizer, "[xy,x(y))")) << list;
  }
}

TEST(Earley, UnitCyclesAndHiddenLeftRecursionEnd) {
  GrammarFixture made;
  Recognizer* recognizer = made.gbnf(
      "root ::= a \".\"\n a ::= a | b | \"x\" a \"y\"\n b ::= a | none b \"z\" | \"w\"\n"
      "none ::= \"\" | none none");
  ASSERT_NE(recognizer, nullptr) << made.places();
  EXPECT_TRUE(accepts(*recognizer, "w."));
  EXPECT_TRUE(accepts(*recognizer, "xwzzyz."));
  EXPECT_FALSE(live(*recognizer, "xwz."));
  EXPECT_FALSE(live(*recognizer, "wy"));
}

TEST(Earley, TokenisationsThatAGreedyLexerWouldMissAreFound) {
  GrammarFixture made;
  Recognizer* recognizer = made.lark("start: A B\nA: /a+/\nB: \"ab\"\n%ignore \" \"");
  ASSERT_NE(recognizer, nullptr);
  EXPECT_TRUE(accepts(*recognizer, "aaab"));
  EXPECT_TRUE(accepts(*recognizer, " aa  ab "));
  EXPECT_FALSE(live(*recognizer, "a b"));
  EXPECT_FALSE(accepts(*recognizer, "ab"));
  EXPECT_TRUE(live(*recognizer, "a"));
}

TEST(Earley, HalfOfACodePointIsLiveOnlyIfALegalOneCanStillComeOfIt) {
  GrammarFixture made;
  Recognizer* recognizer = made.gbnf("root ::= [é-ô] root \"!\" | \"-\"");
  ASSERT_NE(recognizer, nullptr);
  EXPECT_TRUE(live(*recognizer, "\xC3"));
  EXPECT_TRUE(accepts(*recognizer, "é-!"));
  EXPECT_FALSE(live(*recognizer, "\xC3\xA8"));
  EXPECT_FALSE(live(*recognizer, "\xC2"));
  EXPECT_EQ(recognizer->shortest_rest(read(*recognizer, "\xC3")), "\xA9-!");
}

TEST(Earley, ARowOfTooManyItemsRunsOutOfFuelAndTheRecognizerGoesOn) {
  GuidedLimits limits;
  limits.max_earley_items = 300;
  GrammarFixture made(limits);
  Recognizer* recognizer = made.gbnf("root ::= x+ root \"b\" | x+ \"b\"\nx ::= \"a\" | x x");
  ASSERT_NE(recognizer, nullptr);
  const std::string many(2000, 'a');
  EXPECT_THROW((void)read(*recognizer, many), FuelExhausted);
  EXPECT_TRUE(accepts(*recognizer, "aaaabb"));
  EXPECT_THROW((void)read(*recognizer, many), FuelExhausted);
}

TEST(Earley, NothingButTheEndFollowsAFinishedText) {
  GrammarFixture made;
  Recognizer* recognizer = made.gbnf("root ::= \"a\" x\nx ::= \"(\" x \")\" | \"b\"?");
  ASSERT_NE(recognizer, nullptr);
  EXPECT_FALSE(recognizer->finished(read(*recognizer, "a")));
  EXPECT_TRUE(recognizer->accepting(read(*recognizer, "a")));
  EXPECT_TRUE(recognizer->finished(read(*recognizer, "a(b)")));
  EXPECT_EQ(recognizer->forced(read(*recognizer, "a(b")), std::uint8_t{')'});
  EXPECT_EQ(recognizer->forced(read(*recognizer, "a(")), std::nullopt);
}

}  // namespace
}  // namespace tessera::guided

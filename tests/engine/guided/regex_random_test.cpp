// Random terms against what they mean: a term is built beside a plain description of it, and every
// question is asked of both.
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/regex_pool.hpp"
#include "engine/guided/text_dfa.hpp"
#include "tests/engine/guided/regex_oracle.hpp"

namespace tessera::guided {
namespace {

using regex_oracle::Meaning;
using regex_oracle::random_meaning;

// Every string over "abc" of up to `longest` characters.
std::vector<std::string> all_strings(std::size_t longest) {
  std::vector<std::string> strings{""};
  for (std::size_t i = 0; i < strings.size(); ++i) {
    if (strings[i].size() == longest) continue;
    for (const char c : {'a', 'b', 'c'}) strings.push_back(strings[i] + c);
  }
  return strings;
}

class RandomRegex : public ::testing::Test {
 protected:
  static constexpr std::size_t kLongest = 6;
  const std::vector<std::string> strings = all_strings(kLongest);
};

TEST_F(RandomRegex, TermsMeanWhatTheyWereBuiltFrom) {
  const std::uint32_t seed = regex_oracle::seed();
  std::mt19937 random(seed);
  for (int round = 0; round < regex_oracle::rounds(300); ++round) {
    GuidedLimits limits;
    Fuel fuel(limits.compile_fuel);
    RegexPool pool(fuel, limits);
    const auto meaning = random_meaning(random, 4);
    const RegexId term = meaning->build(pool);
    std::size_t shortest = kLongest + 1;
    for (const std::string& text : strings) {
      const bool expected = meaning->holds(text);
      ASSERT_EQ(pool.matches(term, text), expected) << "seed " << seed << " round " << round << ": "
                                                    << meaning->print() << " on \"" << text << '"';
      if (expected) shortest = std::min(shortest, text.size());
    }
    if (shortest <= kLongest) {
      ASSERT_TRUE(pool.alive(term)) << meaning->print();
    }
    const auto found = pool.shortest(term);
    ASSERT_EQ(found.has_value(), pool.alive(term)) << meaning->print();
    if (found) {
      ASSERT_TRUE(meaning->holds(*found)) << meaning->print() << " has no \"" << *found << '"';
      if (shortest <= kLongest) {
        ASSERT_LE(regex_oracle::num_code_points(*found), shortest) << meaning->print();
      }
    }
  }
}

TEST_F(RandomRegex, CountIsTheNumberOfStringsOfAFiniteLanguage) {
  const std::uint32_t seed = regex_oracle::seed();
  std::mt19937 random(seed);
  for (int round = 0; round < regex_oracle::rounds(200); ++round) {
    GuidedLimits limits;
    Fuel fuel(limits.compile_fuel);
    RegexPool pool(fuel, limits);
    const auto meaning = random_meaning(random, 3);
    CodePointSet abc;
    abc.add('a', 'd');
    const RegexId parts[] = {meaning->build(pool), pool.repeat(pool.set(abc), 0, kLongest)};
    std::uint64_t expected = 0;
    for (const std::string& text : strings) expected += meaning->holds(text) ? 1U : 0U;
    const RegexId term = pool.both(parts);
    ASSERT_EQ(pool.count(term, 1'000'000), expected) << "seed " << seed << meaning->print();
    ASSERT_EQ(pool.count(term, 5), std::min<std::uint64_t>(5, expected));
    ASSERT_EQ(pool.alive(term), expected > 0) << meaning->print();
  }
}

TEST_F(RandomRegex, TheAutomatonAgreesWithTheTermsAndHasNoDeadEnds) {
  const std::uint32_t seed = regex_oracle::seed();
  std::mt19937 random(seed);
  for (int round = 0; round < regex_oracle::rounds(150); ++round) {
    GuidedLimits limits;
    Fuel fuel(limits.compile_fuel);
    RegexPool pool(fuel, limits);
    TextDfa dfa(pool);
    const auto must = random_meaning(random, 3);
    const auto also = random_meaning(random, 3);
    const RegexId must_term = must->build(pool);
    const RegexId also_term = also->build(pool);
    const TextDfa::State start = dfa.start(must_term, {&also_term, 1});
    for (const std::string& text : strings) {
      TextDfa::State state = start;
      for (const char c : text) state = dfa.step(state, static_cast<unsigned char>(c));
      ASSERT_EQ(dfa.accepts(state), must->holds(text)) << "seed " << seed << must->print();
      if (state == TextDfa::kDead) continue;
      ASSERT_EQ(dfa.matches(state, 0), also->holds(text)) << "seed " << seed << also->print();
      const std::string rest = dfa.shortest_rest(state);
      ASSERT_TRUE(must->holds(text + rest))
          << "seed " << seed << must->print() << " on " << text << " + " << rest;
      const char32_t forced = dfa.forced(state);
      if (forced != 0) {
        ASSERT_NE(dfa.step(state, forced), TextDfa::kDead);
        ASSERT_FALSE(dfa.any_step(state, 0, forced));
        ASSERT_FALSE(dfa.any_step(state, forced + 1, kCodePointEnd));
      }
    }
  }
}

TEST_F(RandomRegex, WhateverIsReadWithinALoopStaysAlive) {
  const std::uint32_t seed = regex_oracle::seed();
  std::mt19937 random(seed);
  int loops = 0;
  for (int round = 0; round < regex_oracle::rounds(400); ++round) {
    GuidedLimits limits;
    Fuel fuel(limits.compile_fuel);
    RegexPool pool(fuel, limits);
    TextDfa dfa(pool);
    TextDfa::State state = dfa.start(random_meaning(random, 4)->build(pool));
    for (int i = 0; i < 4 && state != TextDfa::kDead; ++i) {
      const TextLoop loop = dfa.loop(state);
      if (loop.set != 0) {
        ++loops;
        const auto ranges = dfa.loop_set(loop.set).ranges();
        for (int walk = 0; walk < 8; ++walk) {
          TextDfa::State at = state;
          for (std::uint32_t k = 0; k < std::min<std::uint32_t>(loop.remaining, 20); ++k) {
            const auto& range = ranges[random() % ranges.size()];
            const auto offset = random() % std::min<char32_t>(range.end - range.begin, 40);
            const char32_t c = range.begin + static_cast<char32_t>(offset);
            at = dfa.step(at, c);
            ASSERT_NE(at, TextDfa::kDead) << "seed " << seed << " round " << round;
          }
        }
      }
      state = dfa.step(state, U"abcd"[random() % 4]);
    }
  }
  EXPECT_GT(loops, 100);
}

TEST_F(RandomRegex, WhatIsSeenUpToAHorizonIsTheSameUpToThere) {
  const std::uint32_t seed = regex_oracle::seed();
  std::mt19937 random(seed);
  constexpr std::uint32_t kHorizon = 3;
  int shared = 0;
  for (int round = 0; round < regex_oracle::rounds(400); ++round) {
    GuidedLimits limits;
    Fuel fuel(limits.compile_fuel);
    RegexPool pool(fuel, limits);
    TextDfa dfa(pool);
    auto meaning = random_meaning(random, 3);
    const RegexId also = random_meaning(random, 2)->build(pool);
    const RegexId parts[] = {meaning->build(pool),
                             pool.length_between(random() % 8, 5 + random() % 8)};
    const TextDfa::State start =
        dfa.start(round % 2 == 0 ? pool.both(parts) : pool.concat(parts), {&also, 1});
    const TextDfa::State seen = dfa.seen_up_to(start, kHorizon);
    shared += seen != start ? 1 : 0;
    for (const std::string& text : strings) {
      if (text.size() > kHorizon) break;
      TextDfa::State a = start;
      TextDfa::State b = seen;
      for (const char c : text) a = dfa.step(a, static_cast<unsigned char>(c));
      for (const char c : text) b = dfa.step(b, static_cast<unsigned char>(c));
      const auto told = [&](TextDfa::State state) {
        return std::tuple(state != TextDfa::kDead, dfa.accepts(state), dfa.matches(state, 0));
      };
      ASSERT_EQ(told(a), told(b)) << "seed " << seed << " round " << round << " on " << text;
    }
  }
  EXPECT_GT(shared, 20);
}

}  // namespace
}  // namespace tessera::guided

#include "engine/guided/text_dfa.hpp"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/engine/guided/regex_fixture.hpp"

namespace tessera::guided {
namespace {

class TextDfaTest : public RegexFixture {
 protected:
  TextDfa::State read(TextDfa::State state, std::string_view ascii) {
    for (const char c : ascii) state = dfa.step(state, static_cast<unsigned char>(c));
    return state;
  }
  TextLoop loop(RegexId language) { return dfa.loop(dfa.start(language)); }
  // The ASCII members of a loop's set, and "+" if it has any beyond.
  std::string members(const TextLoop& of) {
    std::string out;
    const CodePointSet& set = dfa.loop_set(of.set);
    for (char c = ' '; c < 0x7F; ++c) {
      if (set.contains(static_cast<unsigned char>(c))) out += c;
    }
    return out + (set.contains(0x4E00) ? "+" : "");
  }

  TextDfa dfa{pool};
};

TEST_F(TextDfaTest, ALiveStateAlwaysHasAnEnd) {
  const TextDfa::State start = dfa.start(both(search("^(ab)*$"), pool.length_between(3, 5)));
  EXPECT_NE(start, TextDfa::kDead);
  EXPECT_FALSE(dfa.accepts(start));
  EXPECT_TRUE(dfa.accepts(read(start, "abab")));
  EXPECT_EQ(read(start, "ababa"), TextDfa::kDead);  // six would be too many
  EXPECT_EQ(dfa.shortest_rest(read(start, "a")), "bab");
  EXPECT_EQ(dfa.start(RegexPool::kNothing), TextDfa::kDead);
  EXPECT_EQ(dfa.start(both(search("^(ab)*$"), pool.length_between(3, 3))), TextDfa::kDead);
}

TEST_F(TextDfaTest, OtherLanguagesAreFollowedButDoNotDecideWhatIsAlive) {
  const RegexId also[] = {search("^a"), search("b$")};
  const TextDfa::State start = dfa.start(search("^[ab]*$"), also);
  const TextDfa::State state = read(start, "ba");
  ASSERT_NE(state, TextDfa::kDead);
  EXPECT_TRUE(dfa.accepts(state));
  EXPECT_FALSE(dfa.matches(state, 0));
  EXPECT_FALSE(dfa.matches(state, 1));
  EXPECT_TRUE(dfa.matches(read(state, "b"), 1));
  EXPECT_EQ(read(start, "bab"), read(start, "babab"));
}

TEST_F(TextDfaTest, ALoopIsWhateverCannotEndTheText) {
  EXPECT_EQ(members(loop(RegexPool::kAnything)).back(), '+');
  EXPECT_EQ(loop(RegexPool::kAnything).remaining, RegexPool::kUnbounded);
  EXPECT_EQ(members(loop(search("^[a-h]*$"))), "abcdefgh");
  EXPECT_EQ(loop(pool.length_between(0, 100'000)).remaining, 100'000U);
  EXPECT_EQ(loop(pool.length_between(500, ~0ULL)).remaining, RegexPool::kUnbounded);
  EXPECT_EQ(loop(both(search("^[a-z]+$"), pool.length_between(10, 2000))).remaining, 2000U);
  EXPECT_EQ(loop(both(search("^[a-z]*-[0-9]{4}$"), pool.length_between(10, 100))).remaining, 95U);
  EXPECT_EQ(loop(pool.complement(pool.literal("no"))).remaining, RegexPool::kUnbounded);
  EXPECT_EQ(loop(search("^[0-9a-f]{8}-")).remaining, 8U);
  EXPECT_EQ(loop(search("^a$")).set, 0U);
  EXPECT_EQ(dfa.loop(TextDfa::kDead).set, 0U);
}

TEST_F(TextDfaTest, StatesThatGoOnWithTheSameCharactersAreOneLoop) {
  const TextDfa::State start = dfa.start(search("^([A-Ca-c]+[ ,.]*)+$"));
  EXPECT_EQ(members(dfa.loop(read(start, "a"))), " ,.ABCabc");
  EXPECT_EQ(dfa.loop(read(start, "a")).remaining, RegexPool::kUnbounded);
  EXPECT_EQ(dfa.loop(read(start, "a")).set, dfa.loop(read(start, "a, ")).set);
}

TEST_F(TextDfaTest, ForcedIsTheOnlyWayOn) {
  const TextDfa::State start = dfa.start(search("^(abc|abd)é?$"));
  EXPECT_EQ(dfa.forced(start), U'a');
  EXPECT_EQ(dfa.forced(read(start, "a")), U'b');
  EXPECT_EQ(dfa.forced(read(start, "ab")), 0U);
  EXPECT_EQ(dfa.forced(read(start, "abc")), 0U);  // it may end here
}

TEST_F(TextDfaTest, AnyStepLooksAtARangeOfCodePoints) {
  const TextDfa::State start = dfa.start(search("^[a-fé\\u4e00-\\u4eff]$"));
  EXPECT_TRUE(dfa.any_step(start, 0, kCodePointEnd));
  EXPECT_TRUE(dfa.any_step(start, 0xE9, 0xEA));
  EXPECT_FALSE(dfa.any_step(start, 0xEA, 0x4E00));
  EXPECT_TRUE(dfa.any_step(start, 0x4EF0, 0x5000));
  EXPECT_FALSE(dfa.any_step(start, 'g', 'z'));
  EXPECT_FALSE(dfa.any_step(dfa.start(RegexPool::kAnything), 0xD800, 0xE000));
}

TEST_F(TextDfaTest, BoundsBeyondTheHorizonAreNotSeen) {
  const TextDfa::State far = dfa.start(pool.length_between(0, 100'000));
  const TextDfa::State further = read(far, "abcdef");
  EXPECT_NE(far, further);
  EXPECT_EQ(dfa.seen_up_to(far, 128), dfa.seen_up_to(further, 128));
  EXPECT_EQ(dfa.mask_state(further), further);
  pool.set_horizon(128);
  EXPECT_EQ(dfa.mask_state(further), dfa.mask_state(far));
  const TextDfa::State near = dfa.start(pool.length_between(0, 100));
  EXPECT_EQ(dfa.seen_up_to(near, 128), near);
  const TextDfa::State pattern = dfa.start(search("^[a-z]{1,500}-x$"));
  EXPECT_EQ(dfa.seen_up_to(read(pattern, "ab"), 64), dfa.seen_up_to(read(pattern, "abc"), 64));
}

TEST_F(TextDfaTest, HostilePatternsCostLittleForEachState) {
  struct Case {
    std::string_view pattern;
    char32_t repeated;
  };
  for (const Case& hostile :
       {Case{"^((a{1,100}){1,100}){1,100}$", 'a'}, Case{"^((a{1,100}b?){1,100}c?){1,100}$", 'a'},
        Case{"^.*a.{15}$", 'a'}, Case{"^.*a.{1000}$", 'a'}, Case{"^(x?){1000}x{1000}$", 'x'},
        Case{"^((a*)*b|(a+)+c)$", 'a'}, Case{"^(a|aa)+$", 'a'}, Case{"^[^]{1000000}$", 'a'},
        Case{"^(.{1,50},?){1,50}$", 'a'}}) {
    fuel.refill(limits.compile_fuel);
    TextDfa::State state = dfa.start(search(hostile.pattern));
    for (int i = 0; i < 1000; ++i) state = dfa.step(state, hostile.repeated);
    EXPECT_NE(state, TextDfa::kDead) << hostile.pattern;
    EXPECT_LT(limits.compile_fuel - fuel.left(), 200'000) << hostile.pattern;
  }
  EXPECT_LT(dfa.bytes() + pool.bytes(), std::size_t{16} << 20);
}

}  // namespace
}  // namespace tessera::guided

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "engine/text/stop_strings.hpp"

namespace tessera {
namespace {

TEST(StopStrings, TextBeforeTheStopIsShownAndTheStopIsNot) {
  StopStrings stops({"END"});
  EXPECT_EQ(stops.push("hello END world"), "hello ");
  EXPECT_EQ(stops.hit(), "END");
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.flush(), "");
}

TEST(StopStrings, APossibleBeginningIsHeldBackUntilItIsDecided) {
  StopStrings stops({"</s>"});
  EXPECT_EQ(stops.push("a</"), "a");
  EXPECT_EQ(stops.push("b"), "</b");
  EXPECT_EQ(stops.push("<"), "");
  EXPECT_EQ(stops.push("</s"), "<");
  EXPECT_EQ(stops.push(">x"), "");
  EXPECT_EQ(stops.hit(), "</s>");
}

TEST(StopStrings, FlushGivesWhatWasHeldBack) {
  StopStrings stops({"\n\n"});
  EXPECT_EQ(stops.push("end\n"), "end");
  EXPECT_EQ(stops.flush(), "\n");
  EXPECT_FALSE(stops.hit());
}

TEST(StopStrings, AStopThatOverlapsItselfIsFound) {
  StopStrings stops({"aab"});
  EXPECT_EQ(stops.push("aaab"), "a");
  EXPECT_EQ(stops.hit(), "aab");
}

TEST(StopStrings, TheFirstToBeCompleteWins) {
  StopStrings stops({"abcd", "bc"});
  EXPECT_EQ(stops.push("xabcd"), "xa");
  EXPECT_EQ(stops.hit(), "bc");
}

TEST(StopStrings, OfTwoThatEndTogetherTheLongerWins) {
  StopStrings stops({"c", "abc"});
  EXPECT_EQ(stops.push("xabc"), "x");
  EXPECT_EQ(stops.hit(), "abc");
}

TEST(StopStrings, WithoutStopsTextPassesThrough) {
  StopStrings stops({"", ""});
  EXPECT_EQ(stops.push("anything"), "anything");
  EXPECT_EQ(stops.flush(), "");
}

// Against the plain search: whatever the pieces, what is shown is the text before the first stop to
// be complete.
TEST(StopStrings, AnyCutOfTheTextGivesTheSame) {
  constexpr unsigned kSeed = 5;
  std::mt19937 random(kSeed);
  const auto word = [&random](std::size_t size) {
    std::string out(size, 'a');
    for (char& c : out) c = static_cast<char>('a' + random() % 2);
    return out;
  };
  for (int round = 0; round < 5000; ++round) {
    const std::vector<std::string> all = {word(1 + random() % 5), word(2 + random() % 5)};
    const std::string text = word(random() % 20);
    std::size_t best_end = std::string::npos;
    std::size_t best_begin = text.size();
    for (const std::string& stop : all) {
      const std::size_t at = text.find(stop);
      if (at == std::string::npos) continue;
      const std::size_t end = at + stop.size();
      if (end > best_end && best_end != std::string::npos) continue;
      best_begin = end == best_end ? std::min(best_begin, at) : at;
      best_end = end;
    }
    StopStrings stops(all);
    std::string shown;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = 1 + random() % 4;
      shown += stops.push(text.substr(at, size));
      at += size;
    }
    shown += stops.flush();
    ASSERT_EQ(shown, text.substr(0, best_begin)) << "seed " << kSeed << ", round " << round << ": "
                                                 << text << " / " << all[0] << " / " << all[1];
    ASSERT_EQ(stops.hit().has_value(), best_end != std::string::npos);
  }
}

}  // namespace
}  // namespace tessera

#include "engine/token_stream.hpp"

#include <thread>

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(TokenStream, TakeGivesWhatArrivedSinceTheLastTake) {
  TokenStream stream([] {});
  stream.push({.id = 7});
  stream.push({.id = 8});
  const TokenEvents first = stream.take();
  ASSERT_EQ(first.tokens.size(), 2U);
  EXPECT_EQ(first.tokens[0].id, 7);
  EXPECT_EQ(first.tokens[1].id, 8);
  EXPECT_FALSE(first.finished);
  EXPECT_TRUE(stream.take().tokens.empty());
}

TEST(TokenStream, FinishIsSeenOnceWithTheLastTokens) {
  TokenStream stream([] {});
  stream.push({.id = 7});
  stream.finish({.reason = FinishReason::kLength, .generated_tokens = 1});
  const TokenEvents last = stream.take();
  EXPECT_EQ(last.tokens.size(), 1U);
  ASSERT_TRUE(last.finished);
  EXPECT_EQ(last.finished->reason, FinishReason::kLength);
  EXPECT_EQ(last.finished->generated_tokens, 1);
  EXPECT_FALSE(stream.take().finished);
}

TEST(TokenStream, WakeComesAfterTheEventIsVisibleAndWithoutTheLock) {
  std::size_t seen = 0;
  TokenStream* stream_seen_by_wake = nullptr;
  TokenStream stream([&] { seen += stream_seen_by_wake->take().tokens.size(); });
  stream_seen_by_wake = &stream;
  stream.push({.id = 1});
  stream.push({.id = 2});
  EXPECT_EQ(seen, 2U);
}

TEST(TokenStream, TheLastTokenAndTheFinishAreOneWake) {
  int wakes = 0;
  TokenStream stream([&] { ++wakes; });
  stream.push_last({.id = 1});
  EXPECT_EQ(wakes, 0);
  stream.finish({.reason = FinishReason::kLength, .generated_tokens = 1});
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(stream.take().tokens.size(), 1U);
}

TEST(TokenStream, CancelIsVisibleToTheOtherThread) {
  TokenStream stream([] {});
  EXPECT_FALSE(stream.cancelled());
  std::jthread([&] { stream.cancel(); }).join();
  EXPECT_TRUE(stream.cancelled());
}

TEST(TokenStream, NothingIsLostBetweenTwoThreads) {
  constexpr int kTokens = 20'000;
  TokenStream stream([] {});
  std::jthread engine([&] {
    for (TokenId id = 0; id < kTokens; ++id) stream.push({.id = id});
    stream.finish({.reason = FinishReason::kLength, .generated_tokens = kTokens});
  });
  TokenId next = 0;
  for (bool finished = false; !finished;) {
    const TokenEvents events = stream.take();
    for (const GeneratedToken& token : events.tokens) ASSERT_EQ(token.id, next++);
    finished = events.finished.has_value();
  }
  EXPECT_EQ(next, kTokens);
}

}  // namespace
}  // namespace tessera

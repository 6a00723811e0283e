#include "gateway/inference/answer_length.hpp"

#include <optional>

#include <gtest/gtest.h>

namespace tessera {
namespace {

TenantLimits generous() {
  TenantLimits limits;
  limits.max_output_tokens = 100'000;
  limits.tokens_per_minute = 10'000'000;
  return limits;
}

int tokens_of(const ContextRoom& room, std::size_t prompt, std::optional<int> asked_for) {
  const auto tokens = answer_tokens(generous(), room, prompt, asked_for);
  EXPECT_TRUE(tokens);
  return tokens ? *tokens : 0;
}

TEST(AnswerLength, WithoutAWishItIsTheRestOfTheContext) {
  EXPECT_EQ(tokens_of({.max_context = 1000}, 900, std::nullopt), 100);
  EXPECT_EQ(tokens_of({.max_context = 1000}, 900, 7), 7);
}

TEST(AnswerLength, MoreThanTheContextHasIsRefused) {
  for (const std::optional<int> asked_for : {std::optional<int>(101), std::optional<int>()}) {
    const std::size_t prompt = asked_for ? 900 : 1000;
    const auto tokens = answer_tokens(generous(), {.max_context = 1000}, prompt, asked_for);
    ASSERT_FALSE(tokens);
    EXPECT_EQ(tokens.error().code, Code::kContextLengthExceeded);
  }
}

TEST(AnswerLength, OnlyAWishMakesAShortPromptALongSequence) {
  const ContextRoom room{.max_context = 131072, .short_positions = 4096};
  EXPECT_EQ(tokens_of(room, 4000, std::nullopt), 96);
  EXPECT_EQ(tokens_of(room, 4000, 200), 200);
  EXPECT_EQ(tokens_of(room, 4096, std::nullopt), 100'000);
}

TEST(AnswerLength, TheTenantsOwnLimitsHold) {
  TenantLimits limits = generous();
  limits.max_output_tokens = 64;
  const auto tokens = answer_tokens(limits, {.max_context = 1000}, 10, 500);
  ASSERT_TRUE(tokens);
  EXPECT_EQ(*tokens, 64);
}

}  // namespace
}  // namespace tessera

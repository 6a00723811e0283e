#include "gateway/http/idempotency.hpp"

#include <string>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::chrono_literals;
using Turn = IdempotentAnswers::Turn;

constexpr WallTime kNow{std::chrono::hours(1'000'000)};

ContentDigest digest(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return {hash.finish()};
}

IdempotentAnswers::Asked asked(const std::string& place, const std::string& content = "body",
                               const std::string& caller = "caller") {
  return {.caller = KeyId(caller), .place = digest(place), .content = digest(content)};
}

HttpResponse answer(std::string body, int status = 200) {
  return {.status = status, .headers = {}, .body = std::move(body)};
}

TEST(Idempotency, TheSecondRequestGetsTheFirstOnesAnswer) {
  IdempotentAnswers answers;
  EXPECT_EQ(answers.begin(asked("a"), kNow).turn, Turn::kFirst);
  answers.keep(digest("a"), answer("made", 201));
  const auto again = answers.begin(asked("a"), kNow + 23h);
  ASSERT_EQ(again.turn, Turn::kAgain);
  EXPECT_EQ(again.answer.status, 201);
  EXPECT_EQ(again.answer.body, "made");
  EXPECT_EQ(header(again.answer.headers, "Idempotent-Replayed"), "true");
}

TEST(Idempotency, AnAnswerIsForgottenAfterADay) {
  IdempotentAnswers answers;
  answers.begin(asked("a"), kNow);
  answers.keep(digest("a"), answer("made"));
  EXPECT_EQ(answers.begin(asked("a"), kNow + 24h).turn, Turn::kFirst);
  EXPECT_EQ(answers.bytes(), 0U);
}

TEST(Idempotency, AnotherBodyUnderTheSameKeyIsToldApart) {
  IdempotentAnswers answers;
  answers.begin(asked("a", "one"), kNow);
  EXPECT_EQ(answers.begin(asked("a", "two"), kNow).turn, Turn::kOtherContent);
  answers.keep(digest("a"), answer("made"));
  EXPECT_EQ(answers.begin(asked("a", "two"), kNow).turn, Turn::kOtherContent);
}

TEST(Idempotency, WhatIsUnderWayIsNotBegunTwiceHoweverLongItTakes) {
  IdempotentAnswers answers;
  answers.begin(asked("a"), kNow);
  EXPECT_EQ(answers.begin(asked("a"), kNow + 48h).turn, Turn::kUnderWay);
  answers.forget(digest("a"));
  EXPECT_EQ(answers.begin(asked("a"), kNow).turn, Turn::kFirst);
}

TEST(Idempotency, NotNowIsNotKeptAndEverythingElseIs) {
  IdempotentAnswers answers;
  for (const int status : {408, 429, 503, 504}) {
    answers.begin(asked("a"), kNow);
    answers.keep(digest("a"), answer("later", status));
    EXPECT_EQ(answers.size(), 0U) << status;
  }
  for (const int status : {200, 400, 404, 409, 422, 500}) {
    const std::string place = std::to_string(status);
    answers.begin(asked(place), kNow);
    answers.keep(digest(place), answer("said", status));
    EXPECT_EQ(answers.begin(asked(place), kNow).answer.status, status);
  }
}

TEST(Idempotency, TheOldestAnswerOfACallerMakesRoomForHisNext) {
  IdempotentAnswers answers({.answers_of_caller = 2});
  for (const char* place : {"a", "b", "c"}) {
    EXPECT_EQ(answers.begin(asked(place), kNow).turn, Turn::kFirst);
    answers.keep(digest(place), answer(place));
  }
  answers.begin(asked("other", "body", "other"), kNow);
  EXPECT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers.begin(asked("b"), kNow).turn, Turn::kAgain);
  EXPECT_EQ(answers.begin(asked("a"), kNow).turn, Turn::kFirst);
}

TEST(Idempotency, ACallerWithTooManyUnderWayHasToWait) {
  IdempotentAnswers answers({.answers_of_caller = 2});
  answers.begin(asked("a"), kNow);
  answers.begin(asked("b"), kNow);
  EXPECT_EQ(answers.begin(asked("c"), kNow).turn, Turn::kUnderWay);
  EXPECT_EQ(answers.begin(asked("d", "body", "other"), kNow).turn, Turn::kFirst);
}

TEST(Idempotency, AllAnswersTogetherAreBounded) {
  IdempotentAnswers answers({.answer_bytes = 60, .all_bytes = 100});
  for (int i = 0; i < 10; ++i) {
    const std::string place = std::to_string(i);
    answers.begin(asked(place, "body", place), kNow);
    answers.keep(digest(place), answer(std::string(40, 'x')));
    EXPECT_LE(answers.bytes(), 100U);
  }
  EXPECT_EQ(answers.begin(asked("9", "body", "9"), kNow).turn, Turn::kAgain);
  EXPECT_EQ(answers.begin(asked("0", "body", "0"), kNow).turn, Turn::kFirst);
  answers.begin(asked("long"), kNow);
  answers.keep(digest("long"), answer(std::string(61, 'x')));
  EXPECT_EQ(answers.begin(asked("long"), kNow).turn, Turn::kFirst) << "too long to be kept";
}

TEST(Idempotency, AKeyIsPrintableAndNotTooLong) {
  EXPECT_TRUE(is_idempotency_key("8e03978e-40d5-43e8-bc93-6894a57f9324"));
  EXPECT_TRUE(is_idempotency_key(std::string(255, 'k')));
  EXPECT_FALSE(is_idempotency_key(std::string(256, 'k')));
  EXPECT_FALSE(is_idempotency_key(""));
  EXPECT_FALSE(is_idempotency_key("a\tb"));
  EXPECT_FALSE(is_idempotency_key("\xC3\xA4"));
}

}  // namespace
}  // namespace tessera

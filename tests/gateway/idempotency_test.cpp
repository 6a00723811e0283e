#include "gateway/http/idempotency.hpp"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "gateway/http/answer_vault.hpp"
#include "storage/keys.hpp"
#include "tests/support/temp_dir.hpp"

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

// A store and peppers as a server has them.
class KeptAnswers : public testing::Test {
 protected:
  std::unique_ptr<IdempotentAnswers> open(WallTime now, const IdempotencyLimits& limits = {}) {
    auto answers = std::make_unique<IdempotentAnswers>(limits);
    EXPECT_TRUE(answers->attach(std::make_shared<AnswerVault>(*store_, peppers_), now));
    return answers;
  }
  std::size_t num_stored() const {
    std::size_t count = 0;
    EXPECT_TRUE(store_->scan(Family::kMeta, keys::kept_answers(), {},
                             [&](std::string_view, std::string_view value) {
                               EXPECT_EQ(value.find("secret"), value.npos);
                               ++count;
                               return true;
                             }));
    return count;
  }

  TempDir folder_;
  std::unique_ptr<Store> store_ = open_rocks_store(folder_.path() / "store").value();
  PepperFile peppers_ = PepperFile::open(folder_.path() / "peppers").value();
};

TEST_F(KeptAnswers, AreGivenAgainByTheNextProcessAndAreNotLegibleInBetween) {
  auto before = open(kNow);
  before->begin(asked("a"), kNow);
  before->keep(digest("a"), answer("the secret", 201));
  before->begin(asked("under way"), kNow);
  EXPECT_EQ(num_stored(), 1U);
  auto after = open(kNow + 1h);
  const auto again = after->begin(asked("a"), kNow + 1h);
  ASSERT_EQ(again.turn, Turn::kAgain);
  EXPECT_EQ(again.answer.status, 201);
  EXPECT_EQ(again.answer.body, "the secret");
  EXPECT_EQ(header(again.answer.headers, "Idempotent-Replayed"), "true");
  EXPECT_EQ(after->begin(asked("a", "other"), kNow).turn, Turn::kOtherContent);
  EXPECT_EQ(after->begin(asked("under way"), kNow).turn, Turn::kFirst);
}

TEST_F(KeptAnswers, GoWhenTheirTimeIsOver) {
  auto before = open(kNow);
  before->begin(asked("a"), kNow);
  before->keep(digest("a"), answer("old secret"));
  before->begin(asked("b"), kNow + 25h);
  before->keep(digest("b"), answer("new secret"));
  EXPECT_EQ(num_stored(), 1U);
  EXPECT_EQ(open(kNow + 26h)->size(), 1U);
  EXPECT_EQ(open(kNow + 50h)->size(), 0U);
  EXPECT_EQ(num_stored(), 0U);
}

TEST_F(KeptAnswers, AreBoundedInTheStoreAsTheyAreInMemory) {
  auto answers = open(kNow, {.answers_of_caller = 3});
  for (const char* place : {"a", "b", "c", "d", "e"}) {
    answers->begin(asked(place), kNow);
    answers->keep(digest(place), answer("secret"));
  }
  EXPECT_EQ(num_stored(), 3U);
}

TEST_F(KeptAnswers, OneThatWasChangedOrMovedIsNone) {
  auto before = open(kNow);
  before->begin(asked("a"), kNow);
  before->keep(digest("a"), answer("secret"));
  const std::string key = keys::kept_answer(digest("a"));
  std::string sealed = store_->get(Family::kMeta, key).value().value();
  ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, keys::kept_answer(digest("b")), sealed)));
  EXPECT_EQ(open(kNow)->size(), 1U);
  for (const std::size_t at :
       {std::size_t{3}, std::size_t{5}, sealed.size() / 2, sealed.size() - 1}) {
    std::string other = sealed;
    other[at] = static_cast<char>(other[at] ^ 1);
    ASSERT_TRUE(store_->write(Batch().put(Family::kMeta, key, other)));
    EXPECT_EQ(open(kNow)->size(), 0U) << at;
  }
}

}  // namespace
}  // namespace tessera

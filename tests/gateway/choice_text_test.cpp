#include "gateway/choice_text.hpp"

#include <gtest/gtest.h>

#include "tests/gateway/byte_tokenizer.hpp"

namespace tessera {
namespace {

std::vector<GeneratedToken> tokens(std::string_view text) {
  std::vector<GeneratedToken> out;
  for (const TokenId id : bytes_as_ids(text)) out.push_back({.id = id, .logprob = -1, .top = {}});
  return out;
}

std::string ids_text(const std::vector<TokenRecord>& records) {
  std::string text;
  for (const TokenRecord& record : records) text += static_cast<char>(record.token.id);
  return text;
}

class ChoiceTextTest : public testing::Test {
 protected:
  ChoiceText choice(std::vector<std::string> stops) {
    return ChoiceText(*tokenizer_, stops, /*keep_records=*/true);
  }

 private:
  std::unique_ptr<Tokenizer> tokenizer_ = byte_tokenizer();
};

TEST_F(ChoiceTextTest, TextAndRecordsComeTogether) {
  ChoiceText text = choice({});
  const Piece piece = text.push(tokens("ab"));
  EXPECT_EQ(piece.text, "ab");
  ASSERT_EQ(piece.records.size(), 2U);
  EXPECT_EQ(piece.records[1].text_offset, 1U);
  EXPECT_TRUE(text.flush().empty());
}

TEST_F(ChoiceTextTest, OffsetsCountCharactersNotBytes) {
  ChoiceText text = choice({"END"});
  Piece piece =
      text.push(tokens("\xe2\x98\x85"
                       "aE"));
  ASSERT_EQ(piece.records.size(), 4U) << "the last is held back, as its text is";
  EXPECT_EQ(piece.records[0].text_offset, 0U);
  EXPECT_EQ(piece.records[3].text_offset, 1U);
  piece = text.push(tokens("b"));
  ASSERT_EQ(piece.records.size(), 2U);
  EXPECT_EQ(piece.records[0].text_offset, 2U);
  EXPECT_EQ(piece.records[1].text_offset, 3U);
}

TEST_F(ChoiceTextTest, CharacterIsNeverSplitAndItsTokensWaitForIt) {
  ChoiceText text = choice({});
  EXPECT_TRUE(text.push(tokens("\xe2")).empty());
  EXPECT_TRUE(text.push(tokens("\x98")).empty());
  const Piece piece = text.push(tokens("\x85"));
  EXPECT_EQ(piece.text, "\u2605");
  EXPECT_EQ(piece.records.size(), 3U);
}

TEST_F(ChoiceTextTest, UnfinishedCharacterAtTheEndIsReplaced) {
  ChoiceText text = choice({});
  EXPECT_TRUE(text.push(tokens("\xe2\x98")).empty());
  const Piece piece = text.flush();
  EXPECT_EQ(piece.text, "\ufffd");
  EXPECT_EQ(piece.records.size(), 2U);
}

TEST_F(ChoiceTextTest, StopAcrossTokensIsNotShownNorItsTokens) {
  ChoiceText text = choice({"END"});
  EXPECT_EQ(text.push(tokens("abE")).text, "ab");
  EXPECT_TRUE(text.push(tokens("N")).empty());
  const Piece piece = text.push(tokens("Dxyz"));
  EXPECT_TRUE(piece.empty());
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(text.num_tokens(), 5) << "up to the one that completed the stop";
  EXPECT_TRUE(text.flush().empty());
  EXPECT_TRUE(text.push(tokens("more")).empty());
}

TEST_F(ChoiceTextTest, WhatOnlyLookedLikeAStopIsShownWithItsTokens) {
  ChoiceText text = choice({"END"});
  EXPECT_EQ(text.push(tokens("aEN")).text, "a");
  const Piece piece = text.push(tokens("x"));
  EXPECT_EQ(piece.text, "ENx");
  EXPECT_EQ(ids_text(piece.records), "ENx");
  EXPECT_FALSE(text.stopped());
}

TEST_F(ChoiceTextTest, BeginningOfAStopAtTheEndIsShown) {
  ChoiceText text = choice({"END"});
  EXPECT_EQ(text.push(tokens("aEN")).text, "a");
  const Piece piece = text.flush();
  EXPECT_EQ(piece.text, "EN");
  EXPECT_EQ(ids_text(piece.records), "EN");
}

TEST_F(ChoiceTextTest, SpecialTokensGiveNoText) {
  ChoiceText text = choice({});
  EXPECT_EQ(text.push({{.id = kBosId, .logprob = 0, .top = {}}}).text, "");
}

TEST_F(ChoiceTextTest, ResultDoesNotDependOnHowTokensArrive) {
  const std::string bytes = "one \xe2\x98\x85 two STOP three";
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    ChoiceText text = choice({"STOP"});
    std::string shown;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      shown += text.push(tokens(std::string_view(bytes).substr(at, step))).text;
    }
    shown += text.flush().text;
    EXPECT_EQ(shown, "one \xe2\x98\x85 two ") << "in steps of " << step;
    EXPECT_EQ(text.num_tokens(), static_cast<int>(bytes.find("STOP")) + 4);
  }
}

}  // namespace
}  // namespace tessera

#include "gateway/inference/choice_text.hpp"

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
  // One that looks for calls; </s> stands for a special mark.
  ChoiceText reading(std::vector<std::string> stops, AnswerOptions options = {.tools = true}) {
    AnswerReading how{.syntax = {.tools = ToolFormat::kHermes,
                                 .call_open = "<tool_call>",
                                 .call_close = "</s>",
                                 .think_open = "<think>",
                                 .think_close = "</think>"},
                      .options = std::move(options),
                      .marks = {kEosId}};
    return ChoiceText(*tokenizer_, stops, /*keep_records=*/false, how);
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

constexpr std::string_view kCall = R"(<tool_call>{"name": "f", "arguments": {"a": "b"}})";

TEST_F(ChoiceTextTest, CallsAndReasoningAreToldApartAndCounted) {
  ChoiceText text = reading({});
  Piece piece = text.push(tokens("<think>ab</think>Hi. " + std::string(kCall)));
  piece.append(text.push({{.id = kEosId, .logprob = 0, .top = {}}}));
  piece.append(text.flush());
  EXPECT_EQ(piece.reasoning, "ab");
  EXPECT_EQ(piece.text, "Hi.");
  ASSERT_EQ(piece.calls.size(), 1U);
  EXPECT_EQ(piece.calls[0].name, "f");
  EXPECT_EQ(piece.calls[0].arguments, R"({"a": "b"})");
  EXPECT_TRUE(piece.calls[0].id.starts_with("call_"));
  EXPECT_EQ(text.num_calls(), 1);
  EXPECT_EQ(text.num_reasoning_tokens(), 11) << "from the mark's last byte to the other's";
  EXPECT_FALSE(text.stopped());
}

TEST_F(ChoiceTextTest, AMarkIsSeenThoughItIsASpecialToken) {
  ChoiceText text = reading({});
  text.push(tokens(kCall));
  EXPECT_EQ(text.push({{.id = kEosId, .logprob = 0, .top = {}}}).text, "");
  EXPECT_EQ(text.push({{.id = kBosId, .logprob = 0, .top = {}}}).text, "") << "not a mark";
  EXPECT_EQ(text.push(tokens("x")).text, "x");
}

TEST_F(ChoiceTextTest, StopsComeBeforeTheParser) {
  ChoiceText text = reading({"\"f\""});
  Piece piece = text.push(tokens("Well. " + std::string(kCall)));
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(piece.text, R"(Well. <tool_call>{"name": )") << "what the parser held back is shown";
  EXPECT_EQ(text.num_calls(), 0);
  EXPECT_TRUE(text.flush().empty());
}

TEST_F(ChoiceTextTest, TheOneCallThatIsWantedEndsTheAnswer) {
  ChoiceText text = reading({}, {.tools = true, .one_call = true});
  const Piece piece = text.push(tokens(std::string(kCall) + "more"));
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(text.num_calls(), 1);
  EXPECT_EQ(piece.text, "");
  EXPECT_EQ(text.num_tokens(), static_cast<int>(kCall.size()));
}

TEST_F(ChoiceTextTest, TheEndOfAParsedAnswerIsNoStop) {
  ChoiceText text = reading({});
  text.push(tokens("Hi. <tool"));
  EXPECT_EQ(text.flush().text, " <tool");
  EXPECT_FALSE(text.stopped()) << "else its last token would not be charged";
}

}  // namespace
}  // namespace tessera

#include "gateway/inference/answer_format.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/http/sse.hpp"
#include "tests/gateway/byte_tokenizer.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

class AnswerFormatTest : public testing::Test {
 protected:
  std::unique_ptr<ChunkFormat> chat(bool include_usage = false, bool records = false) {
    return make_chat_format(identity("chatcmpl-1"), *tokenizer_, include_usage, records);
  }
  std::unique_ptr<ChunkFormat> text(bool include_usage = false, bool records = false) {
    return make_completion_format(identity("cmpl-1"), *tokenizer_, include_usage, records);
  }

  const Piece piece_{
      .text = "h",
      .records = {{.token = {.id = 'h', .logprob = -0.5F, .top = {{'h', -0.5F}, {0xE2, -2.0F}}},
                   .text_offset = 3}}};
  const Usage usage_{.prompt_tokens = 7, .cached_tokens = 4, .completion_tokens = 2};

 private:
  static AnswerIdentity identity(const char* id) {
    return {.id = id, .created = 1700000000, .model = "bot@7", .system_fingerprint = "fp_1"};
  }
  std::unique_ptr<Tokenizer> tokenizer_ = byte_tokenizer();
};

TEST_F(AnswerFormatTest, ChatStreamTranscript) {
  const auto format = chat();
  const std::string common =
      R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,)"
      R"("model":"bot@7","service_tier":"default","system_fingerprint":"fp_1",)"
      R"("choices":[{"index":0,"delta":)";
  EXPECT_EQ(
      format->first_chunk(0).dump(),
      common + R"({"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]})");
  ASSERT_EQ(format->piece_chunks(0, piece_).size(), 1U);
  EXPECT_EQ(format->piece_chunks(0, piece_).front().dump(),
            common + R"({"content":"h"},"logprobs":null,"finish_reason":null}]})");
  EXPECT_EQ(format->last_chunk(0, "stop").dump(),
            common + R"({},"logprobs":null,"finish_reason":"stop"}]})");
  EXPECT_TRUE(format->usage_chunk(usage_).is_null()) << "nobody asked for it";
}

TEST_F(AnswerFormatTest, WithUsageEveryChunkHasNullAndOneMoreHasNoChoices) {
  for (const auto& format : {chat(true), text(true)}) {
    EXPECT_TRUE(format->piece_chunks(0, piece_).front().at("usage").is_null());
    EXPECT_TRUE(format->last_chunk(0, "length").at("usage").is_null());
    const Json last = format->usage_chunk(usage_);
    EXPECT_EQ(last.at("choices"), Json::array());
    EXPECT_EQ(last.at("usage").at("prompt_tokens"), 7);
    EXPECT_EQ(last.at("usage").at("completion_tokens"), 2);
    EXPECT_EQ(last.at("usage").at("total_tokens"), 9);
    EXPECT_EQ(last.at("usage").at("prompt_tokens_details").at("cached_tokens"), 4);
  }
}

TEST_F(AnswerFormatTest, ObfuscatedChunksAreOfLikeSizes) {
  const auto tokenizer = byte_tokenizer();
  const auto format = make_chat_format({.id = "chatcmpl-1",
                                        .created = 1,
                                        .model = "bot@7",
                                        .system_fingerprint = "fp_1",
                                        .obfuscated = true},
                                       *tokenizer,
                                       /*include_usage=*/false, /*records=*/false);
  for (const char* text : {"a", "ab", "a longer text than most"}) {
    const auto chunk = format->piece_chunks(0, {.text = text}).front();
    EXPECT_EQ(chunk.dump().size() % 64, 0U);
    EXPECT_FALSE(chunk.at("obfuscation").get<std::string>().empty());
  }
}

TEST_F(AnswerFormatTest, ChatLogprobsHaveTokensBytesAndAlternatives) {
  const Json chunk = chat(false, true)->piece_chunks(0, piece_).front();
  const Json& logprobs = chunk.at("choices").at(0).at("logprobs");
  EXPECT_TRUE(logprobs.at("refusal").is_null());
  const Json& entry = logprobs.at("content").at(0);
  EXPECT_EQ(entry.at("token"), "h");
  EXPECT_EQ(entry.at("logprob"), -0.5);
  EXPECT_EQ(entry.at("bytes"), Json::array({104}));
  EXPECT_EQ(entry.at("top_logprobs").size(), 2U);
  EXPECT_EQ(entry.at("top_logprobs").at(1).at("token"), "\ufffd") << "a token of half a character";
  EXPECT_EQ(entry.at("top_logprobs").at(1).at("bytes"), Json::array({0xE2}));
}

TEST_F(AnswerFormatTest, WholeChatAnswerHasEveryRequiredMember) {
  const Json json =
      Json::parse(chat()->whole({{.piece = piece_, .finish_reason = "stop"}}, usage_));
  EXPECT_EQ(json.at("object"), "chat.completion");
  EXPECT_EQ(json.at("service_tier"), "default");
  const Json& choice = json.at("choices").at(0);
  EXPECT_EQ(choice.at("index"), 0);
  EXPECT_EQ(choice.at("message").at("role"), "assistant");
  EXPECT_EQ(choice.at("message").at("content"), "h");
  EXPECT_TRUE(choice.at("message").at("refusal").is_null());
  EXPECT_TRUE(choice.at("logprobs").is_null());
  EXPECT_EQ(choice.at("finish_reason"), "stop");
  EXPECT_EQ(json.at("usage").at("total_tokens"), 9);
}

Json delta_of(const Json& chunk) {
  return chunk.at("choices").at(0).at("delta");
}

TEST_F(AnswerFormatTest, ACallIsAnnouncedOnceAndItsArgumentsFollow) {
  const Piece piece{
      .text = "",
      .calls = {{.index = 0, .begins = true, .name = "f", .id = "call_1", .arguments = "{\"a\""},
                {.index = 1, .begins = true, .name = "g", .id = "call_2"}}};
  const auto chunks = chat()->piece_chunks(0, piece);
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_EQ(delta_of(chunks[0]).dump(),
            R"({"tool_calls":[{"index":0,"id":"call_1","type":"function",)"
            R"("function":{"name":"f","arguments":""}}]})");
  EXPECT_EQ(delta_of(chunks[1]).dump(),
            R"({"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]})");
  EXPECT_EQ(delta_of(chunks[2]).at("tool_calls").at(0).at("id"), "call_2");

  const Piece more{.text = "", .calls = {{.index = 1, .arguments = "{}"}}};
  EXPECT_EQ(delta_of(chat()->piece_chunks(0, more).front()).dump(),
            R"({"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]})");
}

TEST_F(AnswerFormatTest, ReasoningHasAMemberOfItsOwn) {
  const auto chunks = chat()->piece_chunks(0, {.text = "", .reasoning = "Hm."});
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_EQ(delta_of(chunks[0]).dump(), R"({"reasoning_content":"Hm."})");
  const auto both = chat()->piece_chunks(0, {.text = "Yes.", .reasoning = "Hm."});
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(delta_of(both[0]).dump(), R"({"reasoning_content":"Hm."})");
  EXPECT_EQ(delta_of(both[1]).dump(), R"({"content":"Yes."})");
}

TEST_F(AnswerFormatTest, LogprobsComeOnceWithAPieceOfSeveralChunks) {
  Piece piece = piece_;
  piece.calls.push_back({.index = 0, .begins = true, .name = "f", .id = "c", .arguments = "{}"});
  const auto chunks = chat(false, true)->piece_chunks(0, piece);
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_FALSE(chunks[0].at("choices").at(0).at("logprobs").is_null());
  EXPECT_TRUE(chunks[1].at("choices").at(0).at("logprobs").is_null());
  EXPECT_TRUE(chunks[2].at("choices").at(0).at("logprobs").is_null());
}

TEST_F(AnswerFormatTest, AWholeAnswerHasItsWholeCallsAndNoBrokenOnes) {
  Piece piece{.text = "", .reasoning = "Hm."};
  piece.append(
      {.text = "",
       .calls = {{.index = 0, .begins = true, .name = "f", .id = "a", .arguments = "{\"x\":"}}});
  piece.append({.text = "", .calls = {{.index = 0, .arguments = "1}"}}});
  piece.append({.text = "",
                .calls = {{.index = 1, .begins = true, .name = "g", .id = "b", .arguments = "{"}}});
  piece.append({.text = "", .calls = {{.index = 1, .broken = true}}});
  Usage usage = usage_;
  usage.reasoning_tokens = 1;
  const Json json = Json::parse(chat()->whole({{piece, "tool_calls"}}, usage));
  const Json& message = json.at("choices").at(0).at("message");
  EXPECT_TRUE(message.at("content").is_null());
  EXPECT_EQ(message.at("reasoning_content"), "Hm.");
  EXPECT_EQ(message.at("tool_calls").dump(),
            R"([{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}])");
  EXPECT_EQ(json.at("choices").at(0).at("finish_reason"), "tool_calls");
  EXPECT_EQ(json.at("usage").at("completion_tokens_details").at("reasoning_tokens"), 1);
}

TEST_F(AnswerFormatTest, CompletionsAreTextInBothForms) {
  const auto format = text(false, true);
  EXPECT_TRUE(format->first_chunk(0).is_null()) << "a text begins with its first piece";
  const Json chunk = format->piece_chunks(1, piece_).front();
  EXPECT_EQ(chunk.at("object"), "text_completion");
  const Json& choice = chunk.at("choices").at(0);
  EXPECT_EQ(choice.at("text"), "h");
  EXPECT_EQ(choice.at("index"), 1);
  EXPECT_EQ(choice.at("logprobs").at("tokens"), Json::array({"h"}));
  EXPECT_EQ(choice.at("logprobs").at("token_logprobs"), Json::array({-0.5}));
  EXPECT_EQ(choice.at("logprobs").at("text_offset"), Json::array({3}));
  EXPECT_EQ(choice.at("logprobs").at("top_logprobs").at(0).at("h"), -0.5);

  const Json whole = Json::parse(format->whole({{piece_, "stop"}, {piece_, "length"}}, usage_));
  EXPECT_EQ(whole.at("object"), "text_completion");
  EXPECT_FALSE(whole.contains("service_tier"));
  EXPECT_EQ(whole.at("choices").at(1).at("index"), 1);
  EXPECT_EQ(whole.at("choices").at(1).at("finish_reason"), "length");
}

TEST(Sse, EventIsOneDataLineAndAnEmptyOne) {
  EXPECT_EQ(sse_event("{}"), "data: {}\n\n");
  EXPECT_EQ(kSseDone, "data: [DONE]\n\n");
  EXPECT_TRUE(kSseHeartbeat.starts_with(": "));
}

}  // namespace
}  // namespace tessera

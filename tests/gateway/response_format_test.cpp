// Embeddings and answers of the Responses API, byte by byte where clients look at bytes.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/inference/answer_format.hpp"
#include "gateway/inference/prompt_echo.hpp"
#include "storage/json.hpp"
#include "tests/gateway/byte_tokenizer.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

class ResponseFormatTest : public testing::Test {
 protected:
  std::unique_ptr<AnswerFormat> make() {
    return make_response_format({{"id", "resp_1"}, {"object", "response"}}, *tokenizer_, false);
  }
  // The events' data, each under the name that its event has.
  static std::vector<Json> events_of(std::string bytes) {
    std::vector<Json> events;
    while (!bytes.empty()) {
      const auto end = bytes.find("\n\n");
      const std::string event = bytes.substr(0, end);
      bytes.erase(0, end + 2);
      const auto line = event.find("\ndata: ");
      events.push_back(Json::parse(event.substr(line + 7)));
      EXPECT_EQ(event.substr(0, line), "event: " + events.back().at("type").get<std::string>());
    }
    return events;
  }
  static std::vector<std::string> types_of(const std::vector<Json>& events) {
    std::vector<std::string> types;
    for (const Json& event : events) types.push_back(event.at("type"));
    return types;
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = byte_tokenizer();
  const Usage usage_{.prompt_tokens = 3, .cached_tokens = 1, .completion_tokens = 2};
};

TEST_F(ResponseFormatTest, AStreamTranscript) {
  const auto format = make();
  std::string bytes = format->choice_begun(0);
  bytes += format->piece(0, {.text = "Hi"});
  bytes += format->piece(0, {.text = "!"});
  bytes += format->choice_ended(0, "stop");
  bytes += format->ended(usage_);
  const auto events = events_of(bytes);
  EXPECT_EQ(types_of(events),
            (std::vector<std::string>{"response.created", "response.in_progress",
                                      "response.output_item.added", "response.content_part.added",
                                      "response.output_text.delta", "response.output_text.delta",
                                      "response.output_text.done", "response.content_part.done",
                                      "response.output_item.done", "response.completed"}));
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i].at("sequence_number"), i);
  EXPECT_EQ(events[6].at("text"), "Hi!");
  EXPECT_EQ(events[4].at("item_id"), events[8].at("item").at("id"));
  const Json& done = events.back().at("response");
  EXPECT_EQ(done.at("output")[0].at("content")[0].at("text"), "Hi!");
  EXPECT_EQ(done.at("usage").at("total_tokens"), 5);
  EXPECT_EQ(bytes.find("[DONE]"), std::string::npos);
}

TEST_F(ResponseFormatTest, CallsFollowTextAsItemsOfTheirOwn) {
  const auto format = make();
  const ToolCallDelta begins{.index = 0, .begins = true, .name = "f", .id = "call_1"};
  ToolCallDelta grows{.index = 0};
  grows.arguments = "{}";
  std::string bytes = format->piece(0, {.text = "a", .reasoning = "b", .calls = {begins, grows}});
  bytes += format->choice_ended(0, "tool_calls");
  std::vector<std::string> items;
  for (const Json& event : events_of(bytes)) {
    if (event.at("type") == "response.output_item.done") {
      items.push_back(event.at("item").at("type"));
      EXPECT_EQ(event.at("output_index"), items.size() - 1);
      EXPECT_EQ(event.at("item").at("status"), "completed");
    }
  }
  EXPECT_EQ(items, (std::vector<std::string>{"reasoning", "message", "function_call"}));
}

TEST_F(ResponseFormatTest, WhatIsCutIsIncompleteAndWhatBreaksFails) {
  const auto cut = make();
  const Json whole =
      Json::parse(cut->whole({{.piece = {.text = "a"}, .finish_reason = "length"}}, usage_));
  EXPECT_EQ(whole.at("status"), "incomplete");
  EXPECT_EQ(whole.at("incomplete_details").at("reason"), "max_output_tokens");
  EXPECT_EQ(whole.at("output")[0].at("status"), "incomplete");
  const auto broken = make();
  broken->choice_begun(0);
  const auto events = events_of(broken->failed(Error{Code::kInternalError, "x"},
                                               {{"code", "internal_error"}, {"message", "m"}}));
  EXPECT_EQ(events.back().at("type"), "response.failed");
  EXPECT_EQ(events.back().at("response").at("error").at("code"), "internal_error");
}

TEST(EmbeddingFormat, VectorsAreOfLengthOneCutAndEncoded) {
  const auto told = [](const EmbeddingForm& form, std::vector<float> state) {
    const auto format = make_embedding_format("bot@7", form);
    return Json::parse(format->whole(
        {{.piece = {}, .finish_reason = "stop", .state = std::move(state)}}, {.prompt_tokens = 4}));
  };
  const Json plain = told({}, {3.0F, 0.0F, 4.0F});
  EXPECT_EQ(to_text(plain),
            R"({"object":"list","data":[{"object":"embedding","index":0,)"
            R"("embedding":[0.6000000238418579,0.0,0.800000011920929]}],"model":"bot@7",)"
            R"("usage":{"prompt_tokens":4,"total_tokens":4}})");
  EXPECT_EQ(told({.dimensions = 2}, {3.0F, 4.0F, 12.0F}).at("data")[0].at("embedding"),
            Json({0.6F, 0.8F}));
  // 1.0F is 00 00 80 3F.
  EXPECT_EQ(told({.base64 = true}, {2.0F}).at("data")[0].at("embedding"), "AACAPw==");
  EXPECT_EQ(told({.base64 = true}, {0.0F, 0.0F, 1.0F}).at("data")[0].at("embedding"),
            "AAAAAAAAAAAAAIA/");
  EXPECT_EQ(told({}, {0.0F, 0.0F}).at("data")[0].at("embedding"), Json({0.0F, 0.0F}));
}

TEST(PromptEcho, HasARecordForEachTokenAndNoneForTheFirst) {
  const auto tokenizer = byte_tokenizer();
  PromptEcho echo(*tokenizer, "\u00e9b", {0xC3, 0xA9, 'b'}, true);
  EXPECT_FALSE(echo.complete());
  EXPECT_EQ(echo.num_code_points(), 2U);
  echo.add({{.id = 0xA9, .logprob = -1.0F}});
  echo.add({{.id = 'b', .logprob = -2.0F}});
  ASSERT_TRUE(echo.complete());
  const auto& records = echo.piece().records;
  EXPECT_FALSE(records[0].has_logprob);
  EXPECT_TRUE(records[2].has_logprob);
  EXPECT_EQ(records[2].text_offset, 1U);
  EXPECT_TRUE(PromptEcho(*tokenizer, "b", {'b'}, true).complete());
  EXPECT_TRUE(PromptEcho(*tokenizer, "bc", {'b', 'c'}, false).complete());
}

}  // namespace
}  // namespace tessera

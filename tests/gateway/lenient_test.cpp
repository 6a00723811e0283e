#include "gateway/inference/lenient.hpp"

#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/inference/openai_types.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::IsEmpty;

Call call_of(bool lenient) {
  Call call;
  call.caller.key_policy = std::make_shared<KeyPolicy>(KeyPolicy{.lenient = lenient});
  return call;
}

Result<ChatRequest> parse(Call& call, const std::string& text) {
  Json body = parse_json(text).value();
  return parse_by_policy(call, body,
                         [&](const Json& known) { return parse_chat_request(known, text); });
}

constexpr const char* kUnknown =
    R"({"model": "m", "tools": [{"type": "function", "function": {"name": "f", "why": 1}}],
        "messages": [{"role": "user", "content": "x", "mood": "good"}],
        "litellm_trace": {"a": 1}})";

TEST(Lenient, UnknownParametersAreLeftOutAndNamed) {
  Call call = call_of(true);
  const auto request = parse(call, kUnknown);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->conversation.messages.size(), 1U);
  EXPECT_THAT(
      call.ignored_parameters,
      testing::UnorderedElementsAre("litellm_trace", "messages[0].mood", "tools[0].function.why"));
  EXPECT_EQ(to_text(request->conversation.tools.definitions).find("why"), std::string::npos)
      << "what is left out does not reach the prompt";
}

TEST(Lenient, AStrictKeysAreRefused) {
  Call call = call_of(false);
  const auto request = parse(call, kUnknown);
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, Code::kUnknownParameter);
  EXPECT_THAT(call.ignored_parameters, IsEmpty());
  Call without_policy;
  EXPECT_FALSE(parse(without_policy, kUnknown));
}

TEST(Lenient, WhatIsKnownAndNotSupportedIsRefusedAllTheSame) {
  Call call = call_of(true);
  const auto request = parse(
      call,
      R"({"model": "m", "messages": [{"role": "user", "content": "x"}], "modalities": ["audio"]})");
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, Code::kUnsupportedParameter);
}

TEST(Lenient, OtherFaultsAreToldBesideUnknownParameters) {
  Call call = call_of(true);
  const auto request =
      parse(call, R"({"model": "m", "messages": [], "temperature": 9, "unknown": 1})");
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, Code::kInvalidValue);
}

TEST(Lenient, ThereIsAnEndToIt) {
  Json body = {{"model", "m"}, {"messages", Json::array({{{"role", "user"}, {"content", "x"}}})}};
  for (std::size_t i = 0; i <= kMaxIgnoredParameters; ++i) body["x" + std::to_string(i)] = i;
  Call call = call_of(true);
  const auto request = parse(call, to_text(body));
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, Code::kUnknownParameter);
}

TEST(EraseMember, FollowsThePathThatErrorsTell) {
  Json body = parse_json(R"({"a": {"b": [{"c": 1}, {"c": 2, "d": 3}]}, "e": 4})").value();
  EXPECT_TRUE(erase_member(body, "a.b[1].c"));
  EXPECT_EQ(body.dump(), R"({"a":{"b":[{"c":1},{"d":3}]},"e":4})");
  EXPECT_TRUE(erase_member(body, "e"));
  for (const char* path : {"", "e", "a.x", "a.b[2].c", "a.b[0]", "a.b[", "a.b[0.c", "a.b[0]c",
                           "a.b[99999999999999999999].c", "a..b", "[0]"}) {
    EXPECT_FALSE(erase_member(body, path)) << path;
  }
  EXPECT_EQ(body.dump(), R"({"a":{"b":[{"c":1},{"d":3}]}})");
}

TEST(EraseMember, NamesMayLookLikePaths) {
  Json body = parse_json(R"({"a": 1, "a.b": {"c[0]": 2, "": 3}})").value();
  EXPECT_TRUE(erase_member(body, "a.b.c[0]"));
  EXPECT_TRUE(erase_member(body, "a.b."));
  EXPECT_TRUE(erase_member(body, "a.b"));
  EXPECT_EQ(body.dump(), R"({"a":1})");
}

TEST(IgnoredHeader, IsOneLineOfPrintableCharacters) {
  EXPECT_EQ(ignored_header({"a", "messages[0].b"}), "a, messages[0].b");
  EXPECT_EQ(ignored_header({"a\r\nSet-Cookie: x", "caf\xc3\xa9", "c, d"}),
            "a??Set-Cookie:?x, caf??, c??d");
  const std::string longest = ignored_header(std::vector<std::string>(100, std::string(200, 'x')));
  EXPECT_LE(longest.size(), kMaxIgnoredChars);
  EXPECT_TRUE(longest.ends_with(", ..."));
}

}  // namespace
}  // namespace tessera

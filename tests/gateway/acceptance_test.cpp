#include "gateway/adapters/acceptance.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_probe.hpp"
#include "storage/clock.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

TEST(Expectation, ASubstringIsLookedFor) {
  const auto expectation = expect_substring("cat").value();
  EXPECT_FALSE(expectation->refute("a cat sat"));
  EXPECT_TRUE(expectation->refute("a dog sat"));
}

TEST(Expectation, ARegexIsFoundAnywhereInLinearTime) {
  const auto expectation = expect_regex("^a+b$", "x").value();
  EXPECT_FALSE(expectation->refute("aaab"));
  EXPECT_TRUE(expectation->refute("aaac"));
  const auto evil = expect_regex("(a+)+$", "x").value();
  EXPECT_TRUE(evil->refute(std::string(100'000, 'a') + "b"));  // returns
  const auto bad = expect_regex("(a", "acceptance.checks[0].expect.regex");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, Code::kInvalidRegex);
  EXPECT_EQ(bad.error().param, "acceptance.checks[0].expect.regex");
  EXPECT_FALSE(expect_regex(R"((a)\1)", "x"));  // back-references are not linear
}

TEST(Expectation, AJsonAnswerIsWhatTheSchemaAllowsHoweverItIsWritten) {
  const auto expectation = expect_json(R"({"type": "object", "required": ["a", "b"],
    "properties": {"a": {"type": "integer", "minimum": 3}, "b": {"type": "string"}}})",
                                       "x")
                               .value();
  EXPECT_FALSE(expectation->refute(R"({"a": 3, "b": "x"})"));
  EXPECT_FALSE(expectation->refute("\n {\"b\":\"\\u0041\",\n  \"a\" : 4.0}\n"));
  EXPECT_FALSE(expectation->refute(R"({"a":3,"b":"x","c":[1,{}]})"));
  EXPECT_TRUE(expectation->refute(R"({"a": 2, "b": "x"})"));
  EXPECT_TRUE(expectation->refute(R"({"a": 3})"));
  EXPECT_TRUE(expectation->refute(R"({"a": 3, "b": "x"} and more)"));
  EXPECT_TRUE(expectation->refute(R"({"a": 3, "b": "x")"));
  EXPECT_TRUE(expectation->refute(""));
  const auto bad = expect_json(R"({"type": "nothing"})", "x");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, Code::kInvalidJsonSchema);
}

class AcceptanceTest : public testing::Test {
 protected:
  Result<std::vector<AcceptanceCheck>> parse(const std::string& json) {
    return parse_acceptance(json, platform_->model, platform_->clock.wall_now());
  }
  // Of checks that are refused: "code param".
  std::string refusal(const Json& check) {
    Json json;
    json["checks"] = Json::array({check});
    const auto checks = parse(json.dump());
    if (checks) return "accepted";
    return std::string(to_string(checks.error().code)) + " " + checks.error().param;
  }

  TempDir directory_;
  std::unique_ptr<Platform> platform_ = open_tiny_platform(directory_.path());
};

TEST_F(AcceptanceTest, ReadsPromptsAndConversations) {
  const auto checks = parse(R"({"checks": [
    {"prompt": "abc", "expect": {"contains": "x"}},
    {"name": "greets", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9,
     "temperature": 0.5, "seed": 7, "expect": {"regex": "x+"}}]})");
  ASSERT_TRUE(checks) << checks.error().message;
  ASSERT_EQ(checks->size(), 2U);
  EXPECT_EQ((*checks)[0].name, "check 0");
  EXPECT_EQ((*checks)[0].max_tokens, kDefaultAcceptanceTokens);
  EXPECT_EQ((*checks)[0].temperature, 0.0F);
  EXPECT_EQ((*checks)[1].name, "greets");
  EXPECT_EQ((*checks)[1].max_tokens, 9);
  EXPECT_EQ((*checks)[1].seed, 7U);
  EXPECT_EQ((*checks)[1].prompt, platform_->model.tokenizer->encode("Hello"));
}

TEST_F(AcceptanceTest, EverythingElseIsRefusedByName) {
  const Json expect = {{"contains", "x"}};
  EXPECT_EQ(refusal({{"prompt", "a"}}), "missing_required_parameter acceptance.checks[0].expect");
  EXPECT_EQ(refusal({{"expect", expect}}), "invalid_value acceptance.checks[0]");
  EXPECT_EQ(refusal({{"prompt", "a"}, {"expect", {{"contains", "x"}, {"regex", "y"}}}}),
            "invalid_value acceptance.checks[0].expect");
  EXPECT_EQ(refusal({{"prompt", "a"}, {"expect", Json::object()}}),
            "invalid_value acceptance.checks[0].expect");
  EXPECT_EQ(refusal({{"prompt", "a"}, {"expect", {{"regex", "("}}}}),
            "invalid_regex acceptance.checks[0].expect.regex");
  EXPECT_EQ(refusal({{"prompt", "a"}, {"expect", {{"json_schema", 7}}}}),
            "invalid_value acceptance.checks[0].expect.json_schema");
  EXPECT_EQ(
      refusal({{"prompt", "a"}, {"max_tokens", kMaxAcceptanceTokens + 1}, {"expect", expect}}),
      "invalid_value acceptance.checks[0].max_tokens");
  EXPECT_EQ(refusal({{"prompt", "a"}, {"expect", expect}, {"stop", "x"}}),
            "unknown_parameter acceptance.checks[0].stop");
  EXPECT_FALSE(parse("[]"));
  EXPECT_FALSE(parse("{}"));
  EXPECT_FALSE(parse(R"({"checks": [], "more": 1})"));
}

TEST_F(AcceptanceTest, ThirtyTwoChecksAreTheMost) {
  Json json;
  json["checks"] = Json::array();
  for (int i = 0; i < 32; ++i) {
    json["checks"].push_back({{"prompt", "a"}, {"expect", {{"contains", "x"}}}});
  }
  EXPECT_TRUE(parse(json.dump()));
  json["checks"].push_back(json["checks"][0]);
  EXPECT_FALSE(parse(json.dump()));
}

TEST_F(AcceptanceTest, TheProbesPromptsHaveWhatAnAdapterActsOn) {
  const AdapterProbe probe(*platform_->engine, platform_->model, platform_->clock);
  Adapter adapter = *TestPackage().validate().adapter;
  adapter.embed_rows.ids = {3, 90};
  adapter.embed_rows.rows.assign(std::size_t{2} * 64, 0.5F);
  adapter.invocation = {7, 8, 9};
  const auto prompts = probe.prompts_for(*pack_adapter(adapter, PageType::kF32));
  ASSERT_EQ(prompts.size(), static_cast<std::size_t>(kNumProbePrompts));
  const std::vector<TokenId> end = {3, 90, 7, 8, 9};
  for (const auto& prompt : prompts) {
    ASSERT_GT(prompt.size(), end.size());
    EXPECT_TRUE(std::equal(end.rbegin(), end.rend(), prompt.rbegin()));
  }
}

}  // namespace
}  // namespace tessera

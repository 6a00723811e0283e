// Calls as they are constrained are calls as the answer's parser reads them: for each family random
// texts of the constraint are parsed.
#include "gateway/inference/tool_constraint.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/guided/matcher.hpp"
#include "engine/text/answer_parser.hpp"
#include "gateway/inference/guided_vocabulary.hpp"
#include "tests/gateway/byte_tokenizer.hpp"

namespace tessera {
namespace {

constexpr std::uint64_t kSeed = 20;

ChatTools two_tools(ToolChoice choice) {
  ChatTools tools;
  tools.definitions = nlohmann::ordered_json::array({1, 2});
  tools.names = {"get", "get_more"};
  tools.functions = {
      {.name = "get",
       .parameters = R"({"properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"],)"
                     R"("additionalProperties":false})",
       .strict = true,
       .index = 0},
      {.name = "get_more",
       .parameters = R"({"type":"object","properties":{"n":{"type":"integer","minimum":1,)"
                     R"("maximum":9}},"required":["n"],"additionalProperties":false})",
       .strict = true,
       .index = 1}};
  tools.choice = choice;
  return tools;
}

AnswerSyntax syntax_of(ToolFormat format) {
  return answer_syntax_of(
      "{{ tools }} <|tool_call|>", [](std::string_view) { return false; }, format);
}

// A text that the constraint allows: tokens drawn from the masks, until it may end and has a
// mind to.
std::string random_text(const guided::ConstraintSpec& spec, std::mt19937_64& random) {
  static const auto tokenizer = byte_tokenizer();
  static const auto vocabulary =
      make_guided_vocabulary(*tokenizer, kByteVocab, std::vector<TokenId>{kEosId}, {}).value();
  auto compiled = guided::compile_constraint(spec, vocabulary);
  if (const auto* error = std::get_if<guided::CompileError>(&compiled)) {
    ADD_FAILURE() << error->findings.front().reason;
    return "";
  }
  guided::Matcher matcher(std::get<std::shared_ptr<guided::Constraint>>(compiled));
  std::string text;
  while (!matcher.finished()) {
    if (matcher.accepting() && text.size() > 40 && random() % 4 == 0) break;
    const auto mask = matcher.mask();
    std::vector<TokenId> allowed;
    for (TokenId id = 0; id < 256; ++id) {
      if ((*mask)[id] && (id < 0x80 || text.size() < 4)) allowed.push_back(id);
    }
    if (allowed.empty()) break;
    const TokenId id = allowed[random() % allowed.size()];
    EXPECT_TRUE(matcher.accept(id));
    text += static_cast<char>(id);
  }
  return text;
}

struct Parsed {
  std::vector<std::string> names;
  std::vector<std::string> arguments;
  std::string content;
  bool broken = false;
};

Parsed parse(ToolFormat format, const ChatTools& tools, const std::string& text) {
  AnswerParser parser(syntax_of(format), {.tools = true, .tool_names = tools.names});
  AnswerDelta all = parser.push(text);
  all.append(parser.flush());
  Parsed parsed{.names = {}, .arguments = {}, .content = all.content};
  for (const ToolCallDelta& delta : all.calls) {
    if (delta.begins) {
      parsed.names.push_back(delta.name);
      parsed.arguments.emplace_back();
    }
    parsed.arguments.back() += delta.arguments;
    parsed.broken |= delta.broken;
  }
  return parsed;
}

class ToolConstraintOf : public testing::TestWithParam<ToolFormat> {};

TEST_P(ToolConstraintOf, ARequiredAnswerIsCallsAndNothingElse) {
  const auto tokenizer = byte_tokenizer();
  const ChatTools tools = two_tools(ToolChoice::kRequired);
  const auto constraint = tool_constraint(syntax_of(GetParam()), *tokenizer, tools, {});
  ASSERT_TRUE(constraint) << constraint.error().message;
  std::mt19937_64 random(kSeed);
  std::set<std::string> seen;
  for (int i = 0; i < 20; ++i) {
    const std::string text = random_text(constraint->spec, random);
    SCOPED_TRACE(text);
    const Parsed parsed = parse(GetParam(), tools, text);
    EXPECT_FALSE(parsed.broken);
    EXPECT_EQ(parsed.content, "");
    ASSERT_FALSE(parsed.names.empty());
    for (std::size_t call = 0; call < parsed.names.size(); ++call) {
      const auto arguments = nlohmann::json::parse(parsed.arguments[call], nullptr, false);
      ASSERT_TRUE(arguments.is_object()) << parsed.arguments[call];
      EXPECT_TRUE(arguments.contains(parsed.names[call] == "get" ? "city" : "n"));
    }
    seen.insert(parsed.names.begin(), parsed.names.end());
  }
  EXPECT_EQ(seen.size(), 2U) << "both functions may be called";
}

TEST_P(ToolConstraintOf, ANamedFunctionIsCalledOnce) {
  const auto tokenizer = byte_tokenizer();
  ChatTools tools = two_tools(ToolChoice::kNamed);
  tools.functions.erase(tools.functions.begin());
  const auto constraint = tool_constraint(syntax_of(GetParam()), *tokenizer, tools, {});
  ASSERT_TRUE(constraint);
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 5; ++i) {
    const std::string text = random_text(constraint->spec, random);
    EXPECT_EQ(parse(GetParam(), tools, text).names, std::vector<std::string>{"get_more"}) << text;
  }
}

TEST_P(ToolConstraintOf, UnderAutoCallsAreStrictAndTextIsFree) {
  const auto tokenizer = byte_tokenizer();
  const ChatTools tools = two_tools(ToolChoice::kAuto);
  const AnswerSyntax syntax = syntax_of(GetParam());
  const auto constraint = tool_constraint(syntax, *tokenizer, tools, {});
  if (syntax.bare_calls) {
    ASSERT_FALSE(constraint) << "content cannot be told from a call";
    EXPECT_EQ(constraint.error().code, Code::kUnsupportedParameter);
    return;
  }
  ASSERT_TRUE(constraint);
  EXPECT_TRUE(constraint->spec.tags.free_text);
  EXPECT_FALSE(constraint->spec.tags.at_least_one);
  std::mt19937_64 random(kSeed);
  const std::string text = random_text(constraint->spec, random);
  EXPECT_FALSE(text.empty());
}

INSTANTIATE_TEST_SUITE_P(Families, ToolConstraintOf,
                         testing::Values(ToolFormat::kHermes, ToolFormat::kLlama3,
                                         ToolFormat::kMistral, ToolFormat::kJson),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST(ToolConstraint, WhatIsNotStrictIsAnyObject) {
  const auto tokenizer = byte_tokenizer();
  ChatTools tools = two_tools(ToolChoice::kRequired);
  tools.functions[0].strict = false;
  tools.functions[1].strict.reset();
  const auto constraint = tool_constraint(syntax_of(ToolFormat::kHermes), *tokenizer, tools, {});
  ASSERT_TRUE(constraint);
  EXPECT_EQ(constraint->spec.tags.tags[0].body->kind, guided::ConstraintKind::kJsonObject);
  EXPECT_EQ(constraint->spec.tags.tags[1].body->kind, guided::ConstraintKind::kJsonSchema);
  EXPECT_EQ(constraint->tags[1].param, "tools[1].function.parameters");
}

TEST(ToolConstraint, ParametersHaveToBeAnObjects) {
  const auto tokenizer = byte_tokenizer();
  ChatTools tools = two_tools(ToolChoice::kRequired);
  tools.functions[0].parameters = R"({"type": "string"})";
  const auto constraint = tool_constraint(syntax_of(ToolFormat::kHermes), *tokenizer, tools, {});
  ASSERT_FALSE(constraint);
  EXPECT_EQ(constraint.error().code, Code::kInvalidJsonSchema);
  EXPECT_EQ(constraint.error().param, "tools[0].function.parameters");
}

TEST(ToolConstraint, AModelOfNoKnownFormIsRefused) {
  const auto tokenizer = byte_tokenizer();
  const auto constraint =
      tool_constraint(AnswerSyntax{}, *tokenizer, two_tools(ToolChoice::kRequired), {});
  ASSERT_FALSE(constraint);
  EXPECT_EQ(constraint.error().param, "tool_choice");
}

}  // namespace
}  // namespace tessera

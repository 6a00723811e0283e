#include "gateway/inference/openai_types.hpp"

#include <limits>
#include <ostream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/inference/chat_messages.hpp"
#include "gateway/inference/responses_request.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json chat_with(const std::string& more) {
  const std::string comma = more.empty() ? "" : ", ";
  return parse_json(R"({"model": "m", "messages": [{"role": "user", "content": "hi"}])" + comma +
                    more + "}")
      .value();
}
Json messages(const std::string& list) {
  return parse_json(R"({"model": "m", "messages": )" + list + "}").value();
}
Json completion_with(const std::string& more) {
  const std::string comma = more.empty() ? "" : ", ";
  return parse_json(R"({"model": "m", "prompt": "hi")" + comma + more + "}").value();
}

struct Refusal {
  const char* fields;
  Code code;
  const char* param;
};
void PrintTo(const Refusal& value, std::ostream* out) {
  *out << value.fields;
}

class ChatRefuses : public testing::TestWithParam<Refusal> {};
TEST_P(ChatRefuses, WithCodeAndParam) {
  const auto request = parse_chat_request(chat_with(GetParam().fields));
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, GetParam().code) << request.error().message;
  EXPECT_EQ(request.error().param, GetParam().param);
}
const Refusal kChatRefusals[] = {
    {R"("temperature": 2.1)", Code::kInvalidValue, "temperature"},
    {R"("temperature": -0.1)", Code::kInvalidValue, "temperature"},
    {R"("temperature": "1")", Code::kInvalidValue, "temperature"},
    {R"("top_p": 1.5)", Code::kInvalidValue, "top_p"},
    {R"("min_p": -1)", Code::kInvalidValue, "min_p"},
    {R"("top_k": -2)", Code::kInvalidValue, "top_k"},
    {R"("seed": 1.5)", Code::kInvalidValue, "seed"},
    {R"("max_tokens": 0)", Code::kInvalidValue, "max_tokens"},
    {R"("max_tokens": -1)", Code::kInvalidValue, "max_tokens"},
    {R"("max_completion_tokens": "many")", Code::kInvalidValue, "max_completion_tokens"},
    {R"("max_tokens": 5, "max_completion_tokens": 6)", Code::kInvalidValue, "max_tokens"},
    {R"("stop": ["a","b","c","d","e"])", Code::kInvalidValue, "stop"},
    {R"("stop": "")", Code::kInvalidValue, "stop"},
    {R"("stop": [1])", Code::kInvalidValue, "stop"},
    {R"("stream": 1)", Code::kInvalidValue, "stream"},
    {R"("stream_options": {"include_usage": true})", Code::kInvalidValue, "stream_options"},
    {R"("stream": true, "stream_options": {"x": 1})", Code::kUnknownParameter, "stream_options.x"},
    {R"("stream": true, "stream_options": {"include_obfuscation": 1})", Code::kInvalidValue,
     "stream_options.include_obfuscation"},
    {R"("logprobs": 3)", Code::kInvalidValue, "logprobs"},
    {R"("top_logprobs": 3)", Code::kInvalidValue, "top_logprobs"},
    {R"("logprobs": true, "top_logprobs": 21)", Code::kInvalidValue, "top_logprobs"},
    {R"("n": 0)", Code::kInvalidValue, "n"},
    {R"("n": 9)", Code::kInvalidValue, "n"},
    {R"("frequency_penalty": 2.5)", Code::kInvalidValue, "frequency_penalty"},
    {R"("presence_penalty": -2.5)", Code::kInvalidValue, "presence_penalty"},
    {R"("repetition_penalty": 0)", Code::kInvalidValue, "repetition_penalty"},
    {R"("min_tokens": -1)", Code::kInvalidValue, "min_tokens"},
    {R"("logit_bias": {"1": 101})", Code::kInvalidValue, "logit_bias"},
    {R"("logit_bias": {"-1": 1})", Code::kInvalidValue, "logit_bias"},
    {R"("logit_bias": {"01": 1})", Code::kInvalidValue, "logit_bias"},
    {R"("logit_bias": {"99999999999": 1})", Code::kInvalidValue, "logit_bias"},
    {R"("logit_bias": {"1": "2"})", Code::kInvalidValue, "logit_bias"},
    {R"("logit_bias": [1])", Code::kInvalidValue, "logit_bias"},
    {R"("response_format": {"type": "xml"})", Code::kInvalidValue, "response_format.type"},
    {R"("response_format": {"type": "regex"})", Code::kUnsupportedParameter,
     "response_format.type"},
    {R"("response_format": {"type": "json_schema"})", Code::kMissingRequiredParameter,
     "response_format.json_schema"},
    {R"("response_format": {"type": "json_schema", "json_schema": {"schema": {}}})",
     Code::kMissingRequiredParameter, "response_format.json_schema.name"},
    {R"("response_format": {"type": "json_schema", "json_schema": {"name": "a b"}})",
     Code::kInvalidValue, "response_format.json_schema.name"},
    {R"("response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 7}})",
     Code::kInvalidValue, "response_format.json_schema.schema"},
    {R"("response_format": {"type": "json_schema",
         "json_schema": {"name": "a", "whitespace": "compact"}})",
     Code::kUnknownParameter, "response_format.json_schema.whitespace"},
    {R"("structured_outputs": {"regex": "a", "choice": ["b"]})", Code::kInvalidValue,
     "structured_outputs.choice"},
    {R"("response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"})",
     Code::kInvalidValue, "structured_outputs.regex"},
    {R"("structured_outputs": {"choice": []})", Code::kInvalidValue, "structured_outputs.choice"},
    {R"("structured_outputs": {"regex": "a", "syntax": "lark"})", Code::kInvalidValue,
     "structured_outputs.syntax"},
    {R"("structured_outputs": {"grammar": "a", "syntax": "ebnf"})", Code::kInvalidValue,
     "structured_outputs.syntax"},
    {R"("structured_outputs": {"json": {}})", Code::kUnsupportedParameter,
     "structured_outputs.json"},
    {R"("structured_outputs": {"whitespace": "none"})", Code::kInvalidValue,
     "structured_outputs.whitespace"},
    {R"("structured_outputs": {"backend": "x"})", Code::kUnknownParameter,
     "structured_outputs.backend"},
    {R"("guided_json": {})", Code::kUnsupportedParameter, "guided_json"},
    {R"("guided_choice": ["a"])", Code::kUnsupportedParameter, "guided_choice"},
    {R"("response_format": {"type": "json_object"},
         "tools": [{"type": "function", "function": {"name": "f"}}])",
     Code::kUnsupportedParameter, "response_format"},
    {R"("tools": 7)", Code::kInvalidValue, "tools"},
    {R"("tools": ["f"])", Code::kInvalidValue, "tools[0]"},
    {R"("tools": [{"type": "function"}])", Code::kMissingRequiredParameter, "tools[0].function"},
    {R"("tools": [{"type": "web_search"}])", Code::kUnsupportedParameter, "tools[0].type"},
    {R"("tools": [{"type": "function", "function": {}}])", Code::kMissingRequiredParameter,
     "tools[0].function.name"},
    {R"("tools": [{"type": "function", "function": {"name": "a b"}}])", Code::kInvalidValue,
     "tools[0].function.name"},
    {R"("tools": [{"type": "function", "function": {"name": "f", "parameters": []}}])",
     Code::kInvalidValue, "tools[0].function.parameters"},
    {R"("tools": [{"type": "function", "function": {"name": "f", "strict": 1}}])",
     Code::kInvalidValue, "tools[0].function.strict"},
    {R"("tools": [{"type": "function", "function": {"name": "f"}}],
         "tool_choice": {"type": "function", "function": {"name": "g"}})",
     Code::kInvalidValue, "tool_choice.function.name"},
    {R"("tools": [{"type": "function", "function": {"name": "f"}}],
         "tool_choice": {"type": "custom", "custom": {"name": "f"}})",
     Code::kUnsupportedParameter, "tool_choice.type"},
    {R"("tools": [{"type": "function", "function": {"name": "f"}}],
         "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "any", "tools": []}})",
     Code::kInvalidValue, "tool_choice.allowed_tools.mode"},
    {R"("tools": [{"type": "function", "function": {"name": "f"}}],
         "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools":
         [{"type": "function", "function": {"name": "g"}}]}})",
     Code::kInvalidValue, "tool_choice.allowed_tools.tools"},
    {R"("tools": [{"type": "function", "function": {"name": "f", "returns": 1}}])",
     Code::kUnknownParameter, "tools[0].function.returns"},
    {R"("tools": [{"type": "function", "function": {"name": "f"}},
                  {"type": "function", "function": {"name": "f"}}])",
     Code::kInvalidValue, "tools[1].function.name"},
    {R"("tool_choice": "required")", Code::kUnsupportedParameter, "tool_choice"},
    {R"("tool_choice": "always")", Code::kInvalidValue, "tool_choice"},
    {R"("tool_choice": {"type": "function", "function": {"name": "f"}})",
     Code::kUnsupportedParameter, "tool_choice"},
    {R"("parallel_tool_calls": 1)", Code::kInvalidValue, "parallel_tool_calls"},
    {R"("functions": [{"name": "f"}])", Code::kUnsupportedParameter, "functions"},
    {R"("reasoning_effort": "vast")", Code::kInvalidValue, "reasoning_effort"},
    {R"("chat_template_kwargs": [])", Code::kInvalidValue, "chat_template_kwargs"},
    {R"("chat_template_kwargs": {"messages": []})", Code::kInvalidValue, "chat_template_kwargs"},
    {R"("chat_template_kwargs": {"bos_token": "x"})", Code::kInvalidValue, "chat_template_kwargs"},
    {R"("continue_final_message": true, "add_generation_prompt": true)", Code::kInvalidValue,
     "add_generation_prompt"},
    {R"("store": true)", Code::kUnsupportedParameter, "store"},
    {R"("service_tier": "gold")", Code::kInvalidValue, "service_tier"},
    {R"("service_tier": 1)", Code::kInvalidValue, "service_tier"},
    {R"("priority": 0)", Code::kUnsupportedParameter, "priority"},
    {R"("modalities": ["audio"])", Code::kUnsupportedParameter, "modalities"},
    {R"("prediction": {})", Code::kUnsupportedParameter, "prediction"},
    {R"("metadata": {"a": 1})", Code::kInvalidValue, "metadata"},
    {R"("prompt": "x")", Code::kUnknownParameter, "prompt"},
    {R"("temprature": 1)", Code::kUnknownParameter, "temprature"},
    {R"("stop_token_ids": [-1])", Code::kInvalidValue, "stop_token_ids"},
    {R"("adapters": [])", Code::kInvalidValue, "adapters"},
    {R"("adapters": {"model": "a"})", Code::kInvalidValue, "adapters"},
    {R"("adapters": [{"model": "a"}, {"model": "b"}, {"model": "c"}, {"model": "d"},
        {"model": "e"}])",
     Code::kInvalidValue, "adapters"},
    {R"("adapters": [{"weight": 1}])", Code::kMissingRequiredParameter, "adapters[0].model"},
    {R"("adapters": [{"model": "a"}, {"model": "b", "weight": 17}])", Code::kInvalidValue,
     "adapters[1].weight"},
    {R"("adapters": [{"model": "a", "scale": 1}])", Code::kUnknownParameter, "adapters[0].scale"},
};
INSTANTIATE_TEST_SUITE_P(Fields, ChatRefuses, testing::ValuesIn(kChatRefusals));

class ChatAccepts : public testing::TestWithParam<const char*> {};
TEST_P(ChatAccepts, AsIfAbsent) {
  const auto request = parse_chat_request(chat_with(GetParam()));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->options.sampling.temperature, 1.0F);
  EXPECT_FALSE(request->options.max_tokens);
  EXPECT_EQ(request->options.sampling.num_logprobs, -1);
}
INSTANTIATE_TEST_SUITE_P(
    NeutralValues, ChatAccepts,
    testing::Values(
        "", R"("temperature": null)", R"("max_tokens": null, "stop": null, "stream": null)",
        R"("n": 1)", R"("frequency_penalty": 0, "presence_penalty": 0.0)", R"("logit_bias": {})",
        R"("logit_bias": null)", R"("response_format": {"type": "text"})", R"("tools": [])",
        R"("tool_choice": "auto", "parallel_tool_calls": true)", R"("tool_choice": "none")",
        R"("reasoning_effort": "none", "chat_template_kwargs": {})", R"("store": false)",
        R"("service_tier": "auto")", R"("user": "u", "safety_identifier": "s")",
        R"("prompt_cache_key": "k", "metadata": {"a": "b"})", R"("modalities": ["text"])",
        R"("logprobs": false)", R"("stream": true, "stream_options": {})",
        R"("top_k": -1, "min_p": 0, "repetition_penalty": 1, "min_tokens": 0)"));

TEST(ChatRequestFields, ChangeLogits) {
  const auto request = parse_chat_request(chat_with(
      R"("n": 3, "frequency_penalty": 0.5, "presence_penalty": -1, "repetition_penalty": 1.25,
         "min_tokens": 2, "logit_bias": {"7": -100, "12": 1.5})"));
  ASSERT_TRUE(request) << request.error().message;
  const SamplingParams& sampling = request->options.sampling;
  EXPECT_EQ(request->options.num_choices, 3);
  EXPECT_EQ(sampling.frequency_penalty, 0.5F);
  EXPECT_EQ(sampling.presence_penalty, -1.0F);
  EXPECT_EQ(sampling.repetition_penalty, 1.25F);
  EXPECT_EQ(sampling.min_tokens, 2);
  EXPECT_EQ(sampling.logit_bias,
            (std::vector<std::pair<TokenId, float>>{{7, -100.0F}, {12, 1.5F}}));
}

class MessagesRefused : public testing::TestWithParam<Refusal> {};
TEST_P(MessagesRefused, WithCodeAndPath) {
  const auto request = parse_chat_request(messages(GetParam().fields));
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, GetParam().code) << request.error().message;
  EXPECT_EQ(request.error().param, GetParam().param);
}
const Refusal kMessageRefusals[] = {
    {"[]", Code::kInvalidValue, "messages"},
    {"null", Code::kMissingRequiredParameter, "messages"},
    {R"("hi")", Code::kInvalidValue, "messages"},
    {R"([{"role": "user"}])", Code::kMissingRequiredParameter, "messages[0].content"},
    {R"([{"content": "x"}])", Code::kMissingRequiredParameter, "messages[0].role"},
    {R"([{"role": "wizard", "content": "x"}])", Code::kInvalidValue, "messages[0].role"},
    {R"([{"role": "function", "content": "x"}])", Code::kUnsupportedContent, "messages[0].role"},
    {R"([{"role": "tool", "content": "x"}])", Code::kMissingRequiredParameter,
     "messages[0].tool_call_id"},
    {R"([{"role": "tool", "content": "x", "tool_call_id": "c1"}])", Code::kInvalidValue,
     "messages[0].tool_call_id"},
    {R"([{"role": "tool", "content": "x", "tool_call_id": ""}])", Code::kInvalidValue,
     "messages[0].tool_call_id"},
    {R"([{"role": "user", "content": "x", "tool_call_id": "c1"}])", Code::kUnsupportedParameter,
     "messages[0].tool_call_id"},
    {R"([{"role": "user", "content": "x", "reasoning_content": "y"}])", Code::kUnsupportedParameter,
     "messages[0].reasoning_content"},
    {R"([{"role": "assistant", "content": "x", "reasoning": 1}])", Code::kInvalidValue,
     "messages[0].reasoning"},
    {R"([{"role": "assistant", "tool_calls": {}}])", Code::kMissingRequiredParameter,
     "messages[0].content"},
    {R"([{"role": "assistant", "tool_calls": 1}])", Code::kInvalidValue, "messages[0].tool_calls"},
    {R"([{"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "function": {}}]}])",
     Code::kUnsupportedContent, "messages[0].tool_calls[0].type"},
    {R"([{"role": "assistant", "tool_calls": [{"id": "a", "type": "function",
          "function": {"name": "f", "arguments": {}}}]}])",
     Code::kInvalidValue, "messages[0].tool_calls[0].function.arguments"},
    {R"([{"role": "user", "content": 7}])", Code::kInvalidValue, "messages[0].content"},
    {R"([{"role": "user", "content": "x", "tone": "y"}])", Code::kUnknownParameter,
     "messages[0].tone"},
    {R"([{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "image_url"}]}])",
     Code::kUnsupportedContent, "messages[1].content[0]"},
    {R"([{"role": "user", "content": [{"type": "text"}]}])", Code::kMissingRequiredParameter,
     "messages[0].content[0].text"},
    {R"([{"role": "assistant", "content": "", "tool_calls": [{}]}])",
     Code::kMissingRequiredParameter, "messages[0].tool_calls[0].id"},
    {R"(["hi"])", Code::kInvalidValue, "messages[0]"},
};
INSTANTIATE_TEST_SUITE_P(Messages, MessagesRefused, testing::ValuesIn(kMessageRefusals));

TEST(ParseChatRequest, MessagesComeInTheFormThatTheTemplateTakes) {
  const auto request = parse_chat_request(messages(
      R"([{"role": "developer", "content": "be kind"},
          {"role": "user", "content": [{"type": "text", "text": "a"},
                                       {"type": "text", "text": "b"}]},
          {"role": "assistant", "content": null, "reasoning": "hm", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "oops"}}]},
          {"role": "tool", "tool_call_id": "c2", "content": "r"}])"));
  ASSERT_TRUE(request) << request.error().message;
  const Json plain = messages_for({.null_content_as_empty = true}, request->conversation.messages);
  EXPECT_EQ(plain[0].dump(), R"({"role":"system","content":"be kind"})");
  EXPECT_EQ(plain[1]["content"], "a\nb");
  EXPECT_EQ(plain[2]["content"], "");
  EXPECT_EQ(plain[2]["reasoning_content"], "hm");
  EXPECT_EQ(plain[2]["tool_calls"][0]["function"]["arguments"], (Json{{"x", 1}}));
  EXPECT_EQ(plain[2]["tool_calls"][1]["function"]["arguments"], "oops") << "it is no JSON";
  EXPECT_EQ(plain[3]["name"], "g") << "of the call that it answers";

  const Json rich =
      messages_for({.takes_parts = true, .arguments_as_text = true, .knows_developer = true},
                   request->conversation.messages);
  EXPECT_EQ(rich[0]["role"], "developer");
  EXPECT_EQ(rich[1]["content"].size(), 2U);
  EXPECT_TRUE(rich[2]["content"].is_null());
  EXPECT_EQ(rich[2]["tool_calls"][0]["function"]["arguments"], R"({"x":1})");
}

TEST(ParseChatRequest, ToolsArriveAsTheyWereGivenButForStrict) {
  const std::string tools =
      R"("tools": [{"type": "function", "function": {"description": "d", "name": "f",
         "strict": false, "parameters": {"z": 1, "a": 2}}}])";
  const auto request = parse_chat_request(chat_with(tools));
  ASSERT_TRUE(request) << request.error().message;
  const ChatTools& read = request->conversation.tools;
  EXPECT_EQ(read.definitions[0].dump(),
            R"({"type":"function","function":{"description":"d","name":"f",)"
            R"("parameters":{"z":1,"a":2}}})");
  EXPECT_EQ(read.names, std::vector<std::string>{"f"});
  EXPECT_TRUE(read.parallel);
  const auto none = parse_chat_request(chat_with(tools + R"(, "tool_choice": "none")"));
  EXPECT_TRUE(none->conversation.tools.empty());
}

constexpr char kThreeTools[] =
    R"("tools": [{"type": "function", "function": {"name": "f", "strict": true}},
                 {"type": "function", "function": {"name": "g", "parameters": {"maximum": 1e30}}},
                 {"type": "function", "function": {"name": "h", "strict": false}}])";

TEST(ParseChatRequest, ToolChoiceSaysWhatHasToBeCalled) {
  const auto tools_of = [](const std::string& choice) {
    const auto request = parse_chat_request(chat_with(kThreeTools + choice));
    EXPECT_TRUE(request) << request.error().message;
    return request->conversation.tools;
  };
  const auto names = [](const ChatTools& tools) {
    std::string all;
    for (const ToolFunction& function : tools.functions) {
      all += function.name + (tools.enforces(function) ? "!" : "");
    }
    return all;
  };
  EXPECT_EQ(names(tools_of("")), "f!gh");
  EXPECT_TRUE(tools_of("").constrained());
  const ChatTools required = tools_of(R"(, "tool_choice": "required")");
  EXPECT_EQ(names(required), "f!g!h");
  EXPECT_EQ(required.choice, ToolChoice::kRequired);
  const ChatTools named =
      tools_of(R"(, "tool_choice": {"type": "function", "function": {"name": "g"}})");
  EXPECT_EQ(names(named), "g!");
  EXPECT_EQ(named.choice, ToolChoice::kNamed);
  EXPECT_EQ(named.names.size(), 3U) << "the template is given all of them";
  const ChatTools allowed = tools_of(R"(, "tool_choice": {"type": "allowed_tools",
      "allowed_tools": {"mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "h"}}]}})");
  EXPECT_EQ(names(allowed), "h");
  EXPECT_EQ(allowed.choice, ToolChoice::kAuto);
  EXPECT_TRUE(allowed.constrained());
}

TEST(ParseChatRequest, SchemasKeepTheBytesOfTheRequest) {
  const std::string text =
      R"({"model": "m", "messages": [{"role": "user", "content": "hi"}], "response_format" : {
         "type": "json_schema", "json_schema": {"name": "x", "strict": true,
           "schema" :  {"maximum": 100000000000000000000000000000.25, "enum": ["}\"", 1.50]} }}})";
  const auto request = parse_chat_request(parse_json(text).value(), text);
  ASSERT_TRUE(request) << request.error().message;
  const OutputFormat& format = request->options.format;
  ASSERT_TRUE(format.asked);
  EXPECT_EQ(format.asked->spec.source,
            R"({"maximum": 100000000000000000000000000000.25, "enum": ["}\"", 1.50]})");
  EXPECT_TRUE(format.openai_strict);
  EXPECT_EQ(format.asked->place.param, "response_format.json_schema.schema");

  const std::string tools = R"({"model": "m", "messages": [{"role": "user", "content": "hi"}], )" +
                            std::string(kThreeTools) + "}";
  const auto with_tools = parse_chat_request(parse_json(tools).value(), tools);
  ASSERT_TRUE(with_tools);
  EXPECT_EQ(with_tools->conversation.tools.functions[1].parameters, R"({"maximum": 1e30})");
}

TEST(ParseChatRequest, StructuredOutputsArriveWithTheirOptions) {
  const auto format_of = [](const std::string& fields) {
    const auto request = parse_chat_request(chat_with(fields));
    EXPECT_TRUE(request) << request.error().message;
    return request->options.format;
  };
  using guided::ConstraintKind;
  EXPECT_EQ(format_of(R"("structured_outputs": {"regex": "a+"})").asked->spec.source, "a+");
  EXPECT_EQ(format_of(R"("structured_outputs": {"choice": ["a", "b"]})").asked->spec.choices.size(),
            2U);
  EXPECT_EQ(format_of(R"("structured_outputs": {"grammar": "g"})").asked->spec.kind,
            ConstraintKind::kLark);
  EXPECT_EQ(
      format_of(R"("structured_outputs": {"grammar": "g", "syntax": "gbnf"})").asked->spec.kind,
      ConstraintKind::kGbnf);
  const OutputFormat format = format_of(
      R"("response_format": {"type": "json_object"}, "structured_outputs": {
         "whitespace": "flexible", "property_order": "any", "escapes": "minimal",
         "integers": "spec", "formats": "strict", "complete_within_max_tokens": true})");
  const guided::ConstraintSpec& spec = format.asked->spec;
  EXPECT_EQ(spec.kind, ConstraintKind::kJsonObject);
  EXPECT_EQ(spec.document.whitespace, guided::Whitespace::kFlexible);
  EXPECT_EQ(spec.document.property_order, guided::PropertyOrder::kAny);
  EXPECT_EQ(spec.document.escapes, guided::Escapes::kMinimal);
  EXPECT_EQ(spec.document.integer_form, guided::IntegerForm::kValue);
  EXPECT_TRUE(spec.schema.assert_unknown_formats);
  EXPECT_TRUE(format.rules.complete_within_max_tokens);
  EXPECT_FALSE(format_of(R"("response_format": {"type": "text"})").asked);
}

TEST(ParseChatRequest, ToolsAreBoundedInNumberAndBytes) {
  const auto with_tools = [](int count, const std::string& description) {
    std::string list;
    for (int i = 0; i < count; ++i) {
      list += std::string(i > 0 ? "," : "") + R"({"type": "function", "function": {"name": "f)" +
              std::to_string(i) + R"(", "description": ")" + description + R"("}})";
    }
    return parse_chat_request(chat_with("\"tools\": [" + list + "]"));
  };
  EXPECT_TRUE(with_tools(128, ""));
  EXPECT_EQ(with_tools(129, "").error().code, Code::kRequestExceedsLimit);
  EXPECT_TRUE(with_tools(2, std::string(100'000, 'x')));
  EXPECT_EQ(with_tools(3, std::string(100'000, 'x')).error().code, Code::kRequestExceedsLimit);
}

TEST(ParseTokenizeRequest, TakesAPromptOrMessages) {
  const auto read = [](const std::string& fields) {
    return parse_tokenize_request(parse_json("{\"model\": \"m\", " + fields + "}").value());
  };
  EXPECT_EQ(read(R"("prompt": "hi")")->prompt, "hi");
  EXPECT_TRUE(read(R"("prompt": "hi")")->add_special_tokens);
  EXPECT_TRUE(read(R"("prompt": "")")->prompt);
  const auto chat = read(R"("messages": [{"role": "user", "content": "hi"}],
                            "continue_final_message": true)");
  ASSERT_TRUE(chat->conversation);
  EXPECT_FALSE(chat->conversation->add_generation_prompt);
  EXPECT_EQ(read(R"("prompt": ["a"])").error().param, "prompt");
  EXPECT_EQ(read(R"("stream": true, "prompt": "a")").error().param, "stream");
}

TEST(ParseChatRequest, EveryUsedFieldArrives) {
  const auto request = parse_chat_request(chat_with(
      R"("temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": -7,
         "max_completion_tokens": 12, "stop": ["a", "b"], "logprobs": true, "top_logprobs": 3,
         "stream": true, "stream_options": {"include_usage": true}, "stop_token_ids": [5],
         "ignore_eos": true)"));
  ASSERT_TRUE(request) << request.error().message;
  const InferenceOptions& options = request->options;
  EXPECT_EQ(options.sampling.temperature, 0.5F);
  EXPECT_EQ(options.sampling.top_p, 0.9F);
  EXPECT_EQ(options.sampling.top_k, 40);
  EXPECT_EQ(options.sampling.min_p, 0.1F);
  EXPECT_EQ(options.seed, -7);
  EXPECT_EQ(options.max_tokens, 12);
  EXPECT_EQ(options.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(options.sampling.num_logprobs, 3);
  EXPECT_TRUE(options.stream && options.include_usage && options.sampling.ignore_eos);
  EXPECT_EQ(options.sampling.stop_token_ids, (std::vector<TokenId>{5}));
}

TEST(ParseChatRequest, TopPOfZeroKeepsTheMostLikelyToken) {
  const auto request = parse_chat_request(chat_with(R"("top_p": 0)"));
  ASSERT_TRUE(request);
  EXPECT_GT(request->options.sampling.top_p, 0.0F);
  EXPECT_LT(request->options.sampling.top_p, 1e-30F);
}

TEST(ParseCompletionRequest, PromptsInTheirFourForms) {
  const auto prompts = [](const std::string& prompt) {
    const auto body = parse_json(R"({"model": "m", "prompt": )" + prompt + "}").value();
    const auto request = parse_completion_request(body);
    return request ? request->prompts : std::vector<Prompt>();
  };
  EXPECT_EQ(prompts(R"("a")"), (std::vector<Prompt>{"a"}));
  EXPECT_EQ(prompts(R"(["a", "b"])"), (std::vector<Prompt>{"a", "b"}));
  EXPECT_EQ(prompts("[1, 2]"), (std::vector<Prompt>{std::vector<TokenId>{1, 2}}));
  EXPECT_EQ(prompts("[[1], [2, 3]]"),
            (std::vector<Prompt>{std::vector<TokenId>{1}, std::vector<TokenId>{2, 3}}));
  for (const char* wrong : {"[]", "[[]]", "{}", "[-1]", "[1.5]", "[\"a\", null]", "[4294967296]"}) {
    EXPECT_TRUE(prompts(wrong).empty()) << wrong;
  }
}

TEST(ParseCompletionRequest, DefaultsAreOpenAis) {
  const auto request = parse_completion_request(completion_with(""));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->options.max_tokens, 16);
  EXPECT_EQ(request->options.sampling.num_logprobs, -1);
}

TEST(ParseChatRequest, TiersHaveTheirNames) {
  const auto tier = [](const std::string& name) {
    const auto request = parse_chat_request(chat_with(R"("service_tier": ")" + name + '"'));
    return std::string(to_string(request.value().options.tier));
  };
  EXPECT_EQ(tier("auto"), "default");
  EXPECT_EQ(tier("flex"), "flex");
  EXPECT_EQ(tier("priority"), "priority");
  EXPECT_EQ(tier("fast"), "priority");
}

TEST(ParseCompletionRequest, MoreMayBeMadeThanAreTold) {
  const auto request =
      parse_completion_request(completion_with(R"("n": 2, "best_of": 5, "echo": true)"));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->options.num_choices, 2);
  EXPECT_EQ(request->options.best_of, 5);
  EXPECT_TRUE(request->options.echo);
  const auto plain = parse_completion_request(completion_with(R"("n": 3)"));
  EXPECT_EQ(plain->options.best_of, 3);
}

TEST(ParseCompletionRequest, ZeroIsNoChoiceAmongMore) {
  for (const char* fields :
       {R"("n": 3, "best_of": 0)", R"("n": 3, "best_of": 0, "stream": true)"}) {
    const auto request = parse_completion_request(completion_with(fields));
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->options.num_choices, 3);
    EXPECT_EQ(request->options.best_of, 3);
  }
}

TEST(ParseEmbeddingRequest, ReadsWhatIsAskedFor) {
  const auto request = parse_embedding_request(
      parse_json(R"({"model": "m", "input": ["a", "b"], "encoding_format": "base64",
                     "dimensions": 8, "pooling": "mean", "user": "u"})")
          .value());
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->inputs.size(), 2U);
  EXPECT_TRUE(request->base64);
  EXPECT_EQ(request->dimensions, 8);
  EXPECT_EQ(request->pooling, PromptOutput::kMeanState);
  EXPECT_EQ(request->options.max_tokens, 0);
  const auto plain = parse_embedding_request(parse_json(R"({"model": "m", "input": "a"})").value());
  EXPECT_FALSE(plain->base64);
  EXPECT_EQ(plain->pooling, PromptOutput::kLastState);
}

TEST(ParseResponsesRequest, IsTheChatThatItMeans) {
  const auto request = parse_responses_request(
      parse_json(R"({"model": "m", "instructions": "Be kind.", "max_output_tokens": 9,
          "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "b"}],
          "tools": [{"type": "function", "name": "f"}], "top_logprobs": 2})")
          .value());
  ASSERT_TRUE(request) << request.error().message;
  const auto& messages = request->chat.conversation.messages;
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].at("content"), "Be kind.");
  EXPECT_EQ(messages[2].at("tool_calls")[0].at("function").at("name"), "f");
  EXPECT_EQ(messages[3].at("role"), "tool");
  EXPECT_EQ(request->chat.options.max_tokens, 9);
  EXPECT_EQ(request->chat.options.sampling.num_logprobs, 2);
  EXPECT_EQ(request->chat.conversation.tools.names, std::vector<std::string>{"f"});
  EXPECT_EQ(request->response.at("instructions"), "Be kind.");
  EXPECT_EQ(request->response.at("store"), false);
}

TEST(ParseCompletionRequest, NoTokensAtAllMayBeAskedFor) {
  const auto request = parse_completion_request(completion_with(R"("max_tokens": 0)"));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->options.max_tokens, 0);
}

class CompletionRefuses : public testing::TestWithParam<Refusal> {};
TEST_P(CompletionRefuses, WithCodeAndParam) {
  const auto request = parse_completion_request(completion_with(GetParam().fields));
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().code, GetParam().code) << request.error().message;
  EXPECT_EQ(request.error().param, GetParam().param);
}
const Refusal kCompletionRefusals[] = {
    {R"("max_tokens": -1)", Code::kInvalidValue, "max_tokens"},
    {R"("logprobs": 6)", Code::kInvalidValue, "logprobs"},
    {R"("logprobs": true)", Code::kInvalidValue, "logprobs"},
    {R"("best_of": 21)", Code::kInvalidValue, "best_of"},
    {R"("best_of": -1)", Code::kInvalidValue, "best_of"},
    {R"("best_of": 1, "n": 2)", Code::kInvalidValue, "best_of"},
    {R"("best_of": 2, "stream": true)", Code::kInvalidValue, "best_of"},
    {R"("echo": 1)", Code::kInvalidValue, "echo"},
    {R"("suffix": "x")", Code::kUnsupportedParameter, "suffix"},
    {R"("n": 9)", Code::kInvalidValue, "n"},
    {R"("messages": [])", Code::kUnknownParameter, "messages"},
    {R"("guided_regex": "a")", Code::kUnsupportedParameter, "guided_regex"},
    {R"("structured_outputs": {"regex": 1})", Code::kInvalidValue, "structured_outputs.regex"},
};
INSTANTIATE_TEST_SUITE_P(Fields, CompletionRefuses, testing::ValuesIn(kCompletionRefusals));

}  // namespace
}  // namespace tessera

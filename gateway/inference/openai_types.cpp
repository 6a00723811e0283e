#include "gateway/inference/openai_types.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "gateway/config.hpp"
#include "gateway/inference/chat_messages.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

constexpr std::size_t kMaxLabelChars = 64;  // of safety identifiers, efforts

// The current and the deprecated name of one limit; if both are given they must agree.
void read_chat_max_tokens(Fields& fields, std::optional<int>& out) {
  std::optional<int> deprecated;
  read_max_tokens(fields, "max_completion_tokens", 1, out);
  read_max_tokens(fields, "max_tokens", 1, deprecated);
  if (out && deprecated && *out != *deprecated) {
    fields.fail(Code::kInvalidValue, "max_tokens",
                "'max_tokens' and 'max_completion_tokens' differ; give one of them.");
  }
  if (!out) out = deprecated;
}

void read_chat_logprobs(Fields& fields, int& num_logprobs) {
  bool wanted = false;
  std::optional<std::int64_t> top;
  fields.boolean("logprobs", wanted);
  fields.integer("top_logprobs", {0, kMaxChatTopLogprobs}, top);
  if (top && !wanted) {
    fields.fail(Code::kInvalidValue, "top_logprobs",
                "'top_logprobs' is only allowed when 'logprobs' is true.");
  }
  if (wanted) num_logprobs = static_cast<int>(top.value_or(0));
}

// The newer name of `user`, which counts if both are given.
void read_safety_identifier(Fields& fields, std::string& user) {
  std::string identifier;
  fields.text("safety_identifier", kMaxLabelChars, identifier);
  if (!identifier.empty()) user = std::move(identifier);
}

// (What asks for nothing is made for those who give the field alone: hardly anybody does.)
void refuse_unsupported_chat_fields(Fields& fields) {
  const auto has = [&](std::string_view name) { return fields.any(name) != nullptr; };
  if (has("store")) fields.unsupported("store", {false});
  if (has("functions")) fields.unsupported("functions", {Json::array()});
  if (has("function_call")) fields.unsupported("function_call", {"none", "auto"});
  if (has("modalities")) fields.unsupported("modalities", {Json::array({"text"})});
  if (has("verbosity")) fields.unsupported("verbosity", {"medium"});
  for (const std::string_view name :
       {"prediction", "audio", "web_search_options", "prompt_cache_retention",
        "prompt_cache_options", "moderation"}) {
    fields.unsupported(name);
  }
}

// Variables for the template. Ours cannot be set by a client: a prompt has to come from the fields
// that are checked.
void read_template_variables(Fields& fields, Json& out) {
  const Json* value = fields.any("chat_template_kwargs");
  if (!value) return;
  constexpr std::string_view kName = "chat_template_kwargs";
  if (!value->is_object()) {
    return fields.fail(Code::kInvalidValue, kName, "'chat_template_kwargs' must be an object.");
  }
  if (to_text(*value).size() > kMaxTemplateVariableBytes) {
    return fields.fail(Code::kRequestExceedsLimit, kName,
                       "'chat_template_kwargs' is longer than " +
                           std::to_string(kMaxTemplateVariableBytes) + " bytes.");
  }
  for (const auto& [name, variable] : value->items()) {
    const bool ours = name == "messages" || name == "tools" || name == "add_generation_prompt" ||
                      name == "chat_template" || name.ends_with("_token") || name.empty();
    if (ours) {
      return fields.fail(Code::kInvalidValue, kName,
                         "'chat_template_kwargs' cannot set '" + name.substr(0, 64) + "'.");
    }
  }
  out = *value;
}

void read_reasoning_effort(Fields& fields, std::string& effort) {
  constexpr std::array<std::string_view, 6> kEfforts = {"none",   "minimal", "low",
                                                        "medium", "high",    "xhigh"};
  fields.text("reasoning_effort", kMaxLabelChars, effort);
  if (effort.empty() || std::ranges::find(kEfforts, effort) != kEfforts.end()) return;
  fields.fail(Code::kInvalidValue, "reasoning_effort",
              "'reasoning_effort' must be none, minimal, low, medium, high or xhigh.");
}

// The fields that make a conversation a prompt. `messages` comes last: it is the one whose faults
// are told last.
Result<Conversation> read_conversation(Fields& fields, std::string_view text) {
  Conversation conversation;
  auto tools = read_tools(fields, text);
  if (!tools) return tools.error();
  conversation.tools = *std::move(tools);
  read_reasoning_effort(fields, conversation.reasoning_effort);
  read_template_variables(fields, conversation.variables);
  fields.boolean("continue_final_message", conversation.continue_final_message);
  conversation.add_generation_prompt = !conversation.continue_final_message;
  fields.boolean("add_generation_prompt", conversation.add_generation_prompt);
  if (conversation.continue_final_message && conversation.add_generation_prompt) {
    fields.fail(Code::kInvalidValue, "add_generation_prompt",
                "'add_generation_prompt' and 'continue_final_message' exclude each other.");
  }
  const Json* messages = fields.required_any("messages");
  if (auto read = fields.finish(); !read) return read.error();
  auto read = read_messages(*messages);
  if (!read) return read.error();
  conversation.messages = *std::move(read);
  return conversation;
}

// An answer in a form of its own is no call.
Result<void> check_together(const ChatRequest& request) {
  const OutputFormat& format = request.options.format;
  if (!format.asked || request.conversation.tools.empty()) return {};
  return Error{Code::kUnsupportedParameter,
               "'" + format.asked->place.param +
                   "' and tools that may be called exclude each other on this server; set "
                   "'tool_choice' to 'none', or leave one of them out.",
               format.asked->place.param};
}

}  // namespace

Result<ChatRequest> parse_chat_request(const Json& body, std::string_view text) {
  ChatRequest request;
  Fields fields(body);
  read_options(fields, text, request.options);
  read_chat_max_tokens(fields, request.options.max_tokens);
  read_chat_logprobs(fields, request.options.sampling.num_logprobs);
  read_safety_identifier(fields, request.options.user);
  read_service_tier(fields, request.options);
  check_metadata(fields);
  refuse_unsupported_chat_fields(fields);
  auto conversation = read_conversation(fields, text);
  if (!conversation) return conversation.error();
  request.conversation = *std::move(conversation);
  if (auto checked = check_together(request); !checked) return checked.error();
  return request;
}

Result<TokenizeRequest> parse_tokenize_request(const Json& body) {
  TokenizeRequest request;
  std::string prompt;
  Fields fields(body);
  fields.required("model", request.model);
  fields.boolean("add_special_tokens", request.add_special_tokens);
  fields.boolean("return_token_strs", request.return_token_strs);
  if (fields.any("prompt")) {
    if (fields.any("messages")) {
      fields.fail(Code::kInvalidValue, "prompt", "Give either 'prompt' or 'messages'.");
    }
    fields.required("prompt", prompt);
    if (auto read = fields.finish(); !read) return read.error();
    request.prompt = std::move(prompt);
    return request;
  }
  auto conversation = read_conversation(fields, {});
  if (!conversation) return conversation.error();
  request.conversation = *std::move(conversation);
  return request;
}

Result<DetokenizeRequest> parse_detokenize_request(const Json& body) {
  DetokenizeRequest request;
  Fields fields(body);
  fields.required("model", request.model);
  if (fields.required_any("tokens")) {
    fields.integers("tokens", kMaxTokenizeIds, {0, kMaxInt}, request.tokens);
  }
  fields.boolean("skip_special_tokens", request.skip_special_tokens);
  if (auto read = fields.finish(); !read) return read.error();
  return request;
}

}  // namespace tessera

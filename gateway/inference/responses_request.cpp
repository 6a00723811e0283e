#include "gateway/inference/responses_request.hpp"

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/api/fields.hpp"
#include "gateway/config.hpp"
#include "gateway/inference/responses_input.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

// Members that mean the same, by the same name, in both.
constexpr std::array<std::string_view, 22> kShared = {"model",
                                                      "adapters",
                                                      "temperature",
                                                      "top_p",
                                                      "top_k",
                                                      "min_p",
                                                      "min_tokens",
                                                      "repetition_penalty",
                                                      "stop_token_ids",
                                                      "ignore_eos",
                                                      "seed",
                                                      "stream",
                                                      "stream_options",
                                                      "structured_outputs",
                                                      "chat_template_kwargs",
                                                      "user",
                                                      "safety_identifier",
                                                      "prompt_cache_key",
                                                      "metadata",
                                                      "parallel_tool_calls",
                                                      "service_tier",
                                                      "priority"};

// What the chat request calls a member, and what this one does.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kRenamed = {
    {{"messages", "input"},
     {"max_completion_tokens", "max_output_tokens"},
     {"response_format.json_schema", "text.format"},
     {"response_format", "text.format"},
     {"reasoning_effort", "reasoning.effort"},
     {".function.", "."}}};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// `places` are where the messages come from.
std::string renamed(std::string text, const std::vector<std::string>& places) {
  for (std::size_t i = 0; i < places.size(); ++i) {
    replace_all(text, "messages[" + std::to_string(i) + "]", places[i]);
  }
  for (const auto& [from, to] : kRenamed) replace_all(text, from, to);
  return text;
}

Error in_own_words(const Error& error, const std::vector<std::string>& places) {
  return {error.code, renamed(error.message, places), renamed(error.param, places)};
}

void refuse_what_needs_a_store(Fields& fields) {
  fields.unsupported("store", {false});
  fields.unsupported("background", {false});
  fields.unsupported("truncation", {"disabled"});
  for (const std::string_view name :
       {"previous_response_id", "conversation", "prompt", "max_tool_calls", "context_management",
        "prompt_cache_options", "prompt_cache_retention", "moderation"}) {
    fields.unsupported(name);
  }
}

// {"format": {…}, "verbosity": …}: the chat's response_format.
void read_text(Fields& fields, Json& chat) {
  const Json* text = fields.any("text");
  if (!text) return;
  Fields nested(*text, "text.");
  nested.unsupported("verbosity", {"medium"});
  const Json* format = nested.any("format");
  fields.absorb(nested.finish());
  if (!format || !format->is_object() || format->value("type", Json()) != "json_schema") {
    if (format) chat["response_format"] = *format;
    return;
  }
  Json schema = *format;
  schema.erase("type");
  chat["response_format"] = {{"type", "json_schema"}, {"json_schema", std::move(schema)}};
}

void read_reasoning(Fields& fields, Json& chat) {
  const Json* reasoning = fields.any("reasoning");
  if (!reasoning) return;
  Fields nested(*reasoning, "reasoning.");
  if (const Json* effort = nested.any("effort")) chat["reasoning_effort"] = *effort;
  nested.unsupported("summary", {"auto"});
  nested.unsupported("generate_summary", {"auto"});
  fields.absorb(nested.finish());
}

// {"type": "function", "name": …} as {"type": "function", "function": {"name": …}}; anything else
// as it is, for the chat's own parser to refuse.
Json nested_function(const Json& flat) {
  if (!flat.is_object() || flat.value("type", Json()) != "function") return flat;
  Json function = flat;
  function.erase("type");
  return {{"type", "function"}, {"function", std::move(function)}};
}

Json nested_functions(const Json& list) {
  if (!list.is_array()) return list;
  Json nested = Json::array();
  for (const Json& item : list) nested.push_back(nested_function(item));
  return nested;
}

void read_response_tools(Fields& fields, Json& chat) {
  if (const Json* tools = fields.any("tools")) chat["tools"] = nested_functions(*tools);
  const Json* choice = fields.any("tool_choice");
  if (!choice) return;
  chat["tool_choice"] = nested_function(*choice);
  if (!choice->is_object() || choice->value("type", Json()) != "allowed_tools") return;
  Json allowed = *choice;
  allowed.erase("type");
  if (allowed.contains("tools")) allowed["tools"] = nested_functions(allowed["tools"]);
  chat["tool_choice"] = {{"type", "allowed_tools"}, {"allowed_tools", std::move(allowed)}};
}

// Log-probabilities are asked for by naming them in `include`; how many by top_logprobs.
void read_include(Fields& fields, Json& chat) {
  const Json* include = fields.any("include");
  if (const Json* top = fields.any("top_logprobs")) {
    chat["logprobs"] = true;
    chat["top_logprobs"] = *top;
  }
  if (!include) return;
  const auto fail = [&](Code code, const std::string& message) {
    fields.fail(code, "include", message);
  };
  if (!include->is_array()) return fail(Code::kInvalidValue, "'include' must be an array.");
  for (const Json& item : *include) {
    if (item == "message.output_text.logprobs") {
      chat["logprobs"] = true;
    } else if (item != "reasoning.encrypted_content") {  // there is none to include
      return fail(Code::kUnsupportedParameter,
                  "'include' can only name 'message.output_text.logprobs' on this server.");
    }
  }
}

Json or_else(const Json& body, const std::string& name, Json otherwise) {
  const auto found = body.find(name);
  return found == body.end() || found->is_null() ? std::move(otherwise) : *found;
}

Json described(const Json& body, const ChatRequest& chat) {
  Json response;
  for (const char* name : {"id", "object", "created_at", "status", "background"}) {
    response[name] = nullptr;  // the order that they are told in
  }
  response["object"] = "response";
  response["background"] = false;
  response["error"] = nullptr;
  response["incomplete_details"] = nullptr;
  response["instructions"] = or_else(body, "instructions", nullptr);
  response["max_output_tokens"] = or_else(body, "max_output_tokens", nullptr);
  response["model"] = chat.options.model;
  response["output"] = Json::array();
  response["parallel_tool_calls"] = or_else(body, "parallel_tool_calls", true);
  response["previous_response_id"] = nullptr;
  response["reasoning"] =
      or_else(body, "reasoning", Json{{"effort", nullptr}, {"summary", nullptr}});
  response["service_tier"] = nullptr;
  response["store"] = false;
  response["temperature"] = or_else(body, "temperature", 1.0);
  response["text"] = or_else(body, "text", Json::object());
  if (!response["text"].contains("format")) response["text"]["format"] = {{"type", "text"}};
  response["tool_choice"] = or_else(body, "tool_choice", "auto");
  response["tools"] = or_else(body, "tools", Json::array());
  response["top_logprobs"] = or_else(body, "top_logprobs", 0);
  response["top_p"] = or_else(body, "top_p", 1.0);
  response["truncation"] = "disabled";
  response["usage"] = nullptr;
  response["user"] = or_else(body, "user", nullptr);
  response["metadata"] = or_else(body, "metadata", Json::object());
  return response;
}

}  // namespace

Result<ResponsesRequest> parse_responses_request(const Json& body) {
  Json chat = Json::object();
  Fields fields(body);
  fields.required_any("model");
  for (const std::string_view name : kShared) {
    if (const Json* value = fields.any(name)) chat[std::string(name)] = *value;
  }
  if (const Json* most = fields.any("max_output_tokens")) chat["max_completion_tokens"] = *most;
  refuse_what_needs_a_store(fields);
  read_text(fields, chat);
  read_reasoning(fields, chat);
  read_response_tools(fields, chat);
  read_include(fields, chat);
  std::string instructions;
  fields.text("instructions", kMaxJsonBytes, instructions);
  const Json* input = fields.required_any("input");
  if (auto read = fields.finish(); !read) return read.error();

  auto messages = messages_of_input(*input, instructions);
  if (!messages) return messages.error();
  chat["messages"] = std::move(messages->messages);
  auto request = parse_chat_request(chat);
  if (!request) return in_own_words(request.error(), messages->places);
  Json response = described(body, *request);
  return ResponsesRequest{*std::move(request), std::move(response)};
}

}  // namespace tessera

#include "gateway/inference/chat_messages.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/tool_call_reader.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/config.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

constexpr std::size_t kMaxNameChars = 64;

// A JSON value is made from anything, so a Result of one has to be told that it is no error.
Result<Json> made(Json value) {
  return Result<Json>(boost::system::in_place_value, std::move(value));
}

std::string indexed(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

// {"type": "text", "text": …}; an assistant's own refusal is a text too.
Result<Json> read_part(const Json& value, const std::string& path) {
  std::string type;
  std::string text;
  Fields fields(value, path + ".");
  fields.required("type", type);
  if (type != "text" && type != "refusal" && !type.empty()) {
    return Error{Code::kUnsupportedContent,
                 "Content of type '" + type.substr(0, 64) + "' is not supported; use 'text'.",
                 path};
  }
  fields.required(type.empty() ? "text" : type, text);
  if (auto read = fields.finish(); !read) return read.error();
  Json part;
  part["type"] = "text";
  part["text"] = std::move(text);
  return made(std::move(part));
}

Result<Json> read_content(const Json& content, const std::string& path) {
  if (content.is_string()) return made(content);
  if (!content.is_array()) {
    return Error{Code::kInvalidValue, "'" + path + "' must be a string or an array of parts.",
                 path};
  }
  Json parts = Json::array();
  for (std::size_t i = 0; i < content.size(); ++i) {
    auto part = read_part(content[i], indexed(path, i));
    if (!part) return part.error();
    parts.push_back(*std::move(part));
  }
  return made(std::move(parts));
}

// {"id": …, "type": "function", "function": {"name": …, "arguments": "…"}}
Result<Json> read_tool_call(const Json& value, const std::string& path) {
  std::string id;
  std::string type;
  Fields fields(value, path + ".");
  fields.required("id", id);
  fields.text("id", kMaxToolCallIdChars, id);
  fields.required("type", type);
  if (type != "function" && !type.empty()) {
    fields.fail(Code::kUnsupportedContent, "type", "'" + path + ".type' must be 'function'.");
  }
  const Json* function = fields.required_any("function");
  fields.ignored("index");  // of a stream's delta, which clients repeat
  if (auto read = fields.finish(); !read) return read.error();

  std::string name;
  std::string arguments;
  Fields members(*function, path + ".function.");
  members.required("name", name);
  members.required("arguments", arguments);
  if (!name.empty() && !is_tool_name(name)) {
    members.fail(Code::kInvalidValue, "name",
                 "'" + path + ".function.name' must be 1 to 64 of a-z A-Z 0-9 _ - .");
  }
  if (auto read = members.finish(); !read) return read.error();
  Json call;
  call["id"] = std::move(id);
  call["type"] = "function";
  call["function"]["name"] = std::move(name);
  call["function"]["arguments"] = std::move(arguments);
  return made(std::move(call));
}

Result<Json> read_tool_calls(const Json& value, const std::string& path) {
  if (!value.is_array()) {
    return Error{Code::kInvalidValue, "'" + path + "' must be an array.", path};
  }
  if (value.size() > kMaxToolCalls) {
    return Error{Code::kRequestExceedsLimit,
                 "'" + path + "' has more than " + std::to_string(kMaxToolCalls) + " calls.", path};
  }
  Json calls = Json::array();
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto call = read_tool_call(value[i], indexed(path, i));
    if (!call) return call.error();
    calls.push_back(*std::move(call));
  }
  return made(std::move(calls));
}

void check_role(Fields& fields, const std::string& role) {
  constexpr std::array<std::string_view, 5> kRoles = {"developer", "system", "user", "assistant",
                                                      "tool"};
  if (role.empty() || std::ranges::find(kRoles, role) != kRoles.end()) return;
  if (role == "function") {
    fields.fail(Code::kUnsupportedContent, "role",
                "Messages of role 'function' are not supported; use 'tool'.");
    return;
  }
  fields.fail(
      Code::kInvalidValue, "role",
      "'" + fields.path_of("role") + "' must be developer, system, user, assistant or tool.");
}

// The members that only an assistant's message has.
struct Spoken {
  const Json* tool_calls = nullptr;
  std::optional<std::string> reasoning;
};

Spoken read_spoken(Fields& fields, const std::string& role) {
  Spoken spoken;
  if (role != "assistant") {
    if (fields.any("tool_calls")) fields.unsupported("tool_calls", {Json::array()});
    fields.unsupported("reasoning_content");
    fields.unsupported("reasoning");
    fields.unsupported("refusal");
  } else {
    spoken.tool_calls = fields.any("tool_calls");
    if (spoken.tool_calls && spoken.tool_calls->empty()) spoken.tool_calls = nullptr;
    for (const std::string_view name : {"reasoning", "reasoning_content"}) {
      std::string text;
      if (!fields.any(name)) continue;
      fields.required(name, text);
      spoken.reasoning = std::move(text);
    }
    fields.unsupported("refusal");
    fields.unsupported("annotations", {Json::array()});
  }
  fields.unsupported("function_call");
  fields.unsupported("audio");
  return spoken;
}

// A tool's answer names the call that it answers.
void read_call_id(Fields& fields, const std::string& role, std::string& id) {
  if (role != "tool") return fields.unsupported("tool_call_id");
  fields.required("tool_call_id", id);
  fields.text("tool_call_id", kMaxToolCallIdChars, id);
}

Result<Json> read_message(const Json& value, const std::string& path) {
  std::string role;
  std::string name;
  std::string call_id;
  Fields fields(value, path + ".");
  fields.required("role", role);
  check_role(fields, role);
  fields.text("name", kMaxNameChars, name);
  const Spoken spoken = read_spoken(fields, role);
  read_call_id(fields, role, call_id);
  const Json* content = spoken.tool_calls ? fields.any("content") : fields.required_any("content");
  if (auto read = fields.finish(); !read) return read.error();

  const bool is_answer = role == "tool";
  Json message;
  message["role"] = std::move(role);
  message["content"] = nullptr;
  if (content) {
    auto read = read_content(*content, path + ".content");
    if (!read) return read.error();
    message["content"] = *std::move(read);
  }
  if (spoken.reasoning) message["reasoning_content"] = *spoken.reasoning;
  if (spoken.tool_calls) {
    auto calls = read_tool_calls(*spoken.tool_calls, path + ".tool_calls");
    if (!calls) return calls.error();
    message["tool_calls"] = *std::move(calls);
  }
  if (is_answer) message["tool_call_id"] = std::move(call_id);
  if (!name.empty()) message["name"] = std::move(name);
  return made(std::move(message));
}

// Gives a tool's answer the name of the function that was called, which OpenAI's clients do not
// repeat and some templates show. Errors: kInvalidValue if it answers no call before it.
Result<void> match_calls(Json& messages) {
  std::map<std::string, std::string> name_by_id;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    if (const auto calls = message.find("tool_calls"); calls != message.end()) {
      for (const Json& call : *calls) {
        name_by_id[call["id"].get<std::string>()] = call["function"]["name"].get<std::string>();
      }
    }
    if (message["role"].get_ref<const std::string&>() != "tool") continue;
    const auto called = name_by_id.find(message["tool_call_id"].get<std::string>());
    if (called == name_by_id.end()) {
      const std::string path = indexed("messages", i) + ".tool_call_id";
      return Error{Code::kInvalidValue, "'" + path + "' is of no call in the messages before it.",
                   path};
    }
    if (!message.contains("name")) message["name"] = called->second;
  }
  return {};
}

// The texts of parts, one a line.
std::string joined(const Json& parts) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    text += (i > 0 ? "\n" : "") + parts[i]["text"].get<std::string>();
  }
  return text;
}

}  // namespace

Result<Json> read_messages(const Json& value) {
  if (!value.is_array() || value.empty()) {
    return Error{Code::kInvalidValue, "'messages' must be an array of at least one message.",
                 "messages"};
  }
  if (value.size() > static_cast<std::size_t>(kMaxMessages)) {
    return Error{Code::kRequestExceedsLimit,
                 "'messages' has more than " + std::to_string(kMaxMessages) + " messages.",
                 "messages"};
  }
  Json messages = Json::array();
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto message = read_message(value[i], indexed("messages", i));
    if (!message) return message.error();
    messages.push_back(*std::move(message));
  }
  if (auto matched = match_calls(messages); !matched) return matched.error();
  return made(std::move(messages));
}

Json messages_for(const TemplateTraits& traits, const Json& messages) {
  Json out = messages;
  for (Json& message : out) {
    Json& content = message["content"];
    if (content.is_array() && !traits.takes_parts) content = joined(content);
    if (content.is_null() && traits.null_content_as_empty) content = "";
    if (message["role"] == "developer" && !traits.knows_developer) message["role"] = "system";
    if (traits.arguments_as_text || !message.contains("tool_calls")) continue;
    for (Json& call : message["tool_calls"]) {
      // What is no JSON object stays the text that it is: the model may have written it so.
      auto arguments = parse_json(call["function"]["arguments"].get_ref<const std::string&>());
      if (arguments && arguments->is_object())
        call["function"]["arguments"] = *std::move(arguments);
    }
  }
  return out;
}

}  // namespace tessera

#include "gateway/inference/responses_input.hpp"

#include <string_view>
#include <utility>

#include "gateway/api/fields.hpp"
#include "gateway/config.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

// Spelt out: a Json can be made of a Result too.
Result<Json> made(Json value) {
  return Result<Json>(boost::system::in_place_value, std::move(value));
}

// The parts of a content as a chat's: input_text and output_text are text.
Result<Json> read_content(const Json& content, const std::string& path) {
  if (!content.is_array()) return made(content);
  Json parts = Json::array();
  for (std::size_t i = 0; i < content.size(); ++i) {
    std::string type;
    std::string text;
    Fields fields(content[i], path + "[" + std::to_string(i) + "].");
    fields.required("type", type);
    const bool is_text = type == "input_text" || type == "output_text" || type == "text";
    if (!is_text && !type.empty()) {
      return Error{Code::kUnsupportedContent,
                   "Content of type '" + type.substr(0, 64) + "' is not supported; send text.",
                   fields.path_of("type")};
    }
    fields.required("text", text);
    fields.ignored("annotations");
    fields.ignored("logprobs");
    if (auto read = fields.finish(); !read) return read.error();
    parts.push_back({{"type", "text"}, {"text", std::move(text)}});
  }
  return made(std::move(parts));
}

Result<Json> read_message(const Json& item, const std::string& path) {
  Json message;
  std::string role;
  Fields fields(item, path + ".");
  for (const std::string_view name : {"type", "id", "status", "phase"}) fields.ignored(name);
  fields.required("role", role);
  const Json* content = fields.required_any("content");
  if (auto read = fields.finish(); !read) return read.error();
  auto parts = read_content(*content, path + ".content");
  if (!parts) return parts.error();
  message["role"] = std::move(role);
  message["content"] = *std::move(parts);
  return made(std::move(message));
}

Result<Json> read_call(const Json& item, const std::string& path) {
  std::string id;
  std::string name;
  std::string arguments;
  Fields fields(item, path + ".");
  for (const std::string_view ignored : {"type", "id", "status"}) fields.ignored(ignored);
  fields.required("call_id", id);
  fields.required("name", name);
  fields.required("arguments", arguments);
  if (auto read = fields.finish(); !read) return read.error();
  Json call;
  call["id"] = std::move(id);
  call["type"] = "function";
  call["function"] = {{"name", std::move(name)}, {"arguments", std::move(arguments)}};
  return made(std::move(call));
}

Result<Json> read_output(const Json& item, const std::string& path) {
  std::string id;
  Fields fields(item, path + ".");
  for (const std::string_view ignored : {"type", "id", "status"}) fields.ignored(ignored);
  fields.required("call_id", id);
  const Json* output = fields.required_any("output");
  if (auto read = fields.finish(); !read) return read.error();
  auto content = read_content(*output, path + ".output");
  if (!content) return content.error();
  Json message;
  message["role"] = "tool";
  message["tool_call_id"] = std::move(id);
  message["content"] = *std::move(content);
  return made(std::move(message));
}

void append(Json message, const std::string& place, InputMessages& out) {
  out.messages.push_back(std::move(message));
  out.places.push_back(place);
}

// A call belongs to the assistant's message before it, or to one without content.
void append_call(Json call, const std::string& place, InputMessages& out) {
  const bool follows = !out.messages.empty() && out.messages.back()["role"] == "assistant";
  if (!follows) append({{"role", "assistant"}, {"content", nullptr}}, place, out);
  out.messages.back()["tool_calls"].push_back(std::move(call));
}

Result<void> append_item(const Json& item, const std::string& path, InputMessages& out) {
  if (!item.is_object()) {
    return Error{Code::kInvalidValue, "'" + path + "' must be an object.", path};
  }
  const auto found = item.find("type");
  std::string type = "message";
  if (found != item.end()) type = found->is_string() ? found->get<std::string>() : "";
  if (type == "reasoning") return {};
  if (type == "function_call") {
    auto call = read_call(item, path);
    if (!call) return call.error();
    append_call(*std::move(call), path, out);
    return {};
  }
  if (type != "message" && type != "function_call_output") {
    return Error{Code::kUnsupportedParameter,
                 "Items of type '" + type.substr(0, 64) + "' are not supported by this server.",
                 path + ".type"};
  }
  auto message = type == "message" ? read_message(item, path) : read_output(item, path);
  if (!message) return message.error();
  append(*std::move(message), path, out);
  return {};
}

}  // namespace

Result<InputMessages> messages_of_input(const Json& input, const std::string& instructions) {
  InputMessages out;
  if (!instructions.empty()) {
    append({{"role", "developer"}, {"content", instructions}}, "instructions", out);
  }
  if (input.is_string()) {
    append({{"role", "user"}, {"content", input}}, "input", out);
    return out;
  }
  if (!input.is_array() || input.empty()) {
    return Error{Code::kInvalidValue, "'input' must be a string or an array of at least one item.",
                 "input"};
  }
  if (input.size() > kMaxMessages) {
    return Error{Code::kRequestExceedsLimit,
                 "'input' has more than " + std::to_string(kMaxMessages) + " items.", "input"};
  }
  for (std::size_t i = 0; i < input.size(); ++i) {
    auto appended = append_item(input[i], "input[" + std::to_string(i) + "]", out);
    if (!appended) return appended.error();
  }
  return out;
}

}  // namespace tessera

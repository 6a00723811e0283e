#include "engine/text/template_traits.hpp"

#include <string>

#include <nlohmann/json.hpp>

#include "engine/text/answer_syntax.hpp"
#include "engine/text/chat_prompt.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

Json message(const char* role, Json content) {
  Json json;
  json["role"] = role;
  json["content"] = std::move(content);
  return json;
}

Json text_part(const char* text) {
  Json part;
  part["type"] = "text";
  part["text"] = text;
  return part;
}

// The prompt, or nothing if the template cannot make one.
std::string rendered(const ChatTemplate& chat_template, ChatInput input) {
  auto text = render_chat(chat_template, input, WallTime{});
  return text ? *std::move(text) : std::string();
}

bool takes_parts(const ChatTemplate& chat_template) {
  ChatInput input;
  input.messages.push_back(
      message("user", Json::array({text_part("probe-one"), text_part("probe-two")})));
  const std::string text = rendered(chat_template, std::move(input));
  return contains(text, "probe-one") && contains(text, "probe-two") && !contains(text, "'text'") &&
         !contains(text, "\"text\"");
}

// A conversation with a call, as far as its answer.
ChatInput with_call(const Json& content, const Json& arguments) {
  Json call;
  call["id"] = "probe1234";
  call["type"] = "function";
  call["function"] = {{"name", "probe_tool"}, {"arguments", arguments}};
  ChatInput input;
  input.messages.push_back(message("user", "?"));
  input.messages.push_back(message("assistant", content));
  input.messages.back()["tool_calls"] = Json::array({std::move(call)});
  input.messages.push_back(message("tool", "probe-answer"));
  input.messages.back()["tool_call_id"] = "probe1234";
  input.messages.back()["name"] = "probe_tool";
  Json function;
  function["name"] = "probe_tool";
  function["description"] = "";
  function["parameters"] = {{"type", "object"}, {"properties", Json::object()}};
  input.tools = Json::array({{{"type", "function"}, {"function", std::move(function)}}});
  return input;
}

// The first form of a call that the template shows; an object with no content if none is.
void probe_calls(const ChatTemplate& chat_template, TemplateTraits& traits) {
  for (const bool empty : {false, true}) {
    for (const bool as_text : {false, true}) {
      const Json content = empty ? Json("") : Json(nullptr);
      const Json arguments =
          as_text ? Json(R"({"probe": "probe-value"})") : Json{{"probe", "probe-value"}};
      const std::string text = rendered(chat_template, with_call(content, arguments));
      if (!contains(text, "probe-value")) continue;
      // Python's None in the prompt is nobody's intention.
      if (!empty && contains(text, "None")) continue;
      traits.null_content_as_empty = empty;
      traits.arguments_as_text = as_text;
      return;
    }
  }
}

}  // namespace

TemplateTraits probe_template(const ChatTemplate& chat_template) {
  const std::string& source = chat_template.source();
  TemplateTraits traits;
  traits.takes_tools = template_takes(source, "tools");
  traits.knows_developer = template_takes(source, "developer");
  traits.takes_reasoning_effort = template_takes(source, "reasoning_effort");
  traits.takes_enable_thinking = template_takes(source, "enable_thinking");
  traits.takes_parts = takes_parts(chat_template);
  probe_calls(chat_template, traits);
  return traits;
}

}  // namespace tessera

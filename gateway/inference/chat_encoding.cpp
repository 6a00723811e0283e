#include "gateway/inference/chat_encoding.hpp"

#include <utility>

#include "engine/text/chat_prompt.hpp"
#include "gateway/inference/chat_messages.hpp"

namespace tessera {
namespace {

Error not_taken(const std::string& param, const std::string& what) {
  return {Code::kUnsupportedParameter, "This model's chat template takes no " + what + ".", param};
}

// What the template would ignore is refused: a prompt that lacks what was asked for is wrong
// without a word.
Result<void> check_taken(const TemplateTraits& traits, const Conversation& conversation) {
  if (!conversation.tools.empty() && !traits.takes_tools) return not_taken("tools", "tools");
  const std::string& effort = conversation.reasoning_effort;
  const bool no_effort = effort.empty() || effort == "none";
  if (!no_effort && !traits.takes_reasoning_effort) {
    return not_taken("reasoning_effort", "reasoning effort");
  }
  return {};
}

// The effort goes to the template that knows it; "none" switches thinking off where that can be.
void set_effort(const TemplateTraits& traits, const std::string& effort,
                nlohmann::ordered_json& variables) {
  if (effort.empty()) return;
  if (traits.takes_reasoning_effort) {
    variables["reasoning_effort"] = effort;
  } else if (traits.takes_enable_thinking && !variables.contains("enable_thinking")) {
    variables["enable_thinking"] = false;
  }
}

ChatInput input_of(const ChatProfile& chat, const Conversation& conversation) {
  ChatInput input;
  input.messages = messages_for(chat.traits, conversation.messages);
  input.tools = conversation.tools.definitions;
  input.add_generation_prompt = conversation.add_generation_prompt;
  if (conversation.continue_final_message) input.continued_member = "content";
  input.variables = chat.special_tokens;
  for (const auto& [name, value] : conversation.variables.items()) input.variables[name] = value;
  if (const auto documents = input.variables.find("documents");
      documents != input.variables.end()) {
    input.documents = *documents;
  }
  set_effort(chat.traits, conversation.reasoning_effort, input.variables);
  return input;
}

bool ends_with_mark(std::string_view prompt, const std::string& mark) {
  while (!prompt.empty() && std::string_view(" \t\r\n").find(prompt.back()) != prompt.npos) {
    prompt.remove_suffix(1);
  }
  return !mark.empty() && prompt.ends_with(mark);
}

}  // namespace

Result<EncodedChat> encode_chat(const ServedModel& model, const Conversation& conversation,
                                WallTime now) {
  if (!model.chat) {
    return Error{Code::kUnsupportedParameter,
                 "The model has no chat template; use /v1/completions.", "messages"};
  }
  if (auto taken = check_taken(model.chat->traits, conversation); !taken) return taken.error();
  auto text = render_chat(model.chat->chat_template, input_of(*model.chat, conversation), now);
  if (!text) return Error{text.error().code, text.error().message, "messages"};
  auto ids = model.tokenizer->encode(*text, {.parse_special = true, .add_special = false});
  if (ids.empty()) return Error{Code::kInvalidValue, "The prompt is empty.", "messages"};
  return EncodedChat{*std::move(text), std::move(ids)};
}

std::optional<AnswerReading> reading_of(const ServedModel& model, const Conversation& conversation,
                                        std::string_view prompt) {
  const ChatProfile& chat = *model.chat;
  const bool tools = !conversation.tools.empty() && chat.syntax.tools != ToolFormat::kNone;
  const bool thinks = !chat.syntax.think_open.empty();
  if (!tools && !thinks) return std::nullopt;
  AnswerReading reading{.syntax = chat.syntax, .options = {}};
  reading.options.tools = tools;
  reading.options.one_call = !conversation.tools.parallel;
  reading.options.tool_names = conversation.tools.names;
  reading.options.in_reasoning = ends_with_mark(prompt, chat.syntax.think_open);
  // A prompt that has closed it already has switched it off.
  reading.may_reason = thinks && !reading.options.in_reasoning &&
                       !ends_with_mark(prompt, chat.syntax.think_close);
  if (tools) reading.marks = chat.tool_marks;
  if (thinks) {
    reading.marks.insert(reading.marks.end(), chat.think_marks.begin(), chat.think_marks.end());
  }
  return reading;
}

}  // namespace tessera

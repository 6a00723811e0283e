#include "engine/text/chat_prompt.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/jinja/failure.hpp"
#include "engine/text/jinja/python_text.hpp"
#include "engine/text/jinja/value.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 3> kReasoningMembers = {"reasoning_content", "thinking",
                                                               "reasoning"};
// Stands behind the text to be continued while the template runs. The words are those of
// transformers: a template could look at them, so that others would not be the same.
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

Error not_continued(const std::string& what) {
  return {Code::kInvalidValue, "chat template: " + what};
}

const Json* present(const Json& message, std::string_view name) {
  if (!message.is_object()) return nullptr;
  const auto found = message.find(name);
  return found == message.end() || found->is_null() ? nullptr : &*found;
}

std::string_view stripped(std::string_view text, jinja::Sides sides) {
  return jinja::strip(text, std::nullopt, sides);
}

// The message with its reasoning under `thinking` too, and under `reasoning_content` always.
Json with_reasoning_names(const Json& message) {
  const Json* reasoning = nullptr;
  for (const std::string_view name : kReasoningMembers) {
    if (!reasoning) reasoning = present(message, name);
  }
  if (!reasoning) return message;
  Json out;
  out["thinking"] = *reasoning;
  for (const auto& [name, value] : message.items()) out[name] = value;
  out["reasoning_content"] = *reasoning;
  return out;
}

bool is_reasoning(std::string_view member) {
  for (const std::string_view name : kReasoningMembers) {
    if (name == member) return true;
  }
  return false;
}

// The members to mark: reasoning has been copied under several names, and the template reads one.
std::vector<std::string> continued_members(const Json& message, const std::string& member,
                                           const Json& text) {
  if (!is_reasoning(member)) return {member};
  std::vector<std::string> members;
  for (const std::string_view name : kReasoningMembers) {
    const Json* value = present(message, name);
    if (value && *value == text) members.emplace_back(name);
  }
  return members;
}

// Marks the end of a text, which may be the last text part of several; returns it as it was.
std::optional<std::string> mark_end(Json& text) {
  if (text.is_string()) {
    std::string before = text.get<std::string>();
    text = before + std::string(kContinueTag);
    return before;
  }
  if (!text.is_array()) return std::nullopt;
  for (auto part = text.rbegin(); part != text.rend(); ++part) {
    if (part->is_object() && part->contains("text") && (*part)["text"].is_string()) {
      return mark_end((*part)["text"]);
    }
  }
  return std::nullopt;
}

// Marks the text that is to be continued, in each member that holds it; returns it as it was.
Result<std::string> mark_continued(const ChatTemplate& chat_template, Json& messages,
                                   const std::string& member) {
  if (messages.empty()) return not_continued("there is no message to continue");
  Json& message = messages.back();
  const Json* found = present(message, member);
  if (!found) return not_continued("the last message has no '" + member + "' to continue");
  const std::vector<std::string> members = continued_members(message, member, *found);
  bool read = false;
  for (const std::string& name : members)
    read |= chat_template.source().find(name) != std::string::npos;
  if (!read)
    return not_continued("the template reads no '" + member + "', so none can be continued");
  std::optional<std::string> before;
  for (const std::string& name : members) before = mark_end(message[name]);
  if (!before) return not_continued("the last message has no text to continue");
  return *std::move(before);
}

// The rendered text up to the mark; without white space at its end if the template trimmed it.
Result<std::string> cut_at_mark(std::string text, std::string_view before) {
  const std::string_view tag = stripped(kContinueTag, jinja::Sides::kBoth);
  const std::size_t at = text.rfind(tag);
  const bool kept = text.find(stripped(before, jinja::Sides::kBoth)) != std::string::npos;
  if (at == std::string::npos || !kept) {
    return not_continued("it changes the last message, so that it cannot be continued");
  }
  const bool exact = text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  text.resize(at);
  return exact ? text : std::string(stripped(text, jinja::Sides::kRight));
}

}  // namespace

namespace {

bool has_reasoning(const Json& message) {
  return std::ranges::any_of(
      kReasoningMembers, [&](std::string_view name) { return present(message, name) != nullptr; });
}

// The messages as the template sees them; made of the tree that they stand in, without a copy of it
// where there is nothing to add.
jinja::Value values_of(const Json& messages) {
  std::vector<jinja::Value> values;
  values.reserve(messages.size());
  for (const Json& message : messages) {
    const bool is_whole = !has_reasoning(message);
    values.push_back(is_whole ? jinja::from_json(message)
                              : jinja::from_json(with_reasoning_names(message)));
  }
  return jinja::Value::list(std::move(values));
}

Result<std::string> render_with(const ChatTemplate& chat_template, const ChatInput& input,
                                jinja::Value messages, WallTime now) {
  auto variables = std::make_shared<jinja::Dict>();
  variables->reserve(input.variables.size() + 4);
  for (const auto& [name, value] : input.variables.get_ref<const Json::object_t&>()) {
    variables->set(name, jinja::from_json(value));
  }
  variables->set("messages", std::move(messages));
  variables->set("tools", jinja::from_json(input.tools));
  variables->set("documents", jinja::from_json(input.documents));
  variables->set("add_generation_prompt", input.add_generation_prompt);
  const std::shared_ptr<const jinja::Dict> members = std::move(variables);
  return chat_template.render_values(members, now);
}

Result<std::string> render_continued(const ChatTemplate& chat_template, const ChatInput& input,
                                     WallTime now) {
  Json messages = Json::array();
  for (const Json& message : input.messages) messages.push_back(with_reasoning_names(message));
  const auto before = mark_continued(chat_template, messages, input.continued_member);
  if (!before) return before.error();
  auto text = render_with(chat_template, input, jinja::from_json(messages), now);
  if (!text) return text;
  return cut_at_mark(*std::move(text), *before);
}

}  // namespace

Result<std::string> render_chat(const ChatTemplate& chat_template, const ChatInput& input,
                                WallTime now) {
  try {
    if (!input.continued_member.empty()) return render_continued(chat_template, input, now);
    return render_with(chat_template, input, values_of(input.messages), now);
  } catch (const jinja::Failure& failure) {  // what is to be rendered is nested too deeply
    return Error{Code::kRequestExceedsLimit, std::string("chat template: ") + failure.what()};
  }
}

}  // namespace tessera

#include "engine/text/answer_syntax.hpp"

#include <array>
#include <utility>

namespace tessera {
namespace {

constexpr std::array<std::pair<std::string_view, ToolFormat>, 5> kFormatNames = {{
    {"none", ToolFormat::kNone},
    {"hermes", ToolFormat::kHermes},
    {"llama3", ToolFormat::kLlama3},
    {"mistral", ToolFormat::kMistral},
    {"json", ToolFormat::kJson},
}};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// What stands before and after calls that are JSON in no family's form but their own.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kJsonMarks = {{
    {"<|tool_call|>", "<|/tool_call|>"},  // Granite 3, Phi 4
    {"<TOOLCALL>", "</TOOLCALL>"},
}};

// Families whose calls are no JSON objects; what they write is not taken for something else.
bool writes_other_calls(std::string_view source) {
  for (const std::string_view mark : {"<function=", "<arg_key>", "<parameter", "<invoke"}) {
    if (contains(source, mark)) return true;
  }
  return false;
}

ToolFormat format_of(std::string_view source,
                     const std::function<bool(std::string_view)>& has_token) {
  if (!template_takes(source, "tools") || writes_other_calls(source)) return ToolFormat::kNone;
  if (contains(source, "[TOOL_CALLS]")) return ToolFormat::kMistral;
  if (contains(source, "<tool_call>")) return ToolFormat::kHermes;
  const bool llama = contains(source, "ipython") && contains(source, "\"parameters\": ");
  if (llama || contains(source, "<|python_tag|>")) return ToolFormat::kLlama3;
  for (const auto& [open, close] : kJsonMarks) {
    if (contains(source, open)) return ToolFormat::kJson;
  }
  if (has_token("[TOOL_CALLS]")) return ToolFormat::kMistral;
  if (has_token("<tool_call>")) return ToolFormat::kHermes;
  if (has_token("<|python_tag|>")) return ToolFormat::kLlama3;
  return ToolFormat::kJson;
}

void set_marks(AnswerSyntax& syntax, std::string_view source) {
  switch (syntax.tools) {
    case ToolFormat::kNone:
      return;
    case ToolFormat::kHermes:
      syntax.call_open = "<tool_call>";
      syntax.call_close = "</tool_call>";
      return;
    case ToolFormat::kLlama3:
      syntax.call_open = "<|python_tag|>";
      syntax.bare_calls = true;
      return;
    case ToolFormat::kMistral:
      syntax.call_open = "[TOOL_CALLS]";
      return;
    case ToolFormat::kJson:
      syntax.bare_calls = true;
      for (const auto& [open, close] : kJsonMarks) {
        if (!contains(source, open)) continue;
        syntax.call_open = open;
        syntax.call_close = close;
        return;
      }
  }
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kThinkMarks = {{
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
}};

}  // namespace

std::string_view to_string(ToolFormat format) {
  return kFormatNames[static_cast<std::size_t>(format)].first;
}

std::optional<ToolFormat> tool_format_of(std::string_view name) {
  for (const auto& [known, format] : kFormatNames) {
    if (known == name) return format;
  }
  return std::nullopt;
}

bool template_takes(std::string_view chat_template, std::string_view variable) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  for (std::size_t at = chat_template.find(variable); at != std::string_view::npos;
       at = chat_template.find(variable, at + 1)) {
    const std::size_t end = at + variable.size();
    const bool begins =
        at == 0 || (!is_word(chat_template[at - 1]) && chat_template[at - 1] != '.');
    if (begins && (end == chat_template.size() || !is_word(chat_template[end]))) return true;
  }
  return false;
}

std::vector<std::string> AnswerSyntax::tool_marks() const {
  std::vector<std::string> marks;
  for (const std::string& mark : {call_open, call_close}) {
    if (!mark.empty()) marks.push_back(mark);
  }
  if (tools == ToolFormat::kMistral) marks.insert(marks.end(), {"[CALL_ID]", "[ARGS]"});
  return marks;
}

std::vector<std::string> AnswerSyntax::think_marks() const {
  if (think_open.empty()) return {};
  return {think_open, think_close};
}

AnswerSyntax answer_syntax_of(std::string_view chat_template,
                              const std::function<bool(std::string_view)>& has_token,
                              std::optional<ToolFormat> forced) {
  AnswerSyntax syntax;
  syntax.tools = forced ? *forced : format_of(chat_template, has_token);
  set_marks(syntax, chat_template);
  for (const auto& [open, close] : kThinkMarks) {
    if (!contains(chat_template, open)) continue;
    syntax.think_open = open;
    syntax.think_close = close;
    break;
  }
  return syntax;
}

}  // namespace tessera

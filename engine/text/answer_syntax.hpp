// answer_syntax.hpp — how a model family writes tool calls and reasoning into its answer.
//
// Told by the model's chat template, which shows the model's own past calls in the form that the
// model was trained to write; where the template leaves it open, by the tokenizer's tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

enum class ToolFormat : std::uint8_t {
  kNone,     // calls are not recognised: whatever the model writes is content
  kHermes,   // <tool_call>{"name": …, "arguments": {…}}</tool_call>, once a call (Qwen, Hermes)
  kLlama3,   // {"name": …, "parameters": {…}}, perhaps behind <|python_tag|>, more after ';'
  kMistral,  // [TOOL_CALLS] [{…}, …], or [TOOL_CALLS]name[ARGS]{…} once a call
  kJson,     // an object as above or an array of them, for an answer or behind <|tool_call|>
};

// "none", "hermes", "llama3", "mistral", "json".
std::string_view to_string(ToolFormat format);
std::optional<ToolFormat> tool_format_of(std::string_view name);

struct AnswerSyntax {
  ToolFormat tools = ToolFormat::kNone;
  std::string call_open = {};   // before a call; empty: none
  std::string call_close = {};  // after it
  bool bare_calls = false;      // an answer that begins with a call needs no opening
  std::string think_open = {};  // around the reasoning; empty: the family has none
  std::string think_close = {};

  // Every text above, and the marks inside of Mistral's calls: tokens that the parser must see
  // though they may be special ones, which show no text elsewhere.
  std::vector<std::string> tool_marks() const;
  std::vector<std::string> think_marks() const;
};

// `has_token` tells whether the tokenizer has a token of that text. `forced` is the operator's
// choice of the format, if there is one.
AnswerSyntax answer_syntax_of(std::string_view chat_template,
                              const std::function<bool(std::string_view)>& has_token,
                              std::optional<ToolFormat> forced = std::nullopt);

// Whether the template looks at the tools it is given; if not, they would be lost without a word.
bool template_takes(std::string_view chat_template, std::string_view variable);

}  // namespace tessera

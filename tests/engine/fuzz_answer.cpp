// fuzz_answer.cpp — however an answer is cut into pieces, it is told apart in the same way.
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/answer_parser.hpp"

namespace {

struct Told {
  std::string content;
  std::string reasoning;
  std::vector<std::string> calls;
  bool operator==(const Told&) const = default;
};

void add(Told& told, const tessera::AnswerDelta& delta) {
  told.content += delta.content;
  told.reasoning += delta.reasoning;
  for (const tessera::ToolCallDelta& call : delta.calls) {
    if (call.begins) told.calls.push_back(call.id + ' ' + call.name + ' ');
    if (static_cast<std::size_t>(call.index) + 1 != told.calls.size()) std::abort();
    told.calls.back() += call.arguments + (call.broken ? "!" : "");
  }
}

}  // namespace

// The first byte chooses the convention, the second the length of the pieces.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<tessera::AnswerSyntax, 6> syntaxes = [] {
    const auto none = [](std::string_view) { return false; };
    return std::array{tessera::answer_syntax_of("tools <tool_call> <think>", none),
                      tessera::answer_syntax_of("tools <|python_tag|>", none),
                      tessera::answer_syntax_of("tools [TOOL_CALLS] [THINK]", none),
                      tessera::answer_syntax_of("tools", none),
                      tessera::answer_syntax_of("tools <|tool_call|>", none),
                      tessera::answer_syntax_of("<think>", none)};
  }();
  if (size < 2) return 0;
  const tessera::AnswerSyntax& syntax = syntaxes[data[0] % syntaxes.size()];
  const tessera::AnswerOptions options{.in_reasoning = (data[0] & 0x80U) != 0,
                                       .tools = (data[0] & 0x40U) == 0,
                                       .one_call = (data[0] & 0x20U) != 0,
                                       .tool_names = {"f", "a"}};
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  Told whole;
  tessera::AnswerParser parser(syntax, options);
  add(whole, parser.push(text));
  add(whole, parser.flush());

  Told cut;
  tessera::AnswerParser again(syntax, options);
  const std::size_t step = 1 + data[1] % 7U;
  for (std::size_t at = 0; at < text.size(); at += step)
    add(cut, again.push(text.substr(at, step)));
  add(cut, again.flush());
  if (cut != whole || parser.num_calls() != again.num_calls()) std::abort();
  return 0;
}

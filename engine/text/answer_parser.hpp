// answer_parser.hpp — an answer's text as it arrives, told apart: reasoning, content, tool calls.
//
// The parser reads bytes and its result is a function of the text alone: however the text is cut
// into pushes, the same bytes come out of each channel (the test's property). So that this holds,
// text is shown as early as possible and no earlier: what may yet be a mark is held back, and so is
// white space, which belongs to nobody where it stands between a text and a mark.
//
// A call is committed, and no longer held back, once its name and the beginning of its arguments
// are there; from then on arguments are released as the model writes them, byte for byte. What
// turns out not to be a call is content, with its marks and nothing lost. If a committed call
// breaks (its JSON is wrong, or the text ends inside), its text is content too, and the call is
// told to be broken: an answer that is not streamed leaves it out, a stream has shown the
// beginning.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/answer_syntax.hpp"
#include "engine/text/tool_call_reader.hpp"

namespace tessera {

struct ToolCallDelta {
  int index = 0;  // of the call in the answer
  bool begins = false;
  std::string name = {};  // of one that begins
  std::string id = {};    // that the model gave to one that begins; mostly none
  std::string arguments = {};
  bool broken = false;  // it was no call after all
};

struct AnswerDelta {
  std::string content = {};
  std::string reasoning = {};
  std::vector<ToolCallDelta> calls = {};

  bool empty() const { return content.empty() && reasoning.empty() && calls.empty(); }
  void append(AnswerDelta more);
};

struct AnswerOptions {
  bool in_reasoning = false;  // the prompt has opened it
  bool tools = false;         // calls are looked for
  bool one_call = false;      // the answer ends with the first
  // The tools' names: a call without a mark counts only if it names one of them, so that JSON that
  // was asked for stays content.
  std::vector<std::string> tool_names = {};
};

// Not thread-safe: one per choice.
class AnswerParser {
 public:
  AnswerParser(AnswerSyntax syntax, AnswerOptions options);

  AnswerDelta push(std::string_view text);
  // The text ends here.
  AnswerDelta flush();

  bool in_reasoning() const { return state_ == State::kReasoning; }
  int num_calls() const { return num_calls_; }              // whole ones
  bool closed() const { return state_ == State::kClosed; }  // no more text is wanted

 private:
  enum class State : std::uint8_t {
    kHead,  // nothing but white space so far
    kReasoning,
    kText,
    kCallBegin,  // behind a mark, a bracket or a comma: an object must follow
    kName,       // Mistral's name[ARGS]
    kCall,       // in the object
    kBetween,    // in an array, behind an object
    kAfterCall,
    kClosed,  // nothing more is wanted
  };

  void take(char byte);
  void take_head(char byte);
  void take_reasoning(char byte);
  void take_text(char byte);
  void take_call_begin(char byte);
  void take_name(char byte);
  void take_call(char byte);
  void take_between(char byte);
  void take_after_call(char byte);

  void to_text();     // what is held is text, not a mark
  void enter_text();  // the reasoning is over
  void begin_call(std::string raw);
  void begin_object(ToolCallReader reader, bool tagged);
  void show_call();
  void end_call();
  void give_up();  // what was read of a call is content
  bool may_call(const std::string& name) const;
  bool begins_bare_call(char byte) const;
  bool extends(char byte, const std::string& mark);
  void emit_content(std::string_view text);
  ToolCallDelta& delta_of_call();

  const AnswerSyntax syntax_;
  const AnswerOptions options_;
  State state_ = State::kHead;
  bool may_think_ = false;  // reasoning may still begin
  std::string space_;       // white space that is held back
  std::string partial_;     // behind it: the beginning of a mark

  std::string raw_;      // the call's text, from the white space before its mark
  std::string segment_;  // Mistral's name and what stands between it and the arguments
  ToolCallReader reader_;
  std::string call_id_;
  bool tagged_ = false;  // a mark stood before the call
  bool in_array_ = false;
  bool shown_ = false;  // the call being read is committed
  int next_index_ = 0;
  int num_calls_ = 0;

  bool drop_space_ = false;  // before the next content
  bool content_seen_ = false;
  bool behind_call_ = false;  // no content since the last one
  AnswerDelta out_;
};

}  // namespace tessera

#include "engine/text/answer_parser.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tessera {
namespace {

constexpr std::size_t kMaxSegmentBytes = 256;  // of a Mistral call before its arguments

bool is_space(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

std::string_view without_leading_space(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

std::string_view trimmed(std::string_view text) {
  text = without_leading_space(text);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

struct NamedCall {
  std::string name;
  std::string id;
};

// name, name[ARGS], name[CALL_ID]id[ARGS]; an empty name if it is none of these.
NamedCall read_segment(std::string_view segment) {
  constexpr std::string_view kArgs = "[ARGS]";
  constexpr std::string_view kCallId = "[CALL_ID]";
  segment = trimmed(segment);
  if (segment.ends_with(kArgs)) segment.remove_suffix(kArgs.size());
  const std::size_t at = segment.find(kCallId);
  const auto name = std::string(trimmed(segment.substr(0, at)));
  if (!is_tool_name(name)) return {};
  if (at == std::string_view::npos) return {name, ""};
  const auto id = std::string(trimmed(segment.substr(at + kCallId.size())));
  if (!is_tool_name(id)) return {};
  return {name, id};
}

}  // namespace

void AnswerDelta::append(AnswerDelta more) {
  content += more.content;
  reasoning += more.reasoning;
  std::ranges::move(more.calls, std::back_inserter(calls));
}

AnswerParser::AnswerParser(AnswerSyntax syntax, AnswerOptions options)
    : syntax_(std::move(syntax)),
      options_(std::move(options)),
      state_(options_.in_reasoning ? State::kReasoning : State::kHead),
      may_think_(!syntax_.think_open.empty()),
      drop_space_(options_.in_reasoning) {}

AnswerDelta AnswerParser::push(std::string_view text) {
  for (const char byte : text) take(byte);
  if (state_ == State::kCall && may_call(reader_.name())) show_call();
  return std::exchange(out_, {});
}

AnswerDelta AnswerParser::flush() {
  switch (state_) {
    case State::kReasoning:
      out_.reasoning += space_ + partial_;
      break;
    case State::kHead:
    case State::kText:
      if (behind_call_ && partial_.empty()) break;  // the white space after the last call
      emit_content(space_ + partial_);
      break;
    case State::kCallBegin:
    case State::kName:
    case State::kCall:
      if (state_ == State::kCall && reader_.whole() && may_call(reader_.name())) {
        end_call();  // all but its closing brace
        break;
      }
      give_up();
      emit_content(space_);
      break;
    case State::kBetween:
    case State::kAfterCall:
      break;  // a wrapper that the model did not write to its end
    case State::kClosed:
      break;
  }
  space_.clear();
  partial_.clear();
  state_ = State::kClosed;
  return std::exchange(out_, {});
}

void AnswerParser::take(char byte) {
  switch (state_) {
    case State::kHead:
      return take_head(byte);
    case State::kReasoning:
      return take_reasoning(byte);
    case State::kText:
      return take_text(byte);
    case State::kCallBegin:
      return take_call_begin(byte);
    case State::kName:
      return take_name(byte);
    case State::kCall:
      return take_call(byte);
    case State::kBetween:
      return take_between(byte);
    case State::kAfterCall:
      return take_after_call(byte);
    case State::kClosed:
      return;
  }
}

// Adds `byte` to what may be the mark; false, adding nothing, if it cannot be.
bool AnswerParser::extends(char byte, const std::string& mark) {
  if (mark.compare(0, partial_.size(), partial_) != 0) return false;
  if (partial_.size() >= mark.size() || mark[partial_.size()] != byte) return false;
  partial_.push_back(byte);
  return true;
}

bool AnswerParser::begins_bare_call(char byte) const {
  if (!options_.tools || !syntax_.bare_calls) return false;
  return byte == '{' || (byte == '[' && syntax_.tools == ToolFormat::kJson);
}

void AnswerParser::take_head(char byte) {
  if (partial_.empty()) {
    if (is_space(byte)) return space_.push_back(byte);
    if (begins_bare_call(byte)) {
      begin_call(std::exchange(space_, {}));
      tagged_ = false;
      return take(byte);
    }
  }
  if (may_think_ && extends(byte, syntax_.think_open)) {
    if (partial_ != syntax_.think_open) return;
    space_.clear();
    partial_.clear();
    drop_space_ = true;
    state_ = State::kReasoning;
    return;
  }
  to_text();
  take(byte);
}

// Goes on in kText with what is held.
void AnswerParser::to_text() {
  const std::string held = std::exchange(partial_, {});
  state_ = State::kText;
  for (const char byte : held) take(byte);
}

void AnswerParser::take_reasoning(char byte) {
  if (partial_.empty() && is_space(byte)) {
    if (!drop_space_) space_.push_back(byte);
    return;
  }
  if (extends(byte, syntax_.think_close)) {
    if (partial_ == syntax_.think_close) enter_text();
    return;
  }
  out_.reasoning += std::exchange(space_, {});
  drop_space_ = false;
  if (partial_.empty()) {
    out_.reasoning.push_back(byte);
    return;
  }
  // The mark does not begin where it seemed to; it may one byte later.
  out_.reasoning.push_back(partial_.front());
  const std::string again = std::exchange(partial_, {}).substr(1) + byte;
  for (const char held : again) take(held);
}

void AnswerParser::enter_text() {
  space_.clear();
  partial_.clear();
  may_think_ = false;
  drop_space_ = true;
  state_ = State::kHead;
}

void AnswerParser::take_text(char byte) {
  if (partial_.empty() && is_space(byte)) return space_.push_back(byte);
  if (options_.tools && !syntax_.call_open.empty() && extends(byte, syntax_.call_open)) {
    if (partial_ != syntax_.call_open) return;
    begin_call(std::exchange(space_, {}) + std::exchange(partial_, {}));
    tagged_ = true;
    return;
  }
  emit_content(std::exchange(space_, {}));
  if (partial_.empty()) return emit_content({&byte, 1});
  emit_content({partial_.data(), 1});
  const std::string again = std::exchange(partial_, {}).substr(1) + byte;
  for (const char held : again) take(held);
}

void AnswerParser::begin_call(std::string raw) {
  raw_ = std::move(raw);
  in_array_ = false;
  state_ = State::kCallBegin;
}

void AnswerParser::take_call_begin(char byte) {
  const bool mistral = syntax_.tools == ToolFormat::kMistral;
  if (is_space(byte)) {
    raw_.push_back(byte);
  } else if (byte == '{') {
    call_id_.clear();
    begin_object(ToolCallReader(), tagged_);
    take(byte);
  } else if (byte == '[' && !in_array_ && (mistral || syntax_.tools == ToolFormat::kJson)) {
    raw_.push_back(byte);
    in_array_ = true;
  } else if (mistral && !in_array_ && is_tool_name({&byte, 1})) {
    segment_.assign(1, byte);
    raw_.push_back(byte);
    state_ = State::kName;
  } else {
    give_up();
    take(byte);
  }
}

void AnswerParser::take_name(char byte) {
  if (byte == '{') {
    NamedCall call = read_segment(segment_);
    if (!call.name.empty()) {
      call_id_ = std::move(call.id);
      begin_object(ToolCallReader(std::move(call.name)), true);
      return take(byte);
    }
  }
  const bool allowed = is_space(byte) || byte == '[' || byte == ']' || is_tool_name({&byte, 1});
  if (!allowed || segment_.size() == kMaxSegmentBytes) {
    give_up();
    return take(byte);
  }
  segment_.push_back(byte);
  raw_.push_back(byte);
}

void AnswerParser::begin_object(ToolCallReader reader, bool tagged) {
  reader_ = std::move(reader);
  tagged_ = tagged;
  shown_ = false;
  state_ = State::kCall;
}

bool AnswerParser::may_call(const std::string& name) const {
  return tagged_ || std::ranges::find(options_.tool_names, name) != options_.tool_names.end();
}

void AnswerParser::take_call(char byte) {
  using Progress = ToolCallReader::Progress;
  const Progress progress = reader_.push(byte);
  const bool consumed = progress == Progress::kMore || progress == Progress::kDone;
  if (consumed) raw_.push_back(byte);
  const bool named = !reader_.name().empty();
  if (progress == Progress::kFailed || (named && !may_call(reader_.name()))) {
    give_up();
  } else if (progress != Progress::kMore) {
    end_call();
  }
  if (!consumed) take(byte);
}

ToolCallDelta& AnswerParser::delta_of_call() {
  if (out_.calls.empty() || out_.calls.back().index != next_index_) {
    out_.calls.push_back({.index = next_index_});
  }
  return out_.calls.back();
}

// Releases what is known of the call, if it is committed.
void AnswerParser::show_call() {
  if (!reader_.committed()) return;
  std::string arguments = reader_.take_arguments();
  if (!shown_) {
    ToolCallDelta& delta = delta_of_call();
    delta.begins = true;
    delta.name = reader_.name();
    delta.id = call_id_;
    shown_ = true;
  }
  if (!arguments.empty()) delta_of_call().arguments += arguments;
}

void AnswerParser::end_call() {
  show_call();
  shown_ = false;
  raw_.clear();
  space_.clear();
  ++next_index_;
  ++num_calls_;
  behind_call_ = true;
  drop_space_ = !content_seen_;
  state_ = in_array_ ? State::kBetween : State::kAfterCall;
  if (options_.one_call) state_ = State::kClosed;
}

void AnswerParser::give_up() {
  if (state_ == State::kCall && reader_.committed() && may_call(reader_.name())) {
    show_call();
    delta_of_call().broken = true;
    ++next_index_;
    shown_ = false;
  }
  partial_.clear();
  state_ = State::kText;
  const std::string raw = std::exchange(raw_, {});
  const std::size_t end = trimmed(raw).empty() ? 0 : raw.find_last_not_of(" \t\r\n") + 1;
  if (end > 0) emit_content(std::string_view(raw).substr(0, end));
  space_ = raw.substr(end);  // another call may follow it
}

void AnswerParser::take_between(char byte) {
  raw_.push_back(byte);
  if (is_space(byte)) return;
  if (byte == ',') {
    state_ = State::kCallBegin;
  } else if (byte == ']') {
    raw_.clear();
    state_ = State::kAfterCall;
  } else {
    raw_.pop_back();
    give_up();
    take(byte);
  }
}

void AnswerParser::take_after_call(char byte) {
  if (partial_.empty()) {
    if (is_space(byte)) return space_.push_back(byte);
    if (byte == ';' && syntax_.tools == ToolFormat::kLlama3) return space_.push_back(byte);
    if (begins_bare_call(byte)) {
      begin_call(std::exchange(space_, {}));
      return take(byte);
    }
  }
  if (extends(byte, syntax_.call_close)) {
    if (partial_ != syntax_.call_close) return;
    partial_.clear();
    space_.clear();
    state_ = State::kText;
    return;
  }
  to_text();
  take(byte);
}

void AnswerParser::emit_content(std::string_view text) {
  if (drop_space_) text = without_leading_space(text);
  if (text.empty()) return;
  drop_space_ = false;
  content_seen_ = true;
  behind_call_ = false;
  out_.content += text;
}

}  // namespace tessera

#include "engine/text/tool_call_reader.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

// What a JSON string of JSON holds, if that is an object.
std::optional<std::string> decoded_object(std::string_view text) {
  const auto decoded = parse_json('"' + std::string(text) + '"');
  if (!decoded) return std::nullopt;
  auto inner = decoded->get<std::string>();
  const auto object = parse_json(inner);
  if (!object || !object->is_object()) return std::nullopt;
  return inner;
}

}  // namespace

bool is_tool_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= kMaxToolNameChars && std::ranges::all_of(name, allowed);
}

ToolCallReader::Progress ToolCallReader::push(char byte) {
  const JsonScanner::Step step = scanner_.push(byte);
  if (step == JsonScanner::Step::kError) {
    return whole() ? Progress::kEnded : Progress::kFailed;
  }
  if (capturing_) arguments_.push_back(byte);
  if (!note(step)) return Progress::kFailed;
  if (!scanner_.done()) return Progress::kMore;
  if (name_.empty()) return Progress::kFailed;
  if (!complete_) arguments_ = "{}";  // a call without any
  complete_ = true;
  return Progress::kDone;
}

// What a step means for the call; false if it cannot be one.
bool ToolCallReader::note(JsonScanner::Step step) {
  using Step = JsonScanner::Step;
  const int depth = scanner_.depth();
  if (step == Step::kClose) return end_container();
  if (closed_ || capturing_) return true;
  switch (step) {
    case Step::kObject:
      return depth == call_depth_ + 1 ? begin_object() : true;
    case Step::kKey:
      if (depth != call_depth_) return true;
      role_ = Role::kNone;
      if (scanner_.text() == "name") role_ = Role::kName;
      if (scanner_.text() == "function") role_ = Role::kFunction;
      if (scanner_.text() == "arguments" || scanner_.text() == "parameters") {
        role_ = Role::kArguments;
      }
      return true;
    case Step::kString:
      return depth == call_depth_ ? begin_string() : true;
    case Step::kStringEnd:
      return depth == call_depth_ ? end_string() : true;
    case Step::kArray:
      return depth != call_depth_ + 1 || role_ == Role::kNone;
    case Step::kOther:
      return depth != call_depth_ || role_ == Role::kNone;
    default:
      return true;
  }
}

bool ToolCallReader::begin_object() {
  if (role_ == Role::kArguments) {
    if (complete_) return false;  // a second time
    capturing_ = true;
    arguments_ = "{";
  } else if (role_ == Role::kFunction) {
    if (call_depth_ > 1 || !name_.empty()) return false;
    ++call_depth_;
    role_ = Role::kNone;
  }
  return role_ != Role::kName;
}

bool ToolCallReader::begin_string() {
  if (role_ == Role::kArguments) return !complete_;
  return role_ == Role::kNone || name_.empty();
}

bool ToolCallReader::end_string() {
  if (role_ == Role::kName || role_ == Role::kFunction) return set_name(scanner_.text());
  if (role_ != Role::kArguments) return true;
  auto object = decoded_object(scanner_.text());
  if (!object) return false;
  arguments_ = *std::move(object);
  return complete_ = true;
}

bool ToolCallReader::end_container() {
  if (capturing_ && scanner_.depth() == call_depth_) {
    capturing_ = false;
    complete_ = true;
  } else if (scanner_.depth() < call_depth_) {
    closed_ = true;
  }
  return true;
}

bool ToolCallReader::set_name(std::string_view name) {
  if (!is_tool_name(name)) return false;
  name_ = name;
  return true;
}

std::string ToolCallReader::take_arguments() {
  return committed() ? std::exchange(arguments_, {}) : std::string();
}

}  // namespace tessera

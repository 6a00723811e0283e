// tool_call_reader.hpp — one tool call as a model writes it: a JSON object with a name and
// arguments.
//
// {"name": …, "arguments": {…}}, with "parameters" for Llama, with "function" for the name, or with
// both inside a "function" object as OpenAI has it; other members are ignored. The arguments are
// the model's own bytes, released while they are read once the name is known; arguments that are a
// string of JSON are released decoded, when they are complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "engine/text/json_scanner.hpp"

namespace tessera {

inline constexpr std::size_t kMaxToolNameChars = 64;

// What OpenAI allows of a function's name, and the dot that some give to namespaces.
bool is_tool_name(std::string_view name);

// Not thread-safe.
class ToolCallReader {
 public:
  ToolCallReader() = default;
  // What is read is the arguments alone; the name stood before them.
  explicit ToolCallReader(std::string name)
      : name_(std::move(name)), role_(Role::kArguments), call_depth_(0) {}

  enum class Progress : std::uint8_t {
    kMore,
    kDone,    // this byte ended the object
    kEnded,   // this byte cannot be here, but name and arguments are complete: it is not consumed
    kFailed,  // this is no call; the byte is not consumed
  };

  // The first byte is the object's '{'.
  Progress push(char byte);

  const std::string& name() const { return name_; }
  // Name and the beginning of the arguments are there.
  bool committed() const { return !name_.empty() && (capturing_ || complete_); }
  bool whole() const { return !name_.empty() && complete_; }
  // What was read of the arguments since the last call; nothing before committed().
  std::string take_arguments();

 private:
  enum class Role : std::uint8_t { kNone, kName, kFunction, kArguments };  // of a member

  bool note(JsonScanner::Step step);
  bool begin_object();
  bool begin_string();
  bool end_string();
  bool end_container();
  bool set_name(std::string_view name);

  JsonScanner scanner_;
  std::string name_;
  std::string arguments_;  // read and not taken
  Role role_ = Role::kNone;
  int call_depth_ = 1;      // of the object whose members are the call's
  bool closed_ = false;     // that object has ended, within another
  bool capturing_ = false;  // inside the arguments object
  bool complete_ = false;   // the arguments are
};

}  // namespace tessera

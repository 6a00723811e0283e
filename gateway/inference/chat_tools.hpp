// chat_tools.hpp — the tools of a chat request, read strictly (http-api.md 3.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "storage/result.hpp"

namespace tessera {

// One that may be called.
struct ToolFunction {
  std::string name;
  std::string parameters;      // the bytes of its schema; empty: none was given
  std::optional<bool> strict;  // as the client said it
  std::size_t index = 0;       // in `tools`
};

enum class ToolChoice : std::uint8_t {
  kAuto,      // the model may call
  kRequired,  // it has to
  kNamed,     // it has to call the one function there is, once
};

struct ChatTools {
  // As the template is given them: the client's own definitions. Null: none, or none are to be
  // called.
  nlohmann::ordered_json definitions = nullptr;
  std::vector<std::string> names;
  // Those that `tool_choice` leaves: all, the named one, the allowed ones.
  std::vector<ToolFunction> functions;
  ToolChoice choice = ToolChoice::kAuto;
  bool parallel = true;  // more than one call in an answer is wanted

  bool empty() const { return definitions.is_null(); }
  // Whether something is asked for that the model alone cannot be trusted with: a call, certain
  // functions only, or arguments that conform.
  bool constrained() const;
  // Whether this function's arguments have to conform to its schema: where `strict` says so, and in
  // a call that has to be made unless `strict` is false.
  bool enforces(const ToolFunction& function) const;
};

// Reads tools, tool_choice and parallel_tool_calls. `text` is the request's own, for the schemas'
// bytes; empty: the tree's are taken.
// Errors: kInvalidValue, kUnsupportedParameter, kRequestExceedsLimit, kStringAboveMaxLength; param
// is the JSON path. Tells `fields` of faults that are about its own members.
Result<ChatTools> read_tools(Fields& fields, std::string_view text);

}  // namespace tessera

// chat_tools.hpp — the tools of a chat request, read strictly (http-api.md 3.1).
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/fields.hpp"
#include "storage/result.hpp"

namespace tessera {

struct ChatTools {
  // As the template is given them: the client's own definitions. Null: none, or none are to be
  // called.
  nlohmann::ordered_json definitions = nullptr;
  std::vector<std::string> names;
  bool parallel = true;  // more than one call in an answer is wanted

  bool empty() const { return definitions.is_null(); }
};

// Reads tools, tool_choice and parallel_tool_calls. That a call is made, or a certain one, cannot
// be promised without guided decoding: such a tool_choice is refused, and so is `strict`.
// Errors: kInvalidValue, kUnsupportedParameter, kRequestExceedsLimit, kStringAboveMaxLength; param
// is the JSON path. Tells `fields` of faults that are about its own members.
Result<ChatTools> read_tools(Fields& fields);

}  // namespace tessera

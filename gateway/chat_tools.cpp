#include "gateway/chat_tools.hpp"

#include <algorithm>
#include <utility>

#include "engine/text/tool_call_reader.hpp"
#include "gateway/config.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

// One {"type": "function", "function": {…}}: its name, and the definition without our directive.
Result<std::string> read_tool(const Json& value, const std::string& path, Json& definition) {
  std::string type;
  Fields fields(value, path + ".");
  fields.required("type", type);
  if (type != "function" && !type.empty()) {
    fields.fail(Code::kUnsupportedParameter, "type",
                "Tools of type '" + type.substr(0, 64) + "' are not supported; use 'function'.");
  }
  const Json* function = fields.required_any("function");
  if (auto read = fields.finish(); !read) return read.error();

  std::string name;
  std::string description;
  Fields members(*function, path + ".function.");
  members.required("name", name);
  members.text("description", kMaxToolsBytes, description);
  const Json* parameters = members.any("parameters");
  if (parameters && !parameters->is_object()) {
    members.fail(Code::kInvalidValue, "parameters",
                 "'" + path + ".function.parameters' must be a JSON Schema, an object.");
  }
  members.unsupported("strict", {false});
  if (!name.empty() && !is_tool_name(name)) {
    members.fail(Code::kInvalidValue, "name",
                 "'" + path + ".function.name' must be 1 to 64 of a-z A-Z 0-9 _ - .");
  }
  if (auto read = members.finish(); !read) return read.error();
  definition = value;
  definition["function"].erase("strict");
  return name;
}

Result<ChatTools> read_definitions(const Json& value) {
  if (!value.is_array()) {
    return Error{Code::kInvalidValue, "'tools' must be an array.", "tools"};
  }
  ChatTools tools;
  if (value.empty()) return tools;
  if (value.size() > kMaxTools) {
    return Error{Code::kRequestExceedsLimit,
                 "'tools' has more than " + std::to_string(kMaxTools) + " tools.", "tools"};
  }
  tools.definitions = Json::array();
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string path = "tools[" + std::to_string(i) + "]";
    Json definition;
    auto name = read_tool(value[i], path, definition);
    if (!name) return name.error();
    if (std::ranges::find(tools.names, *name) != tools.names.end()) {
      return Error{Code::kInvalidValue, "There are two tools of the name '" + *name + "'.",
                   path + ".function.name"};
    }
    tools.names.push_back(*std::move(name));
    tools.definitions.push_back(std::move(definition));
  }
  if (to_text(tools.definitions).size() > kMaxToolsBytes) {
    return Error{Code::kRequestExceedsLimit,
                 "'tools' is longer than " + std::to_string(kMaxToolsBytes) + " bytes.", "tools"};
  }
  return tools;
}

// Whether the model may call; refuses what only guided decoding could promise.
bool read_choice(Fields& fields, bool has_tools) {
  const Json* choice = fields.any("tool_choice");
  if (!choice || *choice == "auto") return true;
  if (*choice == "none") return false;
  if (!choice->is_object() && *choice != "required") {
    fields.fail(Code::kInvalidValue, "tool_choice",
                "'tool_choice' must be 'none', 'auto', 'required' or an object.");
    return false;
  }
  fields.fail(Code::kUnsupportedParameter, "tool_choice",
              has_tools ? "'tool_choice' can only be 'none' or 'auto': this server cannot make a "
                          "model call a tool."
                        : "'tool_choice' asks for a call, but there are no 'tools'.");
  return false;
}

}  // namespace

Result<ChatTools> read_tools(Fields& fields) {
  ChatTools tools;
  if (const Json* value = fields.any("tools")) {
    auto read = read_definitions(*value);
    if (!read) return read.error();
    tools = *std::move(read);
  }
  const bool may_call = read_choice(fields, !tools.empty());
  fields.boolean("parallel_tool_calls", tools.parallel);
  if (!may_call) return ChatTools{};
  return tools;
}

}  // namespace tessera

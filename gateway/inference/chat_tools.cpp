#include "gateway/inference/chat_tools.hpp"

#include <algorithm>
#include <utility>

#include "engine/text/tool_call_reader.hpp"
#include "gateway/api/raw_json.hpp"
#include "gateway/config.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

// One {"type": "function", "function": {…}} of text `text`; and the definition without our
// directive.
Result<ToolFunction> read_tool(const Json& value, std::string_view text, const std::string& path,
                               Json& definition) {
  std::string type;
  Fields fields(value, path + ".");
  fields.required("type", type);
  if (type != "function" && !type.empty()) {
    fields.fail(Code::kUnsupportedParameter, "type",
                "Tools of type '" + type.substr(0, 64) + "' are not supported; use 'function'.");
  }
  const Json* function = fields.required_any("function");
  if (auto read = fields.finish(); !read) return read.error();

  ToolFunction tool;
  std::string& name = tool.name;
  std::string description;
  Fields members(*function, path + ".function.");
  members.required("name", name);
  members.text("description", kMaxToolsBytes, description);
  const Json* parameters = members.any("parameters");
  if (parameters && !parameters->is_object()) {
    members.fail(Code::kInvalidValue, "parameters",
                 "'" + path + ".function.parameters' must be a JSON Schema, an object.");
  }
  if (members.any("strict")) members.boolean("strict", tool.strict.emplace());
  if (!name.empty() && !is_tool_name(name)) {
    members.fail(Code::kInvalidValue, "name",
                 "'" + path + ".function.name' must be 1 to 64 of a-z A-Z 0-9 _ - .");
  }
  if (auto read = members.finish(); !read) return read.error();
  if (parameters) {
    const std::string_view raw = raw_member(raw_member(text, "function"), "parameters");
    tool.parameters = raw.empty() ? to_text(*parameters) : std::string(raw);
  }
  definition = value;
  definition["function"].erase("strict");
  return tool;
}

Result<ChatTools> read_definitions(const Json& value, std::string_view text) {
  if (!value.is_array()) {
    return Error{Code::kInvalidValue, "'tools' must be an array.", "tools"};
  }
  ChatTools tools;
  if (value.empty()) return tools;
  if (value.size() > kMaxTools) {
    return Error{Code::kRequestExceedsLimit,
                 "'tools' has more than " + std::to_string(kMaxTools) + " tools.", "tools"};
  }
  const std::vector<std::string_view> texts = raw_elements(text);
  tools.definitions = Json::array();
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string path = "tools[" + std::to_string(i) + "]";
    Json definition;
    auto tool = read_tool(value[i], i < texts.size() ? texts[i] : "", path, definition);
    if (!tool) return tool.error();
    if (std::ranges::find(tools.names, tool->name) != tools.names.end()) {
      return Error{Code::kInvalidValue, "There are two tools of the name '" + tool->name + "'.",
                   path + ".function.name"};
    }
    tool->index = i;
    tools.names.push_back(tool->name);
    tools.functions.push_back(*std::move(tool));
    tools.definitions.push_back(std::move(definition));
  }
  if (to_text(tools.definitions).size() > kMaxToolsBytes) {
    return Error{Code::kRequestExceedsLimit,
                 "'tools' is longer than " + std::to_string(kMaxToolsBytes) + " bytes.", "tools"};
  }
  return tools;
}

// {"type": "function", "function": {"name": …}}: the name.
Result<std::string> read_reference(const Json& value, const std::string& path) {
  std::string type;
  std::string name;
  Fields fields(value, path + ".");
  fields.required("type", type);
  if (type != "function" && !type.empty()) {
    fields.fail(Code::kUnsupportedParameter, "type",
                "'" + fields.path_of("type") + "' can only be 'function'.");
  }
  if (const Json* function = fields.required_any("function")) {
    Fields members(*function, path + ".function.");
    members.required("name", name);
    fields.absorb(members.finish());
  }
  if (auto read = fields.finish(); !read) return read.error();
  return name;
}

// Leaves those of `names` only.
Result<void> keep(ChatTools& tools, const std::vector<std::string>& names,
                  const std::string& path) {
  for (const std::string& name : names) {
    if (std::ranges::find(tools.names, name) != tools.names.end()) continue;
    return Error{Code::kInvalidValue,
                 "'" + path + "' names '" + name.substr(0, kMaxToolNameChars) +
                     "', which is none of 'tools'.",
                 path};
  }
  std::erase_if(tools.functions, [&](const ToolFunction& function) {
    return std::ranges::find(names, function.name) == names.end();
  });
  return {};
}

// {"mode": "auto"|"required", "tools": [{"type": "function", …}, …]}
Result<void> read_allowed(const Json& value, ChatTools& tools) {
  const std::string path = "tool_choice.allowed_tools";
  std::string mode;
  Fields fields(value, path + ".");
  fields.required("mode", mode);
  if (mode != "auto" && mode != "required" && !mode.empty()) {
    fields.fail(Code::kInvalidValue, "mode", "'" + path + ".mode' must be 'auto' or 'required'.");
  }
  const Json* list = fields.required_any("tools");
  if (list && (!list->is_array() || list->empty())) {
    fields.fail(Code::kInvalidValue, "tools",
                "'" + path + ".tools' must be an array of at least one tool.");
  }
  if (auto read = fields.finish(); !read) return read.error();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < list->size(); ++i) {
    auto name = read_reference((*list)[i], path + ".tools[" + std::to_string(i) + "]");
    if (!name) return name.error();
    names.push_back(*std::move(name));
  }
  if (mode == "required") tools.choice = ToolChoice::kRequired;
  return keep(tools, names, path + ".tools");
}

Result<void> read_choice_object(const Json& choice, ChatTools& tools) {
  const auto type = choice.find("type");
  if (type == choice.end() || *type != "allowed_tools") {
    auto name = read_reference(choice, "tool_choice");
    if (!name) return name.error();
    tools.choice = ToolChoice::kNamed;
    return keep(tools, {*name}, "tool_choice.function.name");
  }
  Fields fields(choice, "tool_choice.");
  fields.ignored("type");
  const Json* allowed = fields.required_any("allowed_tools");
  if (auto read = fields.finish(); !read) return read.error();
  return read_allowed(*allowed, tools);
}

// What is to be called, and whether anything may be.
Result<bool> read_choice(Fields& fields, ChatTools& tools) {
  const Json* choice = fields.any("tool_choice");
  if (!choice || *choice == "auto") return true;
  if (*choice == "none") return false;
  if (!choice->is_object() && *choice != "required") {
    return Error{Code::kInvalidValue,
                 "'tool_choice' must be 'none', 'auto', 'required' or an object.", "tool_choice"};
  }
  if (tools.empty()) {
    return Error{Code::kUnsupportedParameter,
                 "'tool_choice' asks for a call, but there are no 'tools'.", "tool_choice"};
  }
  if (choice->is_object()) {
    if (auto read = read_choice_object(*choice, tools); !read) return read.error();
  } else {
    tools.choice = ToolChoice::kRequired;
  }
  return true;
}

}  // namespace

bool ChatTools::enforces(const ToolFunction& function) const {
  return function.strict.value_or(choice != ToolChoice::kAuto);
}

bool ChatTools::constrained() const {
  if (empty()) return false;
  return choice != ToolChoice::kAuto || functions.size() < names.size() ||
         std::ranges::any_of(functions, [&](const auto& function) { return enforces(function); });
}

Result<ChatTools> read_tools(Fields& fields, std::string_view text) {
  ChatTools tools;
  if (const Json* value = fields.any("tools")) {
    auto read = read_definitions(*value, raw_member(text, "tools"));
    if (!read) return read.error();
    tools = *std::move(read);
  }
  const auto may_call = read_choice(fields, tools);
  if (!may_call) return may_call.error();
  fields.boolean("parallel_tool_calls", tools.parallel);
  if (!*may_call) return ChatTools{};
  return tools;
}

}  // namespace tessera

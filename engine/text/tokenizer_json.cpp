#include "engine/text/tokenizer_json.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace tessera {

std::string field_path(std::string_view parent, std::string_view name) {
  std::string path(parent);
  if (!path.empty()) path += '.';
  return path += name;
}

std::string item_path(std::string_view parent, std::size_t index) {
  return std::string(parent) + '[' + std::to_string(index) + ']';
}

Error unsupported_field(const std::string& path, std::string_view what) {
  return {Code::kUnsupportedModel, "tokenizer.json: " + path + ' ' + std::string(what), path};
}

const nlohmann::ordered_json* find_field(const nlohmann::ordered_json& node,
                                         std::string_view name) {
  const auto found = node.find(name);
  return found == node.end() || found->is_null() ? nullptr : &*found;
}

Result<std::string> string_field(const nlohmann::ordered_json& node, const std::string& path,
                                 std::string_view name) {
  const nlohmann::ordered_json* field = find_field(node, name);
  if (!field || !field->is_string()) {
    return unsupported_field(field_path(path, name), "must be a string");
  }
  return field->get<std::string>();
}

Result<bool> bool_field(const nlohmann::ordered_json& node, const std::string& path,
                        std::string_view name, bool if_absent) {
  const nlohmann::ordered_json* field = find_field(node, name);
  if (!field) return if_absent;
  if (!field->is_boolean()) {
    return unsupported_field(field_path(path, name), "must be true or false");
  }
  return field->get<bool>();
}

Result<std::string> stage_type(const nlohmann::ordered_json& node, const std::string& path) {
  if (!node.is_object()) return unsupported_field(path, "must be an object");
  return string_field(node, path, "type");
}

Result<void> only_fields(const nlohmann::ordered_json& node, const std::string& path,
                         std::initializer_list<std::string_view> names) {
  for (const auto& [name, value] : node.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return unsupported_field(field_path(path, name), "is not supported");
    }
  }
  return {};
}

}  // namespace tessera

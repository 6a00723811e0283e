// tokenizer_json.hpp — reading tokenizer.json so that nothing in it is passed over.
//
// Every stage reads its own object with these: a field is taken with its type checked, and
// only_fields() refuses what no one has a meaning for. Paths are as a person would write them
// ("pre_tokenizer.pretokenizers[1].behavior") and end up in Error::param.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "storage/result.hpp"

namespace tessera {

std::string field_path(std::string_view parent, std::string_view name);  // "parent.name"
std::string item_path(std::string_view parent, std::size_t index);       // "parent[3]"

// kUnsupportedModel: "tokenizer.json: <path> <what>".
Error unsupported_field(const std::string& path, std::string_view what);

// The member `name` of `node`, or null if there is none or it is JSON null.
const nlohmann::ordered_json* find_field(const nlohmann::ordered_json& node, std::string_view name);

Result<std::string> string_field(const nlohmann::ordered_json& node, const std::string& path,
                                 std::string_view name);
Result<bool> bool_field(const nlohmann::ordered_json& node, const std::string& path,
                        std::string_view name, bool if_absent);

// The "type" of a stage; refuses a `node` that is not an object.
Result<std::string> stage_type(const nlohmann::ordered_json& node, const std::string& path);

// Refuses members of `node` that are not among `names`.
Result<void> only_fields(const nlohmann::ordered_json& node, const std::string& path,
                         std::initializer_list<std::string_view> names);

}  // namespace tessera

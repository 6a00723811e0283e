// tokenizer_json.hpp — reading tokenizer.json so that nothing in it is passed over.
//
// Every stage reads its own object with these: a field is taken with its type checked, and
// only_fields() refuses what no one has a meaning for. Paths are as a person would write them
// ("pre_tokenizer.pretokenizers[1].behavior") and end up in Error::param.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/regex.hpp"
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

// Steps of one stage, and how many times as long as a text what they make of it may be: a chain of
// replacements could make any text fill the memory.
inline constexpr std::size_t kStepsMax = 64;
inline constexpr double kGrowthMax = 65'536;

// A "pattern": {"String": ...} or {"Regex": ...}.
struct TextPattern {
  std::shared_ptr<const Regex> regex;  // null: `literal` it is, which is not empty
  std::string literal;
};
Result<TextPattern> read_pattern(const nlohmann::ordered_json& node, const std::string& path);

// A normaliser's or decoder's Replace: "pattern" and the "content" that takes its place.
struct Replacement {
  TextPattern pattern;
  std::string content;

  std::string apply(std::string_view text) const;

  // How many times as long a text can become, about.
  double growth() const;
};
Result<Replacement> read_replacement(const nlohmann::ordered_json& node, const std::string& path);

// Nothing if `text` is not base64.
std::optional<std::string> from_base64(std::string_view text);
std::string to_base64(std::string_view bytes);

}  // namespace tessera

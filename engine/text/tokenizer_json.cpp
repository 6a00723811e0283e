#include "engine/text/tokenizer_json.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

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

Result<TextPattern> read_pattern(const nlohmann::ordered_json& node, const std::string& path) {
  const std::string pattern_path = field_path(path, "pattern");
  const nlohmann::ordered_json* pattern = find_field(node, "pattern");
  if (!pattern || !pattern->is_object() || pattern->size() != 1) {
    return unsupported_field(pattern_path, "must be {\"Regex\": ...} or {\"String\": ...}");
  }
  if (pattern->contains("String")) {
    auto literal = string_field(*pattern, pattern_path, "String");
    if (!literal) return literal.error();
    if (literal->empty()) return unsupported_field(pattern_path, "must not be empty");
    return TextPattern{nullptr, std::move(*literal)};
  }
  auto source = string_field(*pattern, pattern_path, "Regex");
  if (!source) return source.error();
  auto regex = Regex::compile(*source);
  if (!regex) return unsupported_field(pattern_path, regex.error().message);
  return TextPattern{std::make_shared<const Regex>(std::move(*regex)), {}};
}

Result<Replacement> read_replacement(const nlohmann::ordered_json& node, const std::string& path) {
  auto pattern = read_pattern(node, path);
  if (!pattern) return pattern.error();
  auto content = string_field(node, path, "content");
  if (!content) return content.error();
  if (pattern->regex && content->find('$') != std::string::npos) {
    return unsupported_field(field_path(path, "content"), "must not name groups of the match");
  }
  return Replacement{std::move(*pattern), std::move(*content)};
}

std::string Replacement::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  const auto replace = [&](std::size_t begin, std::size_t end) {
    out += text.substr(done, begin - done);
    out += content;
    done = end;
  };
  if (pattern.regex) {
    std::vector<Regex::Match> matches;
    pattern.regex->find_all(text, matches);
    for (const Regex::Match& match : matches) replace(match.begin, match.end);
  } else {
    std::size_t at = 0;
    while ((at = text.find(pattern.literal, done)) != text.npos) {
      replace(at, at + pattern.literal.size());
    }
  }
  return out += text.substr(done);
}

double Replacement::growth() const {
  const auto bytes = static_cast<double>(content.size());
  if (pattern.regex) return 1 + bytes;  // a match may be empty
  return std::max(1.0, bytes / static_cast<double>(pattern.literal.size()));
}

namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int pad = 0; pad < 2 && text.ends_with('='); ++pad) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;  // of bits that are not in `out`
  for (const char c : text) {
    const std::size_t value = kBase64.find(c);
    if (value == kBase64.npos) return std::nullopt;
    bits = (bits << 6U) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xFFU));
  }
  return out;
}

std::string to_base64(std::string_view bytes) {
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : bytes) {
    bits = (bits << 8U) | static_cast<std::uint8_t>(c);
    for (count += 8; count >= 6; count -= 6) out.push_back(kBase64[(bits >> (count - 6)) & 63U]);
  }
  if (count > 0) out.push_back(kBase64[(bits << (6 - count)) & 63U]);
  while (out.size() % 4 != 0) out.push_back('=');
  return out;
}

}  // namespace tessera

#include "gateway/inference/lenient.hpp"

#include <charconv>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

bool erase_below(Json& value, std::string_view path);

// `path` is behind the "[" of an element.
bool erase_in_element(Json& array, std::string_view path) {
  std::size_t index = 0;
  const auto read = std::from_chars(path.data(), path.data() + path.size(), index);
  const auto digits = static_cast<std::size_t>(read.ptr - path.data());
  if (read.ec != std::errc() || !path.substr(digits).starts_with(']')) return false;
  if (!array.is_array() || index >= array.size()) return false;
  return erase_below(array[index], path.substr(digits + 1));
}

// `path` is what follows the name of `value`: ".member…" or "[element]…".
bool erase_below(Json& value, std::string_view path) {
  if (path.empty()) return false;
  if (path.front() == '.') return erase_member(value, path.substr(1));
  return path.front() == '[' && erase_in_element(value, path.substr(1));
}

// What cannot stand in a header, or would be read as the end of a name, is told as "?".
char header_char(char c) {
  return c > 0x20 && c < 0x7F && c != ',' ? c : '?';
}

}  // namespace

// A name may itself have dots and brackets in it, so every member that the path may begin with is
// tried.
bool erase_member(Json& body, std::string_view path) {
  if (!body.is_object()) return false;
  if (body.erase(std::string(path)) > 0) return true;
  for (auto& [name, value] : body.items()) {
    if (path.starts_with(name) && erase_below(value, path.substr(name.size()))) return true;
  }
  return false;
}

bool leave_out(Call& call, const Error& refused, Json& body) {
  const auto& policy = call.caller.key_policy;
  if (refused.code != Code::kUnknownParameter || !policy || !policy->lenient) return false;
  if (call.ignored_parameters.size() >= kMaxIgnoredParameters) return false;
  if (!erase_member(body, refused.param)) return false;
  call.ignored_parameters.push_back(refused.param);
  return true;
}

std::string ignored_header(const std::vector<std::string>& names) {
  constexpr std::string_view kEnd = ", ...";
  std::string value;
  for (const std::string& name : names) {
    const std::string_view separator = value.empty() ? "" : ", ";
    if (value.size() + separator.size() + name.size() + kEnd.size() > kMaxIgnoredChars) {
      return value.append(kEnd);
    }
    value += separator;
    for (const char c : name) value += header_char(c);
  }
  return value;
}

}  // namespace tessera

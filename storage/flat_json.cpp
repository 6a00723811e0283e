#include "storage/flat_json.hpp"

#include <cstring>

namespace tessera {
namespace {

// Bytes of the text in quotes that `text` begins with.
std::size_t quoted_size(std::string_view text) {
  const auto end = text.find('"', 1);
  return end == text.npos ? 0 : end + 1;
}

}  // namespace

std::size_t FlatJson::scalar_size(std::string_view text) {
  if (text.empty()) return 0;
  if (text.front() == '"') return quoted_size(text);
  std::size_t size = 0;
  while (size < text.size() && (text[size] == '-' || text[size] == '.' || text[size] == '+' ||
                                (text[size] >= '0' && text[size] <= '9') ||
                                (text[size] >= 'a' && text[size] <= 'z') || text[size] == 'E')) {
    ++size;
  }
  return size;
}

std::size_t FlatJson::value_size(std::string_view text) {
  if (text.empty() || (text.front() != '[' && text.front() != '{')) return scalar_size(text);
  int depth = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      const std::size_t size = quoted_size(text.substr(at));
      if (size == 0) return 0;
      at += size;
      continue;
    }
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    ++at;
    if (depth == 0) return at;
  }
  return 0;
}

std::optional<FlatJson> FlatJson::cut(std::string_view text) {
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return std::nullopt;
  if (std::memchr(text.data(), '\\', text.size()) != nullptr) return std::nullopt;
  FlatJson flat;
  std::string_view rest = text.substr(1, text.size() - 2);
  while (!rest.empty()) {
    if (rest.front() != '"' || flat.size_ == kMaxMembers) return std::nullopt;
    const std::size_t name = quoted_size(rest);
    if (name == 0 || name >= rest.size() || rest[name] != ':') return std::nullopt;
    const std::size_t value = value_size(rest.substr(name + 1));
    if (value == 0) return std::nullopt;
    flat.members_[flat.size_++] = {rest.substr(1, name - 2), rest.substr(name + 1, value)};
    rest.remove_prefix(name + 1 + value);
    if (rest.empty()) break;
    if (rest.front() != ',' || rest.size() == 1) return std::nullopt;
    rest.remove_prefix(1);
  }
  return flat;
}

std::optional<std::string_view> FlatJson::find(std::string_view name) const {
  for (std::size_t i = 0; i < size_; ++i) {
    const std::size_t at = next_ + i < size_ ? next_ + i : next_ + i - size_;
    if (members_[at].name != name) continue;
    next_ = at + 1 == size_ ? 0 : at + 1;
    return members_[at].value;
  }
  return std::nullopt;
}

std::optional<std::string_view> FlatJson::as_text(std::string_view value) {
  if (value.size() < 2 || value.front() != '"') return std::nullopt;
  return value.substr(1, value.size() - 2);
}

}  // namespace tessera

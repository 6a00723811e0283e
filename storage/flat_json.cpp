#include "storage/flat_json.hpp"

#include <cstring>
#include <utility>

namespace tessera {
namespace {

constexpr std::size_t kMaxBytes = 1 << 16;  // of a record that is cut

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

// (Made where it is returned: with its members it is large.)
std::optional<FlatJson> FlatJson::cut(std::string_view text) {
  std::optional<FlatJson> flat(std::in_place);
  if (!flat->cut_members(text)) flat.reset();
  return flat;
}

bool FlatJson::cut_members(std::string_view text) {
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return false;
  if (std::memchr(text.data(), '\\', text.size()) != nullptr) return false;
  std::string_view rest = text.substr(1, text.size() - 2);
  if (rest.size() >= kMaxBytes) return false;
  while (!rest.empty()) {
    if (rest.front() != '"' || size_ == kMaxMembers) return false;
    const std::size_t name = quoted_size(rest);
    if (name == 0 || name >= rest.size() || rest[name] != ':') return false;
    const std::size_t value = value_size(rest.substr(name + 1));
    if (value == 0) return false;
    const std::uint32_t mark = mark_of(rest.substr(1, name - 2));
    members_[size_++] = {.name = rest.data() + 1,
                         .value = rest.data() + name + 1,
                         .name_mark = mark,
                         .value_bytes = static_cast<std::uint32_t>(value)};
    bits_ |= bit_of(mark);
    rest.remove_prefix(name + 1 + value);
    if (rest.empty()) break;
    if (rest.front() != ',' || rest.size() == 1) return false;
    rest.remove_prefix(1);
  }
  return true;
}

std::size_t FlatJson::index_of(std::string_view name) const {
  const std::uint32_t mark = mark_of(name);
  if (name.size() >= kMaxBytes || (bits_ & bit_of(mark)) == 0) return size_;
  for (std::size_t i = 0; i < size_; ++i) {
    const std::size_t at = next_ + i < size_ ? next_ + i : next_ + i - size_;
    const Member& member = members_[at];
    if (member.name_mark == mark && std::memcmp(member.name, name.data(), name.size()) == 0) {
      return at;
    }
  }
  return size_;
}

// (What is there is asked for next.)
bool FlatJson::has(std::string_view name) const {
  const std::size_t at = index_of(name);
  if (at < size_) next_ = at;
  return at < size_;
}

std::optional<std::string_view> FlatJson::find(std::string_view name) const {
  const std::size_t at = index_of(name);
  if (at == size_) return std::nullopt;
  next_ = at + 1 == size_ ? 0 : at + 1;
  return std::string_view(members_[at].value, members_[at].value_bytes);
}

std::optional<std::string_view> FlatJson::as_text(std::string_view value) {
  if (value.size() < 2 || value.front() != '"') return std::nullopt;
  return value.substr(1, value.size() - 2);
}

}  // namespace tessera

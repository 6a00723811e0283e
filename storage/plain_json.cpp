#include "storage/plain_json.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <utility>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 100;            // this parser recurses
constexpr std::size_t kMaxMembers = 16;   // of an object: a key is compared with all before it
constexpr std::size_t kUsualMembers = 8;  // of the outermost object
constexpr std::size_t kFewMembers = 2;    // of one inside

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// ASCII that stands for itself between quotes.
bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

// The character that a backslash and `c` stand for; NUL if they need a closer look.
char unescaped(char c) {
  switch (c) {
    case '"':
    case '\\':
    case '/':
      return c;
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return '\0';
  }
}

// Bytes of the well-formed UTF-8 sequence of several that `text` begins with; 0 if there is none.
// (Unicode 15, table 3-7.)
std::size_t sequence_size(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  const auto continues = [&](std::size_t at, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(at) >= low && byte(at) <= high;
  };
  const unsigned first = byte(0);
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool second = continues(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && continues(2) ? 3 : 0;
  }
  if (first < 0xF0 || first > 0xF4) return 0;
  const bool second = continues(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
  return second && continues(2) && continues(3) ? 4 : 0;
}

// Each function reads what its name says from where `at_` is, or returns false.
class PlainParser {
 public:
  PlainParser(std::string_view text, const JsonLimits& limits)
      : at_(text.data()), end_(at_ + text.size()), limits_(limits) {}

  bool whole(Json& root) {
    skip_space();
    if (!value(root, 0)) return false;
    skip_space();
    return at_ == end_;
  }

 private:
  char next() const { return at_ < end_ ? *at_ : '\0'; }
  bool take(char c) {
    if (next() != c) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (at_ < end_ && is_space(*at_)) ++at_;
  }

  bool value(Json& out, int depth) {
    if (++num_values_ > limits_.max_values) return false;
    switch (next()) {
      case '"':
        out = std::string();
        return string(out.get_ref<std::string&>());
      case '{':
        return object(out, depth + 1);
      case '[':
        return array(out, depth + 1);
      case 't':
        out = true;
        return word("true");
      case 'f':
        out = false;
        return word("false");
      case 'n':
        out = nullptr;
        return word("null");
      default:
        return number(out);
    }
  }

  bool word(std::string_view expected) {
    if (!std::string_view(at_, end_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }

  bool may_open(int depth) const { return depth <= std::min(limits_.max_depth, kMaxDepth); }

  bool object(Json& out, int depth) {
    if (!may_open(depth)) return false;
    out = Json::object();
    auto& members = out.get_ref<Json::object_t&>();
    ++at_;
    skip_space();
    if (take('}')) return true;
    members.reserve(depth == 1 ? kUsualMembers : kFewMembers);
    do {
      skip_space();
      std::string name;
      if (!string(name) || members.size() == kMaxMembers) return false;
      const auto has_name = [&](const auto& member) { return member.first == name; };
      if (std::ranges::any_of(members, has_name)) return false;
      skip_space();
      if (!take(':')) return false;
      skip_space();
      // (The object's own insertion would compare the key again.)
      Json& slot = members.Json::object_t::Container::emplace_back(std::move(name), nullptr).second;
      if (!value(slot, depth)) return false;
      skip_space();
    } while (take(','));
    return take('}');
  }

  bool array(Json& out, int depth) {
    if (!may_open(depth)) return false;
    out = Json::array();
    auto& items = out.get_ref<Json::array_t&>();
    ++at_;
    skip_space();
    if (take(']')) return true;
    do {
      skip_space();
      if (!value(items.emplace_back(), depth)) return false;
      skip_space();
    } while (take(','));
    return take(']');
  }

  bool string(std::string& out) {
    if (!take('"')) return false;
    for (;;) {
      const char* const begin = at_;
      while (at_ < end_ && is_plain(*at_)) ++at_;
      out.append(begin, at_);
      if (take('"')) return true;
      if (!(next() == '\\' ? escape(out) : sequence(out))) return false;
    }
  }

  bool escape(std::string& out) {
    ++at_;
    const char meant = unescaped(next());
    if (meant == '\0') return false;
    out += meant;
    ++at_;
    return true;
  }

  bool sequence(std::string& out) {
    const std::size_t size = sequence_size({at_, end_});
    out.append(at_, size);
    at_ += size;
    return size > 0;
  }

  bool digits() {
    const char* const begin = at_;
    while (at_ < end_ && is_digit(*at_)) ++at_;
    return at_ > begin;
  }

  bool number(Json& out) {
    const char* const begin = at_;
    const bool is_negative = take('-');
    if (!take('0') && !digits()) return false;
    bool is_whole = true;
    if (take('.')) {
      is_whole = false;
      if (!digits()) return false;
    }
    if (next() == 'e' || next() == 'E') {
      is_whole = false;
      ++at_;
      if (!take('-')) take('+');
      if (!digits()) return false;
    }
    const std::string_view text(begin, at_);
    if (!is_whole) return read<double>(text, out);
    return is_negative ? read<std::int64_t>(text, out) : read<std::uint64_t>(text, out);
  }

  template <class Number>
  static bool read(std::string_view text, Json& out) {
    Number number{};
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
    if (result.ec != std::errc()) return false;
    out = number;
    return true;
  }

  const char* at_;
  const char* const end_;
  const JsonLimits& limits_;
  std::size_t num_values_ = 0;
};

}  // namespace

std::optional<Json> parse_plain_json(std::string_view text, const JsonLimits& limits) {
  std::optional<Json> root(std::in_place);
  if (!PlainParser(text, limits).whole(*root)) root.reset();
  return root;
}

}  // namespace tessera

#include "gateway/api/raw_json.hpp"

#include <cstddef>
#include <string>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

// Walks valid JSON.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  // Whether the next byte but white space is `byte`, which is then read.
  bool take(char byte) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != byte) return false;
    ++at_;
    return true;
  }

  // Reads a whole value.
  std::string_view value() {
    skip_space();
    const std::size_t begin = at_;
    int depth = 0;
    do {
      skip_piece(depth);
    } while (depth > 0 && at_ < text_.size());
    return text_.substr(begin, at_ - begin);
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
  }

  // A string, a bracket, or a run of anything else.
  void skip_piece(int& depth) {
    const char byte = text_[at_];
    if (byte == '"') return skip_string();
    if (byte == '{' || byte == '[') ++depth;
    if (byte == '}' || byte == ']') --depth;
    ++at_;
    if (depth > 0 || byte == '}' || byte == ']') return;
    while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == text_.npos) {
      ++at_;  // a number or a literal that stands alone
    }
  }

  void skip_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

bool is_name(std::string_view key, std::string_view name) {
  if (key.find('\\') == key.npos) return key.substr(1, key.size() - 2) == name;
  return nlohmann::json::parse(key, nullptr, /*allow_exceptions=*/false) == name;
}

}  // namespace

std::string_view raw_member(std::string_view object, std::string_view name) {
  Cursor cursor(object);
  if (!cursor.take('{') || cursor.take('}')) return {};
  do {
    const std::string_view key = cursor.value();
    cursor.take(':');
    const std::string_view value = cursor.value();
    if (is_name(key, name)) return value;
  } while (cursor.take(','));
  return {};
}

std::vector<std::string_view> raw_elements(std::string_view array) {
  std::vector<std::string_view> elements;
  Cursor cursor(array);
  if (!cursor.take('[') || cursor.take(']')) return elements;
  do {
    elements.push_back(cursor.value());
  } while (cursor.take(','));
  return elements;
}

}  // namespace tessera

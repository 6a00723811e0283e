#include "storage/json_writer.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

// In quotes as it stands: ASCII without an escape.
bool is_plain(char c) {
  return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void append_quoted(std::string_view text, std::string& out) {
  if (!std::ranges::all_of(text, is_plain)) {
    using Json = nlohmann::ordered_json;
    out += Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
    return;
  }
  out += '"';
  out += text;
  out += '"';
}

}  // namespace

void JsonWriter::begin_value() {
  if (!is_first_) out_ += ',';
  is_first_ = false;
}

void JsonWriter::open(char bracket) {
  begin_value();
  out_ += bracket;
  is_first_ = true;
}

void JsonWriter::close(char bracket) {
  out_ += bracket;
  is_first_ = false;
}

void JsonWriter::key(std::string_view name) {
  begin_value();
  append_quoted(name, out_);
  out_ += ':';
  is_first_ = true;
}

void JsonWriter::string(std::string_view text) {
  begin_value();
  append_quoted(text, out_);
}

void JsonWriter::number(std::int64_t value) {
  begin_value();
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out_.append(digits.data(), end);
}

void JsonWriter::text(std::string_view json) {
  begin_value();
  out_ += json;
}

}  // namespace tessera

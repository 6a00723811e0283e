// json_writer.hpp — JSON written as text, without a tree of it: what every request's answer is.
//
// The writer sets the commas; that members stand in objects and values where one is due is the
// caller's business. Strings may hold anything: invalid UTF-8 becomes U+FFFD.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

// Appends to `out`, which outlives it. Used by one thread.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }

  void key(std::string_view name);  // its value comes next
  void string(std::string_view text);
  void number(std::int64_t value);
  void null() { text("null"); }
  void text(std::string_view json);  // a value that is JSON already

  void member(std::string_view name, std::string_view value) {
    key(name);
    string(value);
  }
  void member(std::string_view name, std::int64_t value) {
    key(name);
    number(value);
  }
  void null_member(std::string_view name) {
    key(name);
    null();
  }

 private:
  void begin_value();
  void open(char bracket);
  void close(char bracket);

  std::string& out_;
  bool is_first_ = true;  // no comma comes before the next value
};

}  // namespace tessera

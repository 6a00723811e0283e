// log.hpp — what the server says about itself: one JSON object a line, on stderr.
//
//     log_info("listening", {{"address", "127.0.0.1:8080"}, {"threads", 4}});
//     {"time":"2026-01-31T12:00:00.000000Z","level":"info","event":"listening","address":…}
//
// `event` is a fixed snake_case name that can be searched for; what varies goes into fields. Values
// are escaped to printable ASCII, so text chosen by a client can neither forge a line nor reach a
// terminal. Prompts, answers, keys and other secrets are never logged.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "storage/clock.hpp"

namespace tessera {

enum class LogLevel : std::uint8_t { kInfo, kWarn, kError };

// A name and a value; holds views, so it lives no longer than the call it is written in.
struct LogField {
  LogField(std::string_view field_name, std::string_view text) : name(field_name), value(text) {}
  LogField(std::string_view field_name, const char* text)
      : name(field_name), value(std::string_view(text)) {}
  LogField(std::string_view field_name, const std::string& text)
      : name(field_name), value(std::string_view(text)) {}
  LogField(std::string_view field_name, bool truth) : name(field_name), value(truth) {}
  LogField(std::string_view field_name, std::floating_point auto number)
      : name(field_name), value(static_cast<double>(number)) {}
  LogField(std::string_view field_name, std::integral auto number)
      : name(field_name), value(static_cast<std::int64_t>(number)) {}

  std::string_view name;
  std::variant<std::string_view, bool, std::int64_t, double> value;
};
using LogFields = std::initializer_list<LogField>;

// Lines below `lowest` are dropped; kInfo at start. Thread-safe.
void set_log_level(LogLevel lowest);

// Writes one line with one write(2). Thread-safe; a failing stderr is ignored.
void log(LogLevel level, std::string_view event, LogFields fields = {});

inline void log_info(std::string_view event, LogFields fields = {}) {
  log(LogLevel::kInfo, event, fields);
}
inline void log_warn(std::string_view event, LogFields fields = {}) {
  log(LogLevel::kWarn, event, fields);
}
inline void log_error(std::string_view event, LogFields fields = {}) {
  log(LogLevel::kError, event, fields);
}

// The line log() would write at `now`, without its newline.
std::string format_log_line(WallTime now, LogLevel level, std::string_view event, LogFields fields);

}  // namespace tessera

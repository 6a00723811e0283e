#include "storage/log.hpp"

#include <atomic>
#include <cstdio>
#include <ctime>

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

std::atomic<LogLevel> lowest_level = LogLevel::kInfo;

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

// RFC 3339 in UTC with microseconds.
std::string format_time(WallTime now) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  const std::time_t since_epoch = seconds.time_since_epoch().count();
  std::tm fields{};
  ::gmtime_r(&since_epoch, &fields);
  char text[64];
  const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &fields);
  std::snprintf(text + length, sizeof text - length, ".%06dZ",
                static_cast<int>((now - seconds).count()));
  return text;
}

}  // namespace

void set_log_level(LogLevel lowest) {
  lowest_level.store(lowest, std::memory_order_relaxed);
}

std::string format_log_line(WallTime now, LogLevel level, std::string_view event,
                            LogFields fields) {
  nlohmann::ordered_json line;
  line["time"] = format_time(now);
  line["level"] = to_string(level);
  line["event"] = event;
  for (const LogField& field : fields) {
    std::visit([&](const auto& value) { line[std::string(field.name)] = value; }, field.value);
  }
  constexpr bool kOnlyAscii = true;
  return line.dump(-1, ' ', kOnlyAscii, nlohmann::ordered_json::error_handler_t::replace);
}

void log(LogLevel level, std::string_view event, LogFields fields) {
  if (level < lowest_level.load(std::memory_order_relaxed)) return;
  const std::string line =
      format_log_line(SystemClock().wall_now(), level, event, fields).append("\n");
  // One write a line, so that lines of different threads do not mix.
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace tessera

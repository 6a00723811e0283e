#include "storage/log.hpp"

#include <sstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

constexpr WallTime kNow{std::chrono::microseconds(1'700'000'000'000'042)};

// What is written to stderr while `act` runs.
template <class Act>
std::string stderr_of(Act act) {
  testing::internal::CaptureStderr();
  act();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, LineIsOneJsonObjectWithTypedFields) {
  const std::string name = "é";
  EXPECT_EQ(format_log_line(kNow, LogLevel::kInfo, "listening",
                            {{"address", "127.0.0.1:80"},
                             {"name", name},
                             {"threads", 4},
                             {"bytes", std::size_t{5}},
                             {"ratio", 0.5},
                             {"ready", true}}),
            R"({"time":"2023-11-14T22:13:20.000042Z","level":"info","event":"listening",)"
            R"("address":"127.0.0.1:80","name":"\u00e9","threads":4,"bytes":5,"ratio":0.5,)"
            R"("ready":true})");
}

TEST(Log, HostileTextCanNeitherForgeALineNorReachATerminal) {
  const std::string hostile = "x\"}\n{\"level\":\"error\"\x1b[2J\x7f\xc2\x9b\xff";
  const std::string line = format_log_line(kNow, LogLevel::kWarn, "e", {{"name", hostile}});
  for (const char c : line) {
    EXPECT_TRUE(0x20 <= c && c < 0x7F) << static_cast<int>(c);
  }
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_EQ(parsed["level"], "warn");
  EXPECT_EQ(parsed["name"], hostile.substr(0, hostile.size() - 1) + "\xEF\xBF\xBD");
}

TEST(Log, WritesFromTheSetLevelUp) {
  const std::string written = stderr_of([] {
    log_info("shown");
    set_log_level(LogLevel::kError);
    log_warn("hidden");
    log_error("shown");
    set_log_level(LogLevel::kInfo);
  });
  EXPECT_EQ(std::ranges::count(written, '\n'), 2);
  EXPECT_EQ(written.find("hidden"), std::string::npos);
}

TEST(Log, LinesOfThreadsDoNotMix) {
  const std::string written = stderr_of([] {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 200; ++i) log_info("event", {{"text", std::string(500, 'x')}});
      });
    }
  });
  std::istringstream lines(written);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
  EXPECT_EQ(count, 800);
}

}  // namespace
}  // namespace tessera

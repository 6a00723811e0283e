// runner.cpp — runs the tests that gtest.h of this folder registered.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>

#include "gtest/gtest.h"

namespace testing::runner {
namespace {

struct Running {
  int failures = 0;
  bool is_skipped = false;
  std::string why;
};
Running running;

bool is_wanted(const std::string& name, const std::string& filter) {
  if (filter.empty()) return true;
  std::istringstream parts(filter);
  for (std::string part; std::getline(parts, part, ':');) {
    if (part.starts_with('=') ? name == part.substr(1) : name.find(part) != std::string::npos) {
      return true;
    }
  }
  return false;
}

void run(const Case& one) {
  running = {};
  try {
    const std::unique_ptr<Test> test(one.make());
    test->SetUp();
    if (!running.is_skipped && running.failures == 0) test->TestBody();
    test->TearDown();
  } catch (const std::exception& error) {
    fail("", 0, std::string("an exception: ") + error.what());
  }
  traces().clear();
}

}  // namespace

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
bool add(const char* suite, const char* name, std::function<Test*()> make) {
  cases().push_back({std::string(suite) + "." + name, std::move(make)});
  return true;
}
std::vector<std::string>& traces() {
  static std::vector<std::string> all;
  return all;
}

void fail(const char* file, int line, const std::string& what) {
  ++running.failures;
  if (running.failures > 10) return;  // the rest is counted
  std::printf("    %s:%d: %s\n", file, line, what.c_str());
  for (const std::string& trace : traces()) std::printf("        at %s\n", trace.c_str());
}
void skip(const std::string& why) {
  running.is_skipped = true;
  running.why = why;
}

int run_all(const std::string& filter, bool only_list) {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  for (const Case& one : cases()) {
    if (!is_wanted(one.name, filter)) continue;
    if (only_list) {
      std::printf("%s\n", one.name.c_str());
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    run(one);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const char* result = running.failures > 0 ? "FAILED" : running.is_skipped ? "skipped" : "ok";
    ++(running.failures > 0 ? failed : running.is_skipped ? skipped : passed);
    std::printf("%-8s %-72s %7.2f s %s\n", result, one.name.c_str(), seconds.count(),
                running.why.c_str());
    std::fflush(stdout);
  }
  if (!only_list) std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed == 0 ? 0 : 1;
}

}  // namespace testing::runner

int main(int argc, char** argv) {
  std::string filter;
  bool only_list = false;
  for (int i = 1; i < argc; ++i) {
    constexpr char kFilter[] = "--filter=";
    if (std::strncmp(argv[i], kFilter, sizeof kFilter - 1) == 0) {
      filter = argv[i] + sizeof kFilter - 1;
    } else if (std::strcmp(argv[i], "--list") == 0) {
      only_list = true;
    } else {
      std::fprintf(stderr, "usage: %s [--filter=PART[:PART...]] [--list]\n", argv[0]);
      return 2;
    }
  }
  return testing::runner::run_all(filter, only_list);
}

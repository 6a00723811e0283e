// tidy_test.cpp — rules about the source text itself, so that no reviewer has to repeat them.
//
// Each test's message says what to do instead. (The idea: TigerBeetle's tidy, Pebble's lint.)
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = TESSERA_SOURCE_DIR;

// A folder and what its files may include: another folder, or one header of it.
struct Layer {
  std::string_view folder;
  std::vector<std::string_view> may_include;
};
const std::vector<Layer> kLayers = {
    {"storage", {}},
    {"kernels", {}},
    {"tenancy", {"storage/"}},
    {"adapters", {"storage/", "kernels/"}},
    {"engine", {"adapters/", "storage/", "kernels/", "tenancy/fair_queue.hpp"}},
    {"gateway", {"engine/", "adapters/", "tenancy/", "storage/", "kernels/"}},
};

using Endings = std::vector<std::string_view>;
const Endings kSources = {".hpp", ".cpp", ".cuh", ".cu"};

std::vector<fs::path> files_under(std::string_view folder, const Endings& endings) {
  std::vector<fs::path> files;
  if (!fs::exists(kRoot / folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    const std::string name = entry.path().string();
    const auto matches = [&](std::string_view ending) { return name.ends_with(ending); };
    if (entry.is_regular_file() && std::ranges::any_of(endings, matches)) {
      files.push_back(entry.path());
    }
  }
  return files;
}

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Calls `check(line, place)` for each line; place is "path:number", for messages.
template <class Check>
void for_each_line(const fs::path& path, Check check) {
  std::ifstream in(path);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    check(std::string_view(line), path.string() + ':' + std::to_string(++number));
  }
}

// The path in `#include "path"`, or empty.
std::string_view included_path(std::string_view line) {
  constexpr std::string_view kInclude = "#include \"";
  if (!line.starts_with(kInclude)) return {};
  const auto path = line.substr(kInclude.size());
  return path.substr(0, path.find('"'));
}

bool allowed(const Layer& layer, std::string_view path) {
  const auto slash = path.find('/');
  if (slash == path.npos || path.substr(0, slash) == layer.folder) return true;
  return std::ranges::any_of(layer.may_include,
                             [&](std::string_view prefix) { return path.starts_with(prefix); });
}

TEST(Tidy, FoldersIncludeOnlyTheFoldersBelowThem) {
  for (const auto& layer : kLayers) {
    for (const auto& path : files_under(layer.folder, kSources)) {
      for_each_line(path, [&](std::string_view line, const std::string& place) {
        const auto included = included_path(line);
        if (included.empty()) return;
        EXPECT_TRUE(allowed(layer, included))
            << place << ": " << layer.folder << "/ may not include " << included
            << "; move what both need down, or pass it in from gateway/";
      });
    }
  }
}

TEST(Tidy, LinesFitInOneHundredColumns) {
  std::vector<std::string_view> folders = {"tests"};
  for (const auto& layer : kLayers) folders.push_back(layer.folder);
  for (const auto folder : folders) {
    for (const auto& path : files_under(folder, kSources)) {
      for_each_line(path, [&](std::string_view line, const std::string& place) {
        const auto continues = [](char c) { return (c & 0xC0) == 0x80; };  // a UTF-8 tail byte
        EXPECT_LE(std::ssize(line) - std::ranges::count_if(line, continues), 100)
            << place << ": break the line";
      });
    }
  }
}

TEST(Tidy, EveryTestFileIsBuilt) {
  std::string lists;
  for (const auto& path : files_under("tests", {"CMakeLists.txt", ".cmake"})) lists += read(path);
  for (const auto& path : files_under("tests", {"_test.cpp"})) {
    EXPECT_NE(lists.find(path.filename().string()), lists.npos)
        << path << " is in no CMakeLists.txt under tests/: it would never run";
  }
}

// The names in backticks that are tests: "Suite.Name", and "test_name" of a Python file.
std::vector<std::string> named_tests(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t at = text.find('`'); at != text.npos; at = text.find('`', at)) {
    const std::size_t end = text.find('`', at + 1);
    if (end == text.npos) break;
    std::string name = text.substr(at + 1, end - at - 1);
    at = end + 1;
    if (name.starts_with("test_") || name.find('.') != name.npos) names.push_back(std::move(name));
  }
  return names;
}

TEST(Tidy, TestsThatTheListOfAttacksNamesAreThere) {
  std::string tests;
  for (const auto& path : files_under("tests", {"_test.cpp", "_test.py"})) tests += read(path);
  const auto names = named_tests(read(kRoot / "tests/adapters/ATTACKS.md"));
  EXPECT_GE(names.size(), 50U);
  for (const std::string& name : names) {
    const std::size_t dot = name.find('.');
    const std::string written = dot == name.npos
                                    ? "def " + name + "("
                                    : "(" + name.substr(0, dot) + ", " + name.substr(dot + 1) + ")";
    EXPECT_NE(tests.find(written), tests.npos)
        << "tests/adapters/ATTACKS.md names " << name << ", which is in no test file";
  }
}

TEST(Tidy, EveryHeaderIsGuardedAndSaysWhatItIs) {
  for (const auto& layer : kLayers) {
    for (const auto& path : files_under(layer.folder, {".hpp", ".cuh"})) {
      const std::string text = read(path);
      EXPECT_TRUE(text.starts_with("// " + path.filename().string() + " — "))
          << path << ": begin with \"// " << path.filename().string() << " — what it is\"";
      EXPECT_NE(text.find("#pragma once"), text.npos) << path << ": add #pragma once";
    }
  }
}

// g++ 12 destroys an aggregate temporary, or a capturing lambda, twice when it stands in the same
// full expression as co_await (GCC bug 95599): name it first.
TEST(Tidy, NoBraceOrCapturingLambdaBesideCoAwait) {
  for (const auto& path : files_under("gateway", kSources)) {
    for_each_line(path, [&](std::string_view line, const std::string& place) {
      const auto at = line.find("co_await ");
      if (at == line.npos || line.find("//") < at) return;
      const auto expression = line.substr(at);
      const auto has = [&](std::string_view text) { return expression.find(text) != line.npos; };
      const bool lambda = has("[=") || has("[&");
      const bool aggregate = has("{.") || has("({");
      EXPECT_FALSE(lambda || aggregate)
          << place << ": give the temporary a name before the co_await; g++ 12 destroys it twice";
    });
  }
}

}  // namespace
}  // namespace tessera

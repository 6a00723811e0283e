// script.hpp — data-driven tests: commands and the output they should give, side by side in a file.
//
// A script is a list of cases separated by blank lines:
//
//     # why this case matters
//     command argument argument
//     another command
//     ----
//     expected output
//
// run_script gives the commands of each case to `execute` and compares what comes back. With
// TESSERA_REWRITE=1 in the environment it writes the answers into the file instead, so that a
// change of behaviour is reviewed as a diff. (Form: Pebble's datadriven, SQLite's sqllogictest.)
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace tessera {

// One case of a script: where it stands, what comes before its commands, and both halves.
struct ScriptCase {
  int line = 0;            // of the first command
  std::string leading;     // comments and blank lines before it, kept when rewriting
  std::string commands;    // one a line
  std::string expected;    // one a line
};

// Reads the next case; false at the end of the file (then `leading` holds what was left).
inline bool read_case(std::istream& in, int& line_number, ScriptCase& script_case) {
  script_case = {};
  std::string line;
  while (std::getline(in, line)) {
    ++line_number;
    if (!line.empty() && line.front() != '#') break;
    script_case.leading += line + '\n';
    line.clear();
  }
  if (line.empty()) return false;
  script_case.line = line_number;
  script_case.commands = line + '\n';
  while (std::getline(in, line) && line != "----") {
    ++line_number;
    script_case.commands += line + '\n';
  }
  ++line_number;
  while (std::getline(in, line) && !line.empty()) {
    ++line_number;
    script_case.expected += line + '\n';
  }
  ++line_number;
  return true;
}

inline void run_script(const std::filesystem::path& path,
                       const std::function<std::string(const std::string& commands)>& execute) {
  const bool rewrite = std::getenv("TESSERA_REWRITE") != nullptr;
  std::ifstream in(path);
  ASSERT_TRUE(in) << "cannot read " << path;
  std::ostringstream rewritten;
  int line_number = 0;
  int num_cases = 0;
  ScriptCase script_case;
  while (read_case(in, line_number, script_case)) {
    ++num_cases;
    const std::string got = execute(script_case.commands);
    rewritten << script_case.leading << script_case.commands << "----\n" << got << '\n';
    if (!rewrite) {
      EXPECT_EQ(got, script_case.expected) << path.string() << ':' << script_case.line << ":\n"
                                           << script_case.commands;
    }
  }
  EXPECT_GT(num_cases, 0) << path << " holds no case";
  if (rewrite) std::ofstream(path) << rewritten.str() << script_case.leading;
}

}  // namespace tessera

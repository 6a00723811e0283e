// peft_fields_test.cpp — every field of PEFT's LoraConfig is decided, also those of tomorrow's.
//
// Asks the Python that the variable TESSERA_PEFT_PYTHON names (or python3) for the fields of the
// LoraConfig it has; a PEFT that has new ones fails this test until peft_config.cpp decides them.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/peft_config.hpp"

namespace tessera {
namespace {

constexpr const char* kProgram =
    " -c 'import dataclasses, peft; print(peft.__version__); "
    "print(*[f.name for f in dataclasses.fields(peft.LoraConfig)])' 2>/dev/null";

// Its output, empty if it failed.
std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) output += buffer.data();
  return pclose(pipe) == 0 ? output : std::string();
}

TEST(PeftFields, OfTheInstalledPeftAreAllDecided) {
  const char* chosen = std::getenv("TESSERA_PEFT_PYTHON");
  const std::string python = chosen != nullptr ? chosen : "python3";
  std::istringstream output(output_of("'" + python + "'" + kProgram));
  std::string version;
  if (!(output >> version)) GTEST_SKIP() << "no PEFT in " << python << " (TESSERA_PEFT_PYTHON)";
  const std::vector<std::string_view> decided = decided_peft_fields();
  std::size_t count = 0;
  for (std::string field; output >> field; ++count) {
    EXPECT_EQ(std::ranges::count(decided, field), 1) << field << " of PEFT " << version;
  }
  std::cout << "PEFT " << version << ": " << count << " fields\n";
  EXPECT_GE(count, 40U);
}

}  // namespace
}  // namespace tessera

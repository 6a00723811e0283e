#include "gateway/cli/malloc_choices.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include <malloc.h>
#include <sys/auxv.h>
#include <unistd.h>

namespace tessera {
namespace {

constexpr char kVariable[] = "GLIBC_TUNABLES";
// Pieces of each size that a thread keeps; and no other small ones, which would all be looked
// through with each large one. (Large pages were tried: a start took longer.)
constexpr char kChoices[] = "glibc.malloc.tcache_count=1024:glibc.malloc.mxfast=0";

std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

}  // namespace

void choose_malloc() {
  // (To a program with more rights than its caller glibc does not show them.)
  if (std::getenv(kVariable) != nullptr || getauxval(AT_SECURE) != 0) return;
  std::error_code unknown;
  const std::string image = std::filesystem::read_symlink("/proc/self/exe", unknown).string();
  std::vector<std::string> arguments = own_arguments();
  if (unknown || arguments.empty() || setenv(kVariable, kChoices, 0) != 0) return;
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execv(image.c_str(), pointers.data());
}

void return_freed_memory() {
  constexpr int kMappedFrom = 4 << 20;  // bytes: larger ones are mapped, and go back when freed
  constexpr int kKept = 8 << 20;        // bytes: at the end of each arena
  mallopt(M_MMAP_THRESHOLD, kMappedFrom);
  mallopt(M_TRIM_THRESHOLD, kKept);
}

}  // namespace tessera

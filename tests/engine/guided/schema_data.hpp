// schema_data.hpp — the archives of schemas that are not part of this repository.
//
// They are looked for in $TESSERA_SHARED_DATA, else beside the repository; tests that want one skip
// where it is absent.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace tessera::guided {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::filesystem::path schema_archive(const std::string& name) {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  const std::filesystem::path beside = std::filesystem::path(TESSERA_SOURCE_DIR) / "../shared/data";
  return (set != nullptr ? std::filesystem::path(set) : beside) / "json_schema" / name;
}

// False if there is no tar with xz here.
inline bool unpack(const std::filesystem::path& archive, const std::filesystem::path& into) {
  const std::string command = "tar -xJf '" + archive.string() + "' -C '" + into.string() + "'";
  return std::system(command.c_str()) == 0;
}

}  // namespace tessera::guided

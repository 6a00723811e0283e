// archive_builder.hpp — archives for tests, byte by byte, so that each field can be made to lie.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

// One member of a tar: a header block as ustar has it, and the content.
struct TarMember {
  std::string name;
  std::string content = {};
  char type =
      '0';  // '0' file, '1' hard link, '2' symbolic link, '3' device, '5' folder, 'S' sparse
  std::string link = {};
  std::string size_field = {};  // as it stands in the header; empty: the content's
  // Of type 'S': where each piece of the content lies, and how long it is; and the whole's size.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> sparse_map = {};
  std::uint64_t sparse_size = 0;
};

std::string tar_member(const TarMember& member);
// Members and two blocks of zeros.
std::string tar_of(const std::vector<TarMember>& members);
// A header of type 'x' with one attribute, for the member that follows.
std::string pax_header(const std::string& key, const std::string& value);

// One file of a zip. What is not told is what the content says.
struct ZipMember {
  std::string name;
  std::string content = {};
  bool deflated = false;
  std::uint16_t flags = 0;
  std::uint32_t unix_mode = 0100644;
  std::string local_name = {};            // in front of the file, if it is another there
  std::uint32_t local_size = 0xFFFFFFFE;  // kAsItIs
};
inline constexpr std::uint32_t kAsItIs = 0xFFFFFFFE;

struct ZipBuild {
  std::string bytes;
  std::size_t directory = 0;  // where it begins
};

ZipBuild build_zip(const std::vector<ZipMember>& members);
inline std::string zip_of(const std::vector<ZipMember>& members) {
  return build_zip(members).bytes;
}

enum class Compression : std::uint8_t { kGzip, kZstd };
std::string compressed(std::string_view bytes, Compression compression);

void put_le(std::string& bytes, std::size_t at, std::uint64_t value, int width);

}  // namespace tessera

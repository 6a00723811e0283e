#include "tests/adapters/archive_builder.hpp"

#include <array>
#include <cstdio>
#include <stdexcept>

#include <archive.h>
#include <archive_entry.h>

namespace tessera {
namespace {

constexpr std::size_t kBlock = 512;

void set(std::string& header, std::size_t at, std::string_view text) {
  header.replace(at, text.size(), text);
}

std::string octal(std::uint64_t value, int digits) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%0*llo", digits, static_cast<unsigned long long>(value));
  return text.data();
}

void pad(std::string& bytes) {
  bytes.resize((bytes.size() + kBlock - 1) / kBlock * kBlock, '\0');
}

std::uint32_t crc32_of(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xEDB88320U & (0U - (crc & 1U)));
  }
  return ~crc;
}

void append_le(std::string& bytes, std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
}

// A gzip's content without its ten bytes of head and eight of tail: raw deflate.
std::string deflated(std::string_view bytes) {
  const std::string gzip = compressed(bytes, Compression::kGzip);
  return gzip.substr(10, gzip.size() - 18);
}

}  // namespace

std::string tar_member(const TarMember& member) {
  std::string header(kBlock, '\0');
  set(header, 0, std::string_view(member.name).substr(0, 100));
  set(header, 100, "0000644");
  set(header, 108, "0000000");
  set(header, 116, "0000000");
  set(header, 124,
      member.size_field.empty() ? octal(member.content.size(), 11) : member.size_field);
  set(header, 136, "00000000000");
  header[156] = member.type;
  set(header, 157, member.link);
  const bool is_sparse = !member.sparse_map.empty();
  set(header, 257,
      is_sparse ? std::string_view("ustar  \0", 8) : std::string_view("ustar\00000", 8));
  for (std::size_t i = 0; i < member.sparse_map.size(); ++i) {
    set(header, 386 + 24 * i, octal(member.sparse_map[i].first, 11));
    set(header, 398 + 24 * i, octal(member.sparse_map[i].second, 11));
  }
  if (is_sparse) set(header, 483, octal(member.sparse_size, 11));
  set(header, 148, "        ");
  std::uint64_t sum = 0;
  for (const char byte : header) sum += static_cast<std::uint8_t>(byte);
  set(header, 148, octal(sum, 6) + '\0');
  header += member.content;
  pad(header);
  return header;
}

std::string tar_of(const std::vector<TarMember>& members) {
  std::string tar;
  for (const TarMember& member : members) tar += tar_member(member);
  return tar + std::string(2 * kBlock, '\0');
}

std::string pax_header(const std::string& key, const std::string& value) {
  const std::string rest = " " + key + "=" + value + "\n";
  std::size_t length = rest.size() + 1;
  while (std::to_string(length).size() + rest.size() != length) ++length;
  return tar_member(
      {.name = "PaxHeaders/x", .content = std::to_string(length) + rest, .type = 'x'});
}

ZipBuild build_zip(const std::vector<ZipMember>& members) {
  ZipBuild zip;
  std::string directory;
  for (const ZipMember& member : members) {
    const std::string data = member.deflated ? deflated(member.content) : member.content;
    const std::string& local_name = member.local_name.empty() ? member.name : member.local_name;
    const std::uint32_t crc = crc32_of(member.content);
    const std::size_t offset = zip.bytes.size();
    append_le(zip.bytes, 0x04034B50, 4);
    append_le(zip.bytes, 20, 2);
    append_le(zip.bytes, member.flags, 2);
    append_le(zip.bytes, member.deflated ? 8 : 0, 2);
    append_le(zip.bytes, 0, 4);  // time, date
    append_le(zip.bytes, crc, 4);
    append_le(zip.bytes, data.size(), 4);
    append_le(zip.bytes, member.local_size == kAsItIs ? member.content.size() : member.local_size,
              4);
    append_le(zip.bytes, local_name.size(), 2);
    append_le(zip.bytes, 0, 2);
    zip.bytes += local_name + data;

    append_le(directory, 0x02014B50, 4);
    append_le(directory, 3 << 8 | 20, 2);  // made on Unix
    append_le(directory, 20, 2);
    append_le(directory, member.flags, 2);
    append_le(directory, member.deflated ? 8 : 0, 2);
    append_le(directory, 0, 4);
    append_le(directory, crc, 4);
    append_le(directory, data.size(), 4);
    append_le(directory, member.content.size(), 4);
    append_le(directory, member.name.size(), 2);
    append_le(directory, 0, 8);  // extra, comment, disk, internal attributes
    append_le(directory, std::uint64_t{member.unix_mode} << 16, 4);
    append_le(directory, offset, 4);
    directory += member.name;
  }
  zip.directory = zip.bytes.size();
  zip.bytes += directory;
  append_le(zip.bytes, 0x06054B50, 4);
  append_le(zip.bytes, 0, 4);
  append_le(zip.bytes, members.size(), 2);
  append_le(zip.bytes, members.size(), 2);
  append_le(zip.bytes, directory.size(), 4);
  append_le(zip.bytes, zip.directory, 4);
  append_le(zip.bytes, 0, 2);
  return zip;
}

std::string compressed(std::string_view bytes, Compression compression) {
  archive* const writer = archive_write_new();
  archive_write_set_format_raw(writer);
  if (compression == Compression::kGzip) {
    archive_write_add_filter_gzip(writer);
    archive_write_set_filter_option(writer, "gzip", "timestamp", nullptr);
  } else {
    archive_write_add_filter_zstd(writer);
  }
  archive_write_set_bytes_per_block(writer, 0);
  std::string out(bytes.size() + bytes.size() / 8 + 4096, '\0');
  std::size_t used = 0;
  archive_entry* const entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_pathname(entry, "raw");
  bool done = archive_write_open_memory(writer, out.data(), out.size(), &used) == ARCHIVE_OK &&
              archive_write_header(writer, entry) == ARCHIVE_OK;
  done = done && archive_write_data(writer, bytes.data(), bytes.size()) >= 0;
  done = archive_write_close(writer) == ARCHIVE_OK && done;
  archive_entry_free(entry);
  archive_write_free(writer);
  if (!done) throw std::runtime_error("cannot compress");
  out.resize(used);
  return out;
}

void put_le(std::string& bytes, std::size_t at, std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) {
    bytes.at(at + static_cast<std::size_t>(i)) = static_cast<char>(value >> (8 * i) & 0xFF);
  }
}

}  // namespace tessera

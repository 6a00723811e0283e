#include "adapters/archive/zip_directory.hpp"

#include <cstdint>
#include <string_view>
#include <utility>

#include "adapters/archive/archive_names.hpp"

namespace tessera {
namespace {

using enum FindingCode;

constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kCentralBytes = 46;
constexpr std::size_t kEndBytes = 22;
constexpr std::uint32_t kLocalMagic = 0x04034B50;
constexpr std::uint32_t kCentralMagic = 0x02014B50;
constexpr std::uint32_t kEndMagic = 0x06054B50;
constexpr std::uint32_t kDescriptorMagic = 0x08074B50;
constexpr std::uint32_t kZip64 = 0xFFFFFFFF;

constexpr unsigned kEncrypted = 1U << 0 | 1U << 6 | 1U << 13;
constexpr unsigned kHasDescriptor = 1U << 3;
constexpr unsigned kKnownFlags = 0b110U | kHasDescriptor | 1U << 11;  // deflate's, UTF-8

Finding broken(FindingCode code, std::string_view path, std::string message) {
  return {.code = code, .subject = printable_name(path), .message = std::move(message)};
}

// One file as either description has it.
struct Described {
  unsigned flags = 0;
  unsigned method = 0;
  std::uint32_t crc = 0;
  std::uint64_t packed_bytes = 0;
  std::uint64_t bytes = 0;
  std::string_view name = {};
};

class Directory {
 public:
  Directory(std::span<const std::byte> archive, int max_entries)
      : bytes_(reinterpret_cast<const char*>(archive.data()), archive.size()),
        max_entries_(max_entries) {}

  std::optional<Finding> check() {
    if (auto fault = read_end()) return fault;
    for (unsigned i = 0; i < num_entries_; ++i) {
      if (auto fault = check_entry()) return fault;
    }
    if (central_ != bytes_.size() - kEndBytes || local_ != start_) {
      return broken(kArchiveBadEntry, "", "The zip holds bytes that belong to no file.");
    }
    return std::nullopt;
  }

 private:
  std::uint32_t u16(std::size_t at) const { return byte(at) | byte(at + 1) << 8; }
  std::uint32_t u32(std::size_t at) const { return u16(at) | u16(at + 2) << 16; }
  std::uint32_t byte(std::size_t at) const { return static_cast<unsigned char>(bytes_[at]); }
  // Whether [at, at + size) lies before `end`.
  static bool fits(std::size_t at, std::uint64_t size, std::size_t end) {
    return at <= end && size <= end - at;
  }

  std::optional<Finding> read_end() {
    const std::size_t at = bytes_.size() - kEndBytes;
    if (bytes_.size() < kEndBytes || u32(at) != kEndMagic || u16(at + 20) != 0) {
      return broken(kArchiveTrailingData, "",
                    "The zip does not end with its directory (no comment is accepted).");
    }
    num_entries_ = u16(at + 10);
    const std::uint64_t size = u32(at + 12);
    const std::uint64_t start = u32(at + 16);
    if (u32(at + 4) != 0 || u16(at + 8) != num_entries_ || start == kZip64 || size == kZip64) {
      return broken(kArchiveUnreadable, "", "Zips in parts and ZIP64 are not accepted.");
    }
    if (num_entries_ > static_cast<unsigned>(max_entries_)) {
      return broken(kArchiveTooManyEntries, "",
                    "The archive has more than " + std::to_string(max_entries_) + " entries.");
    }
    if (start + size != at) {
      return broken(kArchiveBadEntry, "", "The zip's directory is not where its end says.");
    }
    start_ = central_ = static_cast<std::size_t>(start);
    return std::nullopt;
  }

  std::optional<Finding> check_entry() {
    const std::size_t end = bytes_.size() - kEndBytes;
    if (!fits(central_, kCentralBytes, end) || u32(central_) != kCentralMagic) {
      return broken(kArchiveBadEntry, "", "The zip's directory is broken.");
    }
    const std::size_t at = central_;
    const std::uint64_t name_bytes = u16(at + 28);
    const std::uint64_t tail_bytes = name_bytes + u16(at + 30) + u16(at + 32);
    if (!fits(at + kCentralBytes, tail_bytes, end)) {
      return broken(kArchiveBadEntry, "", "The zip's directory is broken.");
    }
    const Described described{.flags = u16(at + 8),
                              .method = u16(at + 10),
                              .crc = u32(at + 16),
                              .packed_bytes = u32(at + 20),
                              .bytes = u32(at + 24),
                              .name = bytes_.substr(at + kCentralBytes, name_bytes)};
    const bool made_on_unix = u16(at + 4) >> 8 == 3;
    const std::uint32_t mode = made_on_unix ? u32(at + 38) >> 16 : 0;
    const bool is_split = u16(at + 34) != 0;
    const std::uint64_t local = u32(at + 42);
    central_ = at + kCentralBytes + tail_bytes;
    if (auto fault = check_kind(described, mode)) return fault;
    if (is_split || local != local_) {
      return broken(kArchiveBadEntry, described.name,
                    "The file does not lie where the one before it ends.");
    }
    return check_local(described);
  }

  static std::optional<Finding> check_kind(const Described& described, std::uint32_t mode) {
    constexpr std::uint32_t kKind = 0170000;
    constexpr std::uint32_t kRegular = 0100000;
    constexpr std::uint32_t kFolder = 0040000;
    const std::string_view name = described.name;
    if ((described.flags & kEncrypted) != 0) {
      return broken(kArchiveEncrypted, name, "Encrypted archives are not accepted.");
    }
    if ((described.flags & ~kKnownFlags) != 0 || (described.method != 0 && described.method != 8)) {
      return broken(kArchiveUnreadable, name, "The file is stored in a way that is not known.");
    }
    const std::uint32_t kind = mode & kKind;
    if ((kind != 0 && kind != kRegular && kind != kFolder) || name.find('\0') != name.npos) {
      return broken(kArchiveBadEntry, name, "Only files and folders are accepted in an archive.");
    }
    const bool is_stored = described.method == 0;
    if (described.packed_bytes == kZip64 || described.bytes == kZip64 ||
        (is_stored && described.packed_bytes != described.bytes)) {
      return broken(kArchiveBadEntry, name, "The file's sizes contradict each other.");
    }
    return std::nullopt;
  }

  // What stands before the file, and that the file ends before the directory begins.
  std::optional<Finding> check_local(const Described& described) {
    const auto contradiction = [&] {
      return broken(kArchiveBadEntry, described.name,
                    "The zip describes the file twice, and differently.");
    };
    const std::size_t at = local_;
    if (!fits(at, kLocalBytes, start_) || u32(at) != kLocalMagic) return contradiction();
    const std::uint64_t name_bytes = u16(at + 26);
    const std::uint64_t head_bytes = kLocalBytes + name_bytes + u16(at + 28);
    if (!fits(at, head_bytes + described.packed_bytes, start_)) return contradiction();
    const bool later = (described.flags & kHasDescriptor) != 0;
    const auto agrees = [&](std::size_t offset, std::uint64_t value) {
      const std::uint32_t told = u32(at + offset);
      return told == value || (later && told == 0);
    };
    if (u16(at + 6) != described.flags || u16(at + 8) != described.method ||
        bytes_.substr(at + kLocalBytes, name_bytes) != described.name ||
        !agrees(14, described.crc) || !agrees(18, described.packed_bytes) ||
        !agrees(22, described.bytes)) {
      return contradiction();
    }
    local_ = at + head_bytes + described.packed_bytes;
    if (later && !skip_descriptor(described)) return contradiction();
    return std::nullopt;
  }

  bool skip_descriptor(const Described& described) {
    const bool has_magic = fits(local_, 16, start_) && u32(local_) == kDescriptorMagic;
    const std::size_t at = local_ + (has_magic ? 4 : 0);
    if (!fits(at, 12, start_)) return false;
    local_ = at + 12;
    return u32(at) == described.crc && u32(at + 4) == described.packed_bytes &&
           u32(at + 8) == described.bytes;
  }

  const std::string_view bytes_;
  const int max_entries_;
  unsigned num_entries_ = 0;
  std::size_t start_ = 0;    // of the directory
  std::size_t central_ = 0;  // the next description there
  std::size_t local_ = 0;    // the next file
};

}  // namespace

std::optional<Finding> check_zip_directory(std::span<const std::byte> archive, int max_entries) {
  return Directory(archive, max_entries).check();
}

}  // namespace tessera

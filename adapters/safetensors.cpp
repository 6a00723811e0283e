#include "adapters/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "adapters/safetensors_header.hpp"

namespace tessera {
namespace {

using Entry = SafetensorsHeader::Entry;
using enum FindingCode;

constexpr std::size_t kLengthBytes = 8;

struct DtypeRow {
  std::string_view name;
  int bits;
};

constexpr std::array<DtypeRow, 20> kDtypes = {
    {{"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
     {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
     {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
     {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}}};
static_assert(kDtypes.size() == static_cast<std::size_t>(Dtype::kU64) + 1);
static_assert(kDtypes[static_cast<std::size_t>(Dtype::kBf16)].name == "BF16");

const DtypeRow& row_of(Dtype dtype) {
  return kDtypes[static_cast<std::size_t>(dtype)];
}

Finding about_file(FindingCode code, std::string message) {
  return {.code = code, .message = std::move(message)};
}

Finding about_tensor(FindingCode code, const Entry& entry, std::string message) {
  return {.code = code,
          .about = Finding::About::kTensor,
          .subject = entry.name,
          .message = std::move(message)};
}

bool starts_with(std::span<const std::byte> file, std::string_view magic, std::size_t at = 0) {
  return file.size() >= at + magic.size() &&
         std::memcmp(file.data() + at, magic.data(), magic.size()) == 0;
}

// What torch.save writes: a bare pickle (PROTO 2 to 5), a zip archive, or, long ago, a tar. Asked
// only of files whose first eight bytes are no credible header length.
bool looks_like_pickle(std::span<const std::byte> file) {
  const bool is_bare = file.size() >= 2 && file[0] == std::byte{0x80} && file[1] >= std::byte{2} &&
                       file[1] <= std::byte{5};
  return is_bare || starts_with(file, "PK\x03\x04") || starts_with(file, "ustar", 257);
}

std::uint64_t read_length(std::span<const std::byte> file) {
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  return length;
}

// The header's text, once its length is credible.
Checked<std::string_view> header_text(std::span<const std::byte> file,
                                      const SafetensorsLimits& limits) {
  const bool is_short = file.size() < kLengthBytes;
  const std::uint64_t length = is_short ? 0 : read_length(file);
  const bool fits = !is_short && length <= file.size() - kLengthBytes;
  if ((!fits || length > limits.max_header_bytes) && looks_like_pickle(file)) {
    return about_file(kPickleNotAccepted,
                      "The file is a pickle, which can run code when it is read; save the adapter "
                      "with safe_serialization=True.");
  }
  if (is_short) return about_file(kSafetensorsTruncated, "The file is shorter than 8 bytes.");
  if (length > limits.max_header_bytes) {
    return Finding{.code = kSafetensorsHeaderTooLarge,
                   .expected = "at most " + std::to_string(limits.max_header_bytes) + " bytes",
                   .actual = std::to_string(length) + " bytes",
                   .message = "The header is too large."};
  }
  if (!fits) return about_file(kSafetensorsTruncated, "The file ends before its header does.");
  return std::string_view(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
}

// Bytes that the dtype and shape call for; nullopt if they are no whole number or beyond 64 bits.
std::optional<std::uint64_t> size_of(const Entry& entry) {
  auto bits = static_cast<std::uint64_t>(dtype_bits(entry.dtype));
  for (const std::int64_t dimension : entry.shape) {
    if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(dimension), &bits)) {
      return std::nullopt;
    }
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

std::optional<Finding> check_size(const Entry& entry) {
  const auto size = size_of(entry);
  if (!size) {
    return about_tensor(kSafetensorsOverflow, entry,
                        "The tensor's size is beyond 64 bits, or no whole number of bytes.");
  }
  if (*size == entry.end - entry.begin) return std::nullopt;
  Finding finding = about_tensor(kSafetensorsSizeMismatch, entry,
                                 "data_offsets do not span what dtype and shape call for.");
  finding.expected = std::to_string(*size) + " bytes";
  finding.actual = std::to_string(entry.end - entry.begin) + " bytes";
  return finding;
}

// The entries must cover [0, data_bytes) exactly.
std::optional<Finding> check_layout(const std::vector<Entry>& entries, std::uint64_t data_bytes) {
  std::vector<const Entry*> by_offset;
  by_offset.reserve(entries.size());
  for (const Entry& entry : entries) by_offset.push_back(&entry);
  std::ranges::sort(by_offset, {}, [](const Entry* e) { return std::pair(e->begin, e->end); });

  std::uint64_t covered = 0;
  for (const Entry* entry : by_offset) {
    if (entry->end > data_bytes) {
      return about_tensor(kSafetensorsTruncated, *entry, "The file ends before this tensor does.");
    }
    if (entry->begin < covered) {
      return about_tensor(kSafetensorsOverlap, *entry, "The tensor overlaps another.");
    }
    if (entry->begin > covered) {
      return about_tensor(kSafetensorsHole, *entry,
                          "There are bytes of no tensor before this one.");
    }
    covered = entry->end;
  }
  if (covered == data_bytes) return std::nullopt;
  return about_file(kSafetensorsTrailingData, "There are bytes of no tensor after the last one.");
}

}  // namespace

std::string_view dtype_name(Dtype dtype) {
  return row_of(dtype).name;
}
int dtype_bits(Dtype dtype) {
  return row_of(dtype).bits;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t dimension : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(dimension);
  }
  return text + "]";
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(tensors, name, {}, &StoredTensor::name);
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

Checked<SafetensorsFile> parse_safetensors(std::span<const std::byte> file,
                                           const SafetensorsLimits& limits) {
  const auto text = header_text(file, limits);
  if (!text) return text.error();
  auto header = parse_safetensors_header(*text, limits);
  if (!header) return header.error();
  for (const Entry& entry : header->entries) {
    if (auto finding = check_size(entry)) return std::move(*finding);
  }
  const auto data = file.subspan(kLengthBytes + text->size());
  if (auto finding = check_layout(header->entries, data.size())) return std::move(*finding);

  SafetensorsFile parsed;
  parsed.metadata = std::move(header->metadata);
  parsed.tensors.reserve(header->entries.size());
  for (Entry& entry : header->entries) {
    parsed.tensors.push_back({.name = std::move(entry.name),
                              .dtype = entry.dtype,
                              .shape = std::move(entry.shape),
                              .bytes = data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return parsed;
}

}  // namespace tessera

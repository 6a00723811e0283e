// gguf_file.hpp — the GGUF container: a strict, bounded reader.
//
// A file is the magic "GGUF", a version (2 or 3; both little-endian here), counts of tensors and of
// metadata, the metadata (typed values by key), the tensors' names, dimensions, types and offsets,
// and, on a multiple of general.alignment, the data. Dimensions are listed fastest first: a matrix
// (rows, cols) has dims {cols, rows}. The reader trusts nothing: every count is checked against the
// bytes that are left before anything is allocated, every size is computed without overflow, and
// tensors neither leave the file nor overlap. (ggml, docs/gguf.md.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

// The types of blocks that we read; the numbers are the format's.
enum class GgmlType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kBf16 = 30,
};

struct GgmlBlock {
  std::string_view name;  // "Q4_K"
  int weights = 1;        // of a block
  int bytes = 0;
};

const GgmlBlock& block_of(GgmlType type);

using GgufNumbers = std::vector<double>;  // integers beyond 2^53 lose their last bits
using GgufStrings = std::vector<std::string>;
using GgufValue = std::variant<bool, std::int64_t, double, std::string, GgufNumbers, GgufStrings>;

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<std::int64_t> dims;  // fastest first, each at least 1
  std::span<const std::byte> bytes;
};

struct GgufFile {
  int version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;  // as listed

  const GgufTensor* find(std::string_view name) const;

  // A value of the metadata, or nothing if it is absent or of another kind. Integers convert to
  // floating point, not the other way.
  std::optional<std::int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  const std::string* text(std::string_view key) const;
  const GgufNumbers* numbers(std::string_view key) const;
  const GgufStrings* strings(std::string_view key) const;
};

struct GgufLimits {
  std::uint64_t max_tensors = 65'536;
  std::uint64_t max_metadata = 65'536;
  std::uint64_t max_name_bytes = 65'535;                     // of a key or a tensor
  std::uint64_t max_string_bytes = std::uint64_t{64} << 20;  // of a value
  std::uint64_t max_array_values = std::uint64_t{1} << 24;
  std::uint32_t max_dims = 4;
};

// Points into `file`. Errors: kCorrupt; kUnsupportedModel for a version or a type of block that we
// do not read. One line each.
Result<GgufFile> parse_gguf(std::span<const std::byte> file, const GgufLimits& limits = {});

// Whether it begins as a GGUF file does.
bool looks_like_gguf(std::span<const std::byte> file);

}  // namespace tessera

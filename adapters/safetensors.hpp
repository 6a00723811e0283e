// safetensors.hpp — the safetensors container: a strict, bounded reader and a small writer.
//
// A file is an 8-byte little-endian length N, N bytes of JSON, then the tensors' bytes:
//
//   {"__metadata__": {"k": "v"}, "name": {"dtype": "F16", "shape": [8, 64], "data_offsets": [0,
//   1024]}}
//
// The reader trusts nothing. The tensors must cover the data exactly, in some order, without hole,
// overlap or rest; every size is computed without overflow; numbers are plain unsigned integers;
// keys are unique; and every broken rule has a code of its own (finding.hpp). It works in time and
// memory proportional to the header and never touches the tensors' bytes, which it only points at.
// (Format: safetensors README and its tensor.rs.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/finding.hpp"

namespace tessera {

enum class Dtype : std::uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kI16,
  kU16,
  kF16,
  kBf16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

std::string_view dtype_name(Dtype dtype);  // "BF16"
int dtype_bits(Dtype dtype);

// A view: the bytes belong to the file that was parsed. They are little-endian, row-major and not
// aligned.
struct StoredTensor {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;  // any rank, also 0; sizes may be 0
  std::span<const std::byte> bytes;
};

std::string shape_text(std::span<const std::int64_t> shape);  // "[16, 4096]"

struct SafetensorsFile {
  std::vector<StoredTensor> tensors;  // in byte order of their names
  std::vector<std::pair<std::string, std::string>> metadata;

  // The tensor called `name`, or null.
  const StoredTensor* find(std::string_view name) const;
};

struct SafetensorsLimits {
  std::size_t max_header_bytes = std::size_t{8} << 20;
  std::size_t max_tensors = 65'536;
  std::size_t max_rank = 8;  // dimensions of a shape
};

// Reads the container. The result points into `file`, which must outlive it and not change.
Checked<SafetensorsFile> parse_safetensors(std::span<const std::byte> file,
                                           const SafetensorsLimits& limits = {});

// The file that holds `tensors` in the given order. For tests and tools: each tensor's bytes must
// be as long as its dtype and shape say.
std::vector<std::byte> write_safetensors(
    std::span<const StoredTensor> tensors,
    std::span<const std::pair<std::string, std::string>> metadata = {});

}  // namespace tessera

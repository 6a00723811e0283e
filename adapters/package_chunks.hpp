// package_chunks.hpp — the two files of an upload as they lie in the store: 1 MiB at a time.
//
// Chunks are keyed by the digest of both files' bytes, so equal packages share theirs and a change
// of a single byte is noticed when they are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/digest.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"

namespace tessera {

// The two files of an upload, as they came.
struct AdapterFiles {
  std::string config;              // adapter_config.json
  std::vector<std::byte> tensors;  // adapter_model.safetensors
};

// Names the bytes of a package and says how many there are.
struct PackageRef {
  ContentDigest content;
  std::uint64_t config_bytes = 0;
  std::uint64_t tensors_bytes = 0;
};

PackageRef refer_to_package(std::string_view config, std::span<const std::byte> tensors);

// Appends what stores or erases the package to `batch`.
void put_package(Batch& batch, const PackageRef& package, std::string_view config,
                 std::span<const std::byte> tensors);
void erase_package(Batch& batch, const PackageRef& package);

// Errors: kCorrupt if a chunk is missing or the bytes are not those of the digest; kIo.
Result<AdapterFiles> read_package(const Store& store, const PackageRef& package);

}  // namespace tessera

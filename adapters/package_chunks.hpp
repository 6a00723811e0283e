// package_chunks.hpp — the two files of an upload as they lie in the store: 1 MiB at a time.
//
// Chunks are keyed by a digest of both files' digests, so equal packages share theirs, a change of
// a single byte is noticed when they are read, and files that are staged need not be read for it. A
// package has gigabytes: it is written and erased in several batches, each of a few chunks, so who
// needs it to be all or nothing keeps a record beside it that says whether it is
// (package_shelf.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/digest.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"
#include "storage/store.hpp"

namespace tessera {

// The files, as they are numbered in the keys.
enum class PackageFile : std::uint8_t { kConfig = 0, kTensors = 1 };

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

  std::uint64_t size(PackageFile file) const {
    return file == PackageFile::kConfig ? config_bytes : tensors_bytes;
  }
};

PackageRef refer_to_package(const StagedFile& config, const StagedFile& tensors);

// Writes the chunks; when it returns they survive power loss, and so does all that was written
// before. Errors: those of Store::ingest(); then any number of them may be there.
Result<void> put_package(Store& store, const PackageRef& package, std::span<const std::byte> config,
                         std::span<const std::byte> tensors);
// Erases all chunks that there may be, buffered. Errors: those of Store.
Result<void> erase_package(Store& store, const PackageRef& package);

// Up to `bytes` of a file from `offset` on, fewer at its end.
// Errors: kCorrupt if a chunk is missing or short; kIo.
Result<std::string> read_package(const Store& store, const PackageRef& package, PackageFile file,
                                 std::uint64_t offset, std::size_t bytes);

// Both files. Errors: kCorrupt also if the bytes are not those of the digest.
Result<AdapterFiles> read_package(const Store& store, const PackageRef& package);

}  // namespace tessera

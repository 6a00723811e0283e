// package_archive.hpp — the files of an adapter out of a tar, tar.gz, tar.zst or zip.
//
// Decompression and the formats are libarchive's; what may come out is decided here. An archive is
// read once from front to back, and every limit is on bytes that were really produced, not on what
// a header promises. A tar is decompressed and read in two stages, so that a second compression
// inside the first, a rest behind the last member and a rest behind the tar itself are all seen. A
// zip must be one that all readers agree about (zip_directory.hpp) before libarchive reads it.
//
// Runs where an archive may do least harm (adapters/sandbox). Opens nothing, starts no threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/finding.hpp"

namespace tessera {

struct ArchiveLimits {
  int max_entries = 16;  // folders, too
  // Of all that comes out to the archive itself, once more than ratio_floor_bytes has.
  std::uint64_t max_ratio = 20;
  std::uint64_t ratio_floor_bytes = std::uint64_t{1} << 20;
  std::uint64_t max_config_bytes = std::uint64_t{256} << 10;
  std::uint64_t max_tensors_bytes = std::uint64_t{512} << 20;
  std::uint64_t max_tokenizer_bytes = std::uint64_t{64} << 20;  // of each file
  std::uint64_t max_ignored_bytes = std::uint64_t{64} << 20;    // of all others together
  std::size_t max_template_bytes = std::size_t{1} << 20;
};

// Takes a file's next bytes; false: they could not be written.
using ArchiveSink = std::function<bool(std::string_view bytes)>;

struct ExtractedPackage {
  struct Named {
    std::string name;
    std::string content;
  };
  std::vector<Named> tokenizer = {};  // files to hold against the base's tokenizer
  std::string chat_template = {};     // empty: none
  Findings warnings = {};             // kIgnoredFile, one a file
};

// Writes adapter_config.json and adapter_model.safetensors to their sinks; both are there, whole,
// if there is no error. Errors: the kArchive… codes, kPickleNotAccepted, kFileNotAccepted;
// kValidationFailed if a sink refuses.
Checked<ExtractedPackage> extract_package(std::span<const std::byte> archive,
                                          const ArchiveSink& config, const ArchiveSink& tensors,
                                          const ArchiveLimits& limits = {});

}  // namespace tessera

// mapped_file.hpp — a file's bytes as memory, read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "storage/result.hpp"

namespace tessera {

// (bytes that are in memory, bytes of the file)
using ReadProgress = std::function<void(std::size_t, std::size_t)>;

// Owns the mapping; move-only. The file must not shrink while it is mapped: packed files are
// replaced by renaming, never written in place.
class MappedFile {
 public:
  // Errors: kNotFound if there is no such file, kIo.
  static Result<MappedFile> open(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const {
    return {bytes_.get(), bytes_.get_deleter().num_bytes};
  }

  // Reads every page into the page cache and maps it, telling `progress` as it goes; a hint, so it
  // cannot fail.
  void prefault(const ReadProgress& progress) const;

  // Says that `part` of bytes() will not be read soon: its whole pages leave this process's memory.
  // Reading them again is slower and nothing else.
  void release(std::span<const std::byte> part) const;

 private:
  struct Unmap {
    std::size_t num_bytes = 0;
    void operator()(const std::byte* bytes) const;
  };

  MappedFile(const std::byte* bytes, std::size_t num_bytes) : bytes_(bytes, Unmap{num_bytes}) {}

  std::unique_ptr<const std::byte, Unmap> bytes_;  // null if the file is empty
};

}  // namespace tessera

// mapped_file.hpp — a file's bytes as memory, read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "storage/result.hpp"

namespace tessera {

// Owns the mapping; move-only. The file must not shrink while it is mapped: packed files are
// replaced by renaming, never written in place.
class MappedFile {
 public:
  // Errors: kNotFound if there is no such file, kIo. With `prefault` every page is read first.
  static Result<MappedFile> open(const std::filesystem::path& path, bool prefault = false);

  std::span<const std::byte> bytes() const {
    return {bytes_.get(), bytes_.get_deleter().num_bytes};
  }

 private:
  struct Unmap {
    std::size_t num_bytes = 0;
    void operator()(const std::byte* bytes) const;
  };

  MappedFile(const std::byte* bytes, std::size_t num_bytes) : bytes_(bytes, Unmap{num_bytes}) {}

  std::unique_ptr<const std::byte, Unmap> bytes_;  // null if the file is empty
};

}  // namespace tessera

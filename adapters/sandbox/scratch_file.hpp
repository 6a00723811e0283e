// scratch_file.hpp — a file without a name, gone with its owner: what a child reads or writes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "storage/result.hpp"

namespace tessera {

// Move-only; owns its descriptor, which is open for reading and writing.
class ScratchFile {
 public:
  // On the folder's file system. Errors: kIo.
  static Result<ScratchFile> in_folder(const std::filesystem::path& folder);
  // In memory, so that a full disk does not matter; holds `bytes`, its position at their end.
  // Errors: kIo.
  static Result<ScratchFile> in_memory(std::span<const std::byte> bytes = {});

  ScratchFile(ScratchFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  ScratchFile& operator=(ScratchFile&&) = delete;
  ~ScratchFile();

  int descriptor() const { return descriptor_; }

 private:
  explicit ScratchFile(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace tessera

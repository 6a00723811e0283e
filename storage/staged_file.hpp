// staged_file.hpp — bytes on their way in: a file of their own until somebody keeps them.
//
// An upload of gigabytes must not lie in memory, and must leave nothing behind when its sender goes
// away. A StagedFile is written once, front to back, hashed on the way, and is gone with its last
// owner; whatever a killed process left in the folder goes when the folder is opened again. Where
// the file system can (O_TMPFILE), a staged file never has a name: nothing can be left, and nobody
// can open it but through this process.
//
// Uploads must not fill the disk on which the store writes its log. Three bounds, each refused with
// kStorageFull before a byte is written: of all staged files together, of those of one owner, and a
// reserve of the disk that is left to others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera {

// A finished file. Immutable; shared by whoever reads it. Any thread.
class StagedFile {
 public:
  virtual ~StagedFile() = default;

  virtual std::uint64_t size() const = 0;
  virtual const ContentDigest& sha256() const = 0;
  // Read-only and owned by this object; for a child process to inherit or be sent. Its offset is
  // shared by all who use it: read at offsets of one's own.
  virtual int descriptor() const = 0;
  // `bytes` from `offset` on, fewer at the end. Errors: kIo; kCorrupt if the file is shorter than
  // it was.
  virtual Result<std::string> read(std::uint64_t offset, std::size_t bytes) const = 0;
  // The whole file, mapped; valid as long as this object. Errors: kIo.
  virtual Result<std::span<const std::byte>> map() const = 0;
  // Gives the bytes the name `path`, which must be free and on the folder's file system; no byte is
  // copied. When it returns they survive power loss. Errors: kIo, kStorageFull; then there is no
  // such name.
  virtual Result<void> keep(const std::filesystem::path& path) const = 0;
};

// A file being written. Used by one thread at a time; dropping it removes the file.
class StagedWriter {
 public:
  virtual ~StagedWriter() = default;

  // After an error nothing more can be appended. Errors: kStorageFull, kIo; kPayloadTooLarge beyond
  // the limit it was made with.
  virtual Result<void> append(std::string_view bytes) = 0;
  virtual std::uint64_t size() const = 0;
  // Once, and not after an error. Errors: kIo.
  virtual Result<std::shared_ptr<const StagedFile>> finish() = 0;
};

// Bytes of files being staged, finished or not.
struct StagingLimits {
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();           // all together
  std::uint64_t max_bytes_of_owner = std::numeric_limits<std::uint64_t>::max();  // of one owner
  std::uint64_t reserve_bytes = 0;  // of the disk, that stay free
};

// The folder of all staged files of a process. Thread-safe; its writers and files may outlive it.
class StagingFolder {
 public:
  // Makes the folder, or empties it. Errors: kIo.
  static Result<std::unique_ptr<StagingFolder>> open(const std::filesystem::path& path,
                                                     const StagingLimits& limits = {});
  virtual ~StagingFolder() = default;

  // A file of at most `max_bytes`, counted as `owner`'s. Errors: kIo, kStorageFull.
  virtual Result<std::unique_ptr<StagedWriter>> create(std::uint64_t max_bytes,
                                                       std::string_view owner = {}) = 0;
  // One file of the parts, one behind the other. Errors: those of create() and append(), and of
  // reading the parts.
  virtual Result<std::shared_ptr<const StagedFile>> join(
      std::span<const std::shared_ptr<const StagedFile>> parts, std::string_view owner = {}) = 0;
  // Of all files that are there now, and of those of one owner.
  virtual std::uint64_t bytes() const = 0;
  virtual std::uint64_t bytes_of(std::string_view owner) const = 0;
};

// A file that keep() has made, `sha256` as it was told then. Removing its name leaves this object
// readable. Errors: kNotFound, kIo.
Result<std::shared_ptr<const StagedFile>> open_kept_file(const std::filesystem::path& path,
                                                         const ContentDigest& sha256);

}  // namespace tessera

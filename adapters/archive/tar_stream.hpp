// tar_stream.hpp — a tar as it comes out of its compression, counted byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "adapters/archive/package_archive.hpp"
#include "adapters/finding.hpp"

struct archive;

namespace tessera {

// Feeds a tar reader of libarchive with the plain bytes of a tar, tar.gz or tar.zst. Used once, on
// one thread; outlives the reader that it feeds.
class TarStream {
 public:
  TarStream(std::span<const std::byte> bytes, const ArchiveLimits& limits);

  // False if nothing can be read.
  bool open();
  bool feed(archive* tar);

  // Why no more bytes came, if that was not the end: kArchiveRatioTooHigh, kArchiveTooLarge,
  // kArchiveUnreadable.
  const std::optional<Finding>& fault() const { return fault_; }

  // Once the tar is read, up to its byte `consumed`: whether anything but zeros follows there, or
  // anything at all behind the compressed data.
  std::optional<Finding> check_rest(std::uint64_t consumed);

 private:
  static long next_block(archive* tar, void* self, const void** block);
  std::span<const std::byte> read_block();
  void refuse(FindingCode code, std::string message);

  const std::span<const std::byte> bytes_;
  const ArchiveLimits& limits_;
  const std::unique_ptr<archive, int (*)(archive*)> raw_;
  std::optional<Finding> fault_;
  std::uint64_t produced_ = 0;
  std::uint64_t end_of_data_ = 0;  // behind the last byte that was not zero
};

}  // namespace tessera

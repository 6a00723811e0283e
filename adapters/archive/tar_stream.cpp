#include "adapters/archive/tar_stream.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <archive.h>
#include <archive_entry.h>

namespace tessera {
namespace {

Finding trailing_data() {
  return {.code = FindingCode::kArchiveTrailingData,
          .message = "Something follows behind the end of the archive."};
}

}  // namespace

TarStream::TarStream(std::span<const std::byte> bytes, const ArchiveLimits& limits)
    : bytes_(bytes), limits_(limits), raw_(archive_read_new(), archive_read_free) {}

bool TarStream::open() {
  archive_read_support_format_raw(raw_.get());
  archive_read_support_filter_gzip(raw_.get());
  archive_read_support_filter_zstd(raw_.get());
  if (archive_read_open_memory(raw_.get(), bytes_.data(), bytes_.size()) != ARCHIVE_OK) {
    return false;
  }
  archive_entry* entry = nullptr;
  if (archive_read_next_header(raw_.get(), &entry) < ARCHIVE_WARN) return false;
  constexpr int kPlainAndOneFilter = 2;
  if (archive_filter_count(raw_.get()) <= kPlainAndOneFilter) return true;
  refuse(FindingCode::kArchiveUnreadable, "The archive is compressed more than once.");
  return false;
}

bool TarStream::feed(archive* tar) {
  return archive_read_open(tar, this, nullptr, next_block, nullptr) == ARCHIVE_OK;
}

long TarStream::next_block(archive* tar, void* self, const void** block) {
  auto* const stream = static_cast<TarStream*>(self);
  const auto bytes = stream->read_block();
  *block = bytes.data();
  if (!stream->fault_) return static_cast<long>(bytes.size());
  archive_set_error(tar, EIO, "refused");
  return ARCHIVE_FATAL;
}

// Empty at the end, and on a fault.
std::span<const std::byte> TarStream::read_block() {
  const void* block = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  int status = ARCHIVE_OK;
  do {  // an empty block is not the end
    status = archive_read_data_block(raw_.get(), &block, &size, &offset);
  } while (status == ARCHIVE_OK && size == 0);
  if (status == ARCHIVE_EOF) return {};
  if (status < ARCHIVE_WARN) {
    refuse(FindingCode::kArchiveUnreadable, "The compressed data are damaged.");
    return {};
  }
  const std::span bytes(static_cast<const std::byte*>(block), size);
  const auto last = std::ranges::find_if(bytes.rbegin(), bytes.rend(),
                                         [](std::byte byte) { return byte != std::byte{0}; });
  if (last != bytes.rend()) {
    end_of_data_ = produced_ + static_cast<std::uint64_t>(bytes.rend() - last);
  }
  produced_ += size;
  const bool is_small = produced_ <= limits_.ratio_floor_bytes;
  if (!is_small && produced_ / limits_.max_ratio > bytes_.size()) {
    refuse(FindingCode::kArchiveRatioTooHigh, "The archive expands to more than " +
                                                  std::to_string(limits_.max_ratio) +
                                                  " times its size.");
  }
  return bytes;
}

void TarStream::refuse(FindingCode code, std::string message) {
  fault_ = Finding{.code = code, .message = std::move(message)};
}

std::optional<Finding> TarStream::check_rest(std::uint64_t consumed) {
  while (!fault_ && !read_block().empty()) {
  }
  if (fault_) return fault_;
  const auto read = static_cast<std::uint64_t>(archive_filter_bytes(raw_.get(), -1));
  if (end_of_data_ > consumed || read != bytes_.size()) return trailing_data();
  return std::nullopt;
}

}  // namespace tessera

// memory_file.hpp — a staged file that was never on a disk.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "storage/staged_file.hpp"

namespace tessera {

class MemoryFile final : public StagedFile {
 public:
  explicit MemoryFile(std::string bytes)
      : bytes_(std::move(bytes)), sha256_{tessera::sha256(std::as_bytes(std::span(bytes_)))} {}

  std::uint64_t size() const override { return bytes_.size(); }
  const ContentDigest& sha256() const override { return sha256_; }
  int descriptor() const override { return -1; }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes) const override {
    return offset < bytes_.size() ? bytes_.substr(offset, bytes) : std::string();
  }
  Result<std::span<const std::byte>> map() const override {
    return std::as_bytes(std::span(bytes_));
  }
  Result<void> keep(const std::filesystem::path&) const override {
    return Error{Code::kIo, "it has no disk"};
  }

 private:
  const std::string bytes_;
  const ContentDigest sha256_;
};

inline std::shared_ptr<const StagedFile> memory_file(std::string bytes) {
  return std::make_shared<MemoryFile>(std::move(bytes));
}

}  // namespace tessera

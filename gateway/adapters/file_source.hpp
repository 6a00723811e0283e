// file_source.hpp — a staged or kept file as the body of an answer.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "gateway/http/http.hpp"
#include "storage/staged_file.hpp"

namespace tessera {

// Holds the file for as long as it is sent.
class FileSource final : public BodySource {
 public:
  explicit FileSource(std::shared_ptr<const StagedFile> file) : file_(std::move(file)) {}

  std::uint64_t size() const override { return file_->size(); }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes) const override {
    return file_->read(offset, bytes);
  }

 private:
  const std::shared_ptr<const StagedFile> file_;
};

}  // namespace tessera

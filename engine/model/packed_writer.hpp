// packed_writer.hpp — writes a packed model file section by section.
//
// Sections come in the order of sections_of(spec). The file has a temporary name until finish() has
// synced and renamed it; a writer that is destroyed before removes what it wrote.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/packed_format.hpp"
#include "storage/result.hpp"

namespace tessera::packed {

// Not thread-safe.
class Writer {
 public:
  // Errors: kIo, kStorageFull.
  static Result<std::unique_ptr<Writer>> create(const std::filesystem::path& destination,
                                                const ModelSpec& spec);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Writes the next section, which must be called `name` and be as long as the spec says.
  // Errors: kIo, kStorageFull; after one, the writer is of no more use.
  Result<void> add(std::string_view name, std::span<const std::byte> bytes);

  template <class T>
  Result<void> add(std::string_view name, std::span<const T> values) {
    return add(name, std::as_bytes(values));
  }

  // The four sections of a quantised matrix.
  Result<void> add_matrix(const std::string& name, const Nf4Buffers& matrix);

  // Writes header and prologue once all sections are there, syncs, and gives the file its name.
  Result<BaseDigest> finish(const ModelInfo& info);

  std::size_t bytes_written() const { return position_; }

 private:
  Writer(std::filesystem::path destination, const ModelSpec& spec);

  Result<void> write(std::span<const std::byte> bytes);
  Result<void> pad();
  Error write_error() const;

  std::filesystem::path destination_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  std::size_t position_ = 0;
  ModelSpec spec_;
  std::vector<Section> expected_;
  std::vector<PlacedSection> placed_;
};

}  // namespace tessera::packed

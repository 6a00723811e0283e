// packed_writer.hpp — writes a packed model file part by part; can go on where a run was cut off.
//
// Parts come in the order of planned_sections(spec). The file has another name until finish() has
// synced and renamed it. A writer with a key notes every finished part in a journal beside it
// (packed_journal.hpp): after a crash or a full disk, a writer with the same key checks the digests
// of what is there and keeps it. Without a key, or after any other failure of its owner, what was
// written is removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/packed_format.hpp"
#include "engine/model/packed_journal.hpp"
#include "kernels/weight_matrix.hpp"
#include "storage/result.hpp"

namespace tessera::packed {

struct WriterOptions {
  std::string key = {};  // of source and options: only equal ones may be continued; empty: none
  bool restart = false;  // forget what an earlier run has written
};

// Not thread-safe.
class Writer {
 public:
  // Errors: kIo, kStorageFull; kConflict if another process is writing the same file.
  static Result<std::unique_ptr<Writer>> create(const std::filesystem::path& destination,
                                                const ModelSpec& spec,
                                                const WriterOptions& options = {});
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Parts that an earlier run has finished: the caller begins with the one after them.
  std::size_t parts_done() const { return parts_done_; }

  // Writes the next part, which must be called `name` and have the spec's shape.
  // Errors: kIo, kStorageFull; after one, the writer is of no more use.
  Result<void> add_matrix(std::string_view name, const WeightMatrix& matrix);
  Result<void> add_values(std::string_view name, std::span<const float> values);

  // Writes header and prologue once all parts are there, syncs, and gives the file its name;
  // `info.quantization` is filled in. Errors: kIo, kStorageFull.
  Result<BaseDigest> finish(ModelInfo info);

  std::size_t bytes_written() const { return position_; }

 private:
  Writer(std::filesystem::path destination, const ModelSpec& spec, const WriterOptions& options);

  Result<void> open(bool restart);
  Result<void> resume();
  bool is_whole(const JournalEntry& entry, std::span<const std::byte> file) const;
  Result<void> add(const Section& section, std::span<const std::byte> bytes);
  Result<void> add_matrix_sections(const std::vector<Section>& sections,
                                   const WeightMatrix& matrix);
  Result<void> finish_part(const MatrixFormat& format, std::size_t first_section);
  Result<void> write(std::span<const std::byte> bytes);
  Result<void> pad();
  Error write_error();

  std::filesystem::path destination_;
  std::filesystem::path temporary_;
  std::string key_;
  Journal journal_;
  int descriptor_ = -1;
  bool keep_ = false;  // for the next run to go on with
  std::size_t position_ = 0;
  std::vector<PlannedTensor> parts_;
  std::size_t parts_done_ = 0;
  Header header_;
};

}  // namespace tessera::packed

// packed_journal.hpp — the note beside a half-written packed file of which parts are in it.
//
// Lines of JSON: {"key": "..."}, then one {"part", "format", "sections"} for each finished part.
// A line counts only when it is whole, and what it says only when the bytes have its digests
// (Writer checks that), so nothing here need be synced.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/packed_format.hpp"
#include "storage/result.hpp"

namespace tessera::packed {

struct JournalEntry {
  std::string part;
  MatrixFormat format;  // as it stands for vectors too: without a meaning
  std::vector<PlacedSection> sections;
};

// Not thread-safe.
class Journal {
 public:
  explicit Journal(std::filesystem::path path) : path_(std::move(path)) {}
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // The entries that a run with this key left, up to the first line that is not one.
  std::vector<JournalEntry> read(const std::string& key) const;

  // Begins anew with the key and these entries. Errors: kIo, kStorageFull.
  Result<void> start(const std::string& key, const std::vector<JournalEntry>& entries);

  // Errors: kIo, kStorageFull.
  Result<void> append(const JournalEntry& entry);

  void remove();

 private:
  Result<void> write_line(const std::string& line);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace tessera::packed

// archive_names.hpp — which files of an archive are taken, by a fixed map of names.
//
// A name is looked up and never used as a path: an archive cannot say where anything is written. A
// package lies at the top or in one folder; whatever else a training run leaves beside an adapter
// is passed over with a warning or, if it could run code or change what the adapter means, refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/finding.hpp"

namespace tessera {

enum class ArchiveFile : std::uint8_t {
  kConfig,        // adapter_config.json
  kTensors,       // adapter_model.safetensors
  kTokenizer,     // a file that can be held against the base's tokenizer
  kVocabulary,    // vocab.json and the like: of use beside a tokenizer.json only
  kChatTemplate,  // accepted if it is the base's
  kIgnored,
  kFolder,
};

// What the entries of one archive are. Used for one archive, entry by entry.
class ArchiveNames {
 public:
  struct Entry {
    ArchiveFile file;
    std::string name;  // without the folder: "tokenizer.json"
  };

  // `path` as the archive has it, all of its bytes. Errors: kArchiveBadEntry, kPickleNotAccepted,
  // kFileNotAccepted, kArchiveDuplicateEntry.
  Checked<Entry> add(std::string_view path, bool is_folder);

 private:
  std::optional<std::string> top_;  // the folder of the first entry; "": none
  std::vector<std::string> seen_;
};

// A name from an archive as it may be shown: short, without control characters.
std::string printable_name(std::string_view path);

// Whether the first bytes of a file are those of what torch.save or pickle writes.
bool is_pickle_magic(std::string_view first_bytes);

}  // namespace tessera

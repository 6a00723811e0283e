// staged_body.hpp — request bodies that go to disk as they arrive.
//
// A route that takes uploads says which parts its form has; the session (server.cpp) hands over the
// bytes as they come, a piece at a time and from a worker, because they are hashed and written
// there. Memory holds a piece and the form's short fields, never a file. A part that nobody asked
// for and a file that is too long are refused when they begin to arrive, not after gigabytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/result.hpp"
#include "storage/staged_file.hpp"

namespace tessera {

// A part that a form may have.
struct PartRule {
  enum class Kind : std::uint8_t { kField, kFile };  // in memory, or on disk

  std::string_view name;
  Kind kind = Kind::kField;
  std::uint64_t max_bytes = 0;
};

struct StagedPart {
  std::string name;
  std::string filename = {};                    // "" if none was told
  std::string content_type = {};                // media type in lower case, "" if not told
  std::string text = {};                        // of a field
  std::shared_ptr<const StagedFile> file = {};  // of a file; null for a field
};

// A body that has arrived.
struct StagedBody {
  std::vector<StagedPart> parts = {};           // of a form, in their order
  std::shared_ptr<const StagedFile> file = {};  // any other body; null for a form

  const StagedPart* part(std::string_view name) const;  // null if it is not there
};

// A body on its way to the disk; dropping it drops what has come of it. Used by one thread at a
// time.
class BodyStage {
 public:
  virtual ~BodyStage() = default;

  // Blocks while the disk does. Errors: kStorageFull, kIo, those of MultipartReader;
  // kPayloadTooLarge for a body, kRequestExceedsLimit for a part that is too long;
  // kUnknownParameter for a part without a rule. After one, only destruction.
  virtual Result<void> write(std::string_view bytes) = 0;

  // Once, at the body's end. Errors: those of write().
  virtual Result<StagedBody> finish() = 0;
};

// Of a multipart/form-data body. `rules` and `folder` outlive it; files are counted as `owner`'s.
// Errors: kUnsupportedMediaType.
Result<std::unique_ptr<BodyStage>> stage_form(std::string_view content_type,
                                              std::span<const PartRule> rules,
                                              StagingFolder& folder, std::string owner);

// Of a body that is one file of at most `max_bytes`.
std::unique_ptr<BodyStage> stage_file(std::uint64_t max_bytes, StagingFolder& folder,
                                      std::string owner);

}  // namespace tessera

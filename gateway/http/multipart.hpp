// multipart.hpp — multipart/form-data, read as it arrives.
//
// The reader keeps no more than a part's head or the length of a boundary; everything else goes on
// to its visitor at once, so a form of gigabytes needs a few kilobytes of memory. How the network
// cuts the bytes cannot matter. Every byte is accounted for: text before the first boundary, a
// missing end, a part without a name or with a name seen before is an error, not a guess (RFC 7578,
// RFC 2046).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

// What a part says of itself.
struct PartHead {
  std::string name;
  std::string filename = {};      // "" if the part is not a file
  std::string content_type = {};  // media type in lower case, "" if not told
};

// Who is told of the parts. Between begin_part() and end_part() comes the content, in pieces. An
// error ends the reading, and is what feed() returns.
class PartVisitor {
 public:
  virtual ~PartVisitor() = default;

  virtual Result<void> begin_part(PartHead head) = 0;
  virtual Result<void> part_content(std::string_view bytes) = 0;  // not empty
  virtual Result<void> end_part() = 0;
};

// One body. Owned by its request.
class MultipartReader {
 public:
  // `content_type` is the request's Content-Type value. Errors: kUnsupportedMediaType unless it is
  // multipart/form-data with a boundary.
  static Result<MultipartReader> make(std::string_view content_type);

  // Errors: kInvalidValue for a malformed body; kRequestExceedsLimit for more than
  // kMaxMultipartParts parts; the visitor's. After one, every further call fails.
  Result<void> feed(std::string_view bytes, PartVisitor& visitor);

  // Once, at the body's end. Errors: kInvalidValue if the form has none.
  Result<void> finish();

 private:
  enum class State : std::uint8_t {
    kOpening,    // before the first boundary
    kAfterDash,  // behind a boundary: its line's end, or the form's
    kHead,       // of a part
    kContent,    // of a part
    kEpilogue,   // behind the last boundary
    kFailed,
  };

  explicit MultipartReader(std::string boundary) : delimiter_("\r\n--" + std::move(boundary)) {}

  // Each reads from the front of what is held, and says whether it got anywhere.
  Result<bool> step(PartVisitor& visitor);
  Result<bool> read_opening();
  Result<bool> read_after_dash();
  Result<bool> read_head(PartVisitor& visitor);
  Result<bool> read_content(PartVisitor& visitor);
  Result<bool> read_epilogue();
  std::string_view held() const { return std::string_view(buffer_).substr(used_); }

  std::string delimiter_;
  State state_ = State::kOpening;
  std::string buffer_;    // arrived and not yet passed on, but for the first used_ bytes
  std::size_t used_ = 0;  // of buffer_
  std::vector<std::string> names_;
};

}  // namespace tessera

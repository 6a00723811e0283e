// chunked_body.hpp — takes the chunked coding off a body, a byte at a time (RFC 9112, 7.1).
//
// A state machine over single bytes, so how the network cuts the bytes cannot matter; only a
// chunk's data is taken in one go. It is as strict as the header guard, because what two programs
// read differently ends a request at two places:
//
//   chunk      1 to 16 hex digits, extensions from a `;` on, CR LF, data, CR LF
//   last one   size 0, then field lines (the trailer), then an empty line
//   trailer    `Name: value` lines without control bytes; none that speaks of framing
//
// Extensions and trailers are checked, bounded in total, and dropped: no handler sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "storage/result.hpp"

namespace tessera {

// One body. Owned by its request's parser.
class ChunkedBody {
 public:
  // Takes bytes, appends the data in them to `body`, and returns how many it used: all of them, or
  // those up to the body's end. After an error every call is refused as malformed.
  // Errors: kInvalidValue; kPayloadTooLarge for more data than the limit.
  Result<std::size_t> feed(std::string_view bytes, std::string& body);

  // Of all chunks' data together; holds for chunks that begin later.
  void set_limit(std::uint64_t bytes) { limit_ = bytes; }

  bool done() const { return state_ == State::kDone; }

 private:
  enum class State : std::uint8_t {
    kSize,       // in the digits
    kExtension,  // after them, before CR
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,  // in a field line, or at the beginning of the empty one
    kTrailerLf,
    kDone,
    kMalformed,
    kTooLarge,
  };

  State after(char c);
  State after_size(char c);
  State after_size_line() const;
  State after_trailer_line();
  bool count_dropped(char c);

  State state_ = State::kSize;
  std::uint64_t limit_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t taken_ = 0;      // data bytes of all chunks so far
  std::uint64_t size_ = 0;       // of this chunk; in its data: what is left of it
  int num_digits_ = 0;           // of this chunk's size
  std::size_t num_dropped_ = 0;  // bytes of extensions and trailers so far
  std::string line_;             // of the trailer, so far
};

}  // namespace tessera

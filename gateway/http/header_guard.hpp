// header_guard.hpp — looks at a request's raw head before any parser does.
//
// Two programs that disagree about where a request ends can be made to see different requests in
// the same bytes (request smuggling). Boost 1.81's parser lets several such heads through: any
// Transfer-Encoding but `chunked` (the body becomes the next request), Transfer-Encoding on
// HTTP/1.0, folded header lines. So the guard accepts only what cannot be read in two ways:
//
//   request line   METHOD SP /path SP HTTP/1.0|HTTP/1.1, visible ASCII
//   field line     token ":" value, no folding, no control byte except tab
//   framing        at most one Content-Length (digits), or one Transfer-Encoding of exactly
//                  `chunked` on HTTP/1.1, never both
//   Host           exactly one (HTTP/1.0: at most one)
//   line ends      CR LF only
//
// A refused head ends the connection: nobody knows where the next request would begin.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "storage/result.hpp"

namespace tessera {

// Follows the bytes of one head as they arrive. Owned by one session.
class HeaderGuard {
 public:
  explicit HeaderGuard(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // `received` is all bytes of the connection from the head's first on; it only grows between
  // calls, and what has been looked at is not looked at again. Returns the head's size with its
  // empty line, or nullopt if more bytes are needed.
  // Errors: kHeaderTooLarge beyond max_bytes; kInvalidValue for bytes that no head may hold.
  Result<std::optional<std::size_t>> find_head(std::string_view received);

 private:
  std::size_t max_bytes_;
  std::size_t seen_ = 0;
};

// Checks a whole head, its empty line included. Errors: kInvalidValue, kHeaderTooLarge (more than
// kMaxHeaderFields fields).
Result<void> check_head(std::string_view head);

}  // namespace tessera

// request_parser.hpp — one request out of bytes: its head by Beast, its body by us.
//
// Used in two steps, so that a request can be refused before its body is read: parse_head() with a
// head that the guard has passed, then feed() until done(). Beast sees only whole heads; its body
// parsers make room for whatever length a stranger announces, and its chunk parser asserts where it
// should refuse. Fields of a chunked body's trailer are dropped: what the guard has not seen, no
// handler sees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/http/chunked_body.hpp"
#include "gateway/http/http.hpp"
#include "storage/result.hpp"

namespace tessera {

// One request. Owned by its session.
class RequestParser {
 public:
  // `head` has passed check_head(). The request has no body yet. Errors: kInvalidValue.
  Result<HttpRequest> parse_head(std::string_view head);

  // How an answer to this request is framed.
  Framing framing() const { return framing_; }
  // The length that the head announced; nullopt for none or a chunked body.
  std::optional<std::uint64_t> content_length() const { return content_length_; }

  // A body beyond this is refused by feed().
  void set_body_limit(std::uint64_t bytes);

  // Takes bytes of the body and returns how many it used: all of them, or those up to the body's
  // end; what is left begins the next request. After an error, and before a head, everything is
  // malformed. Errors: kInvalidValue, kPayloadTooLarge, kServerIsOverloaded (no memory).
  Result<std::size_t> feed(std::string_view bytes);

  // Whether the request is whole. False for ever after an error.
  bool done() const;
  // What of the body is held here.
  std::string_view body() const { return body_; }
  std::size_t body_bytes() const { return body_.size(); }
  // The body, when it is done; before, as much of it as has come since the last call.
  std::string take_body();

 private:
  enum class State : std::uint8_t { kHead, kBody, kDone, kFailed };

  Result<std::size_t> take(std::string_view bytes);
  Result<std::size_t> take_counted(std::string_view bytes);

  State state_ = State::kHead;
  Framing framing_;
  std::optional<std::uint64_t> content_length_;
  std::optional<ChunkedBody> chunks_;  // none: the body is counted
  std::uint64_t body_limit_ =
      std::numeric_limits<std::uint64_t>::max();  // until the route is known
  std::uint64_t num_taken_ = 0;  // bytes of the body so far, those that were taken away too
  std::string body_;
};

}  // namespace tessera

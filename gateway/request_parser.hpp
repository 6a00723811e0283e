// request_parser.hpp — Beast's HTTP parser, fed by hand.
//
// Used in two steps, so that a request can be refused before its body is read: parse_head() with a
// head that the guard has passed, then feed() until done(). Fields of a chunked body's trailer are
// parsed and dropped: what the guard has not seen, no handler sees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/http.hpp"
#include "storage/result.hpp"

namespace tessera {

// One request. Owned by its session.
class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // `head` has passed check_head(). The request has no body yet. Errors: kInvalidValue.
  Result<HttpRequest> parse_head(std::string_view head);

  // How an answer to this request is framed.
  Framing framing() const;
  // The length that the head announced; nullopt for none or a chunked body.
  std::optional<std::uint64_t> content_length() const;

  // A body beyond this is refused by feed().
  void set_body_limit(std::uint64_t bytes);

  // Takes bytes of the body and returns how many it used; what is left begins the next request, or
  // has to be given again with more behind it. Errors: kInvalidValue, kPayloadTooLarge.
  Result<std::size_t> feed(std::string_view bytes);

  bool done() const;
  std::string take_body();

 private:
  struct Beast;
  std::unique_ptr<Beast> beast_;
};

}  // namespace tessera

// http.hpp — HTTP requests and responses as plain values.
//
// The session loop (server.cpp) makes an HttpRequest out of bytes that the header guard and the
// parser have accepted; handlers see only these values, never a socket. Header names are lower
// case. Fields of a chunked body's trailer are never merged in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

using Headers = std::vector<std::pair<std::string, std::string>>;

// The value of the first header called `name` (lower case), or "" if there is none.
std::string_view header(const Headers& headers, std::string_view name);

struct HttpRequest {
  std::string method;  // "GET", as sent
  std::string target;  // "/v1/models?limit=2", as sent
  Headers headers;
  std::string body;
};

// A body that is too long for memory: the server reads and sends it piece by piece.
class BodySource {
 public:
  virtual ~BodySource() = default;

  virtual std::uint64_t size() const = 0;
  // `bytes` from `offset` on, fewer at the end only. Called on a worker, one call at a time.
  virtual Result<std::string> read(std::uint64_t offset, std::size_t bytes) const = 0;
};

// A body whose length nobody knows yet: it is made piece by piece while it is sent.
class PieceSource {
 public:
  virtual ~PieceSource() = default;

  // The next piece, empty at the end. Called on a worker, one call at a time. After an Error the
  // connection breaks off, which tells the client that the body is not whole.
  virtual Result<std::string> next() = 0;
};

struct HttpResponse {
  int status = 200;
  Headers headers = {};
  std::string body = {};
  std::shared_ptr<const BodySource> source = {};  // then this is the body
  std::shared_ptr<PieceSource> pieces = {};       // or these are
};

// How the answer is framed: decided by the request, the same for errors and successes.
struct Framing {
  bool http_1_0 = false;  // no chunked coding: a stream ends when the connection does
  bool keep_alive = true;
  bool omit_body = false;  // HEAD
};

// The status line, all headers and the body with its Content-Length, as one flat buffer. The bytes
// of a `source` are not in it; they follow.
std::string serialize(const HttpResponse& response, const Framing& framing);
// The status line and headers of an answer whose body follows in pieces.
std::string serialize_stream_head(const HttpResponse& response, const Framing& framing);
// One piece of such a body, and its end.
std::string frame_piece(std::string_view bytes, const Framing& framing);
std::string frame_end(const Framing& framing);

std::string_view reason_phrase(int status);

// A request target taken apart: segments percent-decoded one by one, so that "%2F" stays inside
// its segment. "/v1/models/a%40b?limit=2" is {"v1", "models", "a@b"}, {{"limit", "2"}}.
struct Target {
  std::vector<std::string> segments;
  std::vector<std::pair<std::string, std::string>> query;

  std::optional<std::string_view> parameter(std::string_view name) const;
};

// Errors: kInvalidValue for a target that is not a path, or a broken escape, or one that stands
// for a control byte.
Result<Target> parse_target(std::string_view target);

// The media type of a Content-Type value: lower case, without parameters.
std::string media_type(std::string_view content_type);

// Characters, whatever the locale.
bool is_digit(char c);
bool is_alphanumeric(char c);  // ASCII's letters and digits
int hex_value(char c);         // -1 if it is no hexadecimal digit

// What names of methods and header fields are made of (RFC 9110, 5.6.2).
bool is_token(std::string_view text);

std::string to_lower(std::string_view text);
std::string_view trim(std::string_view text);  // spaces and tabs

}  // namespace tessera

#include "gateway/request_parser.hpp"

#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "gateway/config.hpp"

namespace tessera {

namespace http = boost::beast::http;

struct RequestParser::Beast {
  http::request_parser<http::string_body> parser;
};

namespace {

std::string copy(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

Error malformed() {
  return {Code::kInvalidValue, "Malformed HTTP request."};
}

// Beast makes room for the whole body as soon as its length is known, and throws if it cannot.
std::size_t put(http::request_parser<http::string_body>& parser, std::string_view bytes,
                boost::system::error_code& error) {
  try {
    return parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  } catch (const std::bad_alloc&) {
    error = http::error::body_limit;
  } catch (const std::length_error&) {
    error = http::error::body_limit;
  }
  return 0;
}

}  // namespace

RequestParser::RequestParser() : beast_(std::make_unique<Beast>()) {
  beast_->parser.header_limit(static_cast<std::uint32_t>(kMaxHeadBytes));
  beast_->parser.body_limit(std::numeric_limits<std::uint64_t>::max());  // until the route is known
}

RequestParser::~RequestParser() = default;

Result<HttpRequest> RequestParser::parse_head(std::string_view head) {
  boost::system::error_code error;
  beast_->parser.put(boost::asio::buffer(head.data(), head.size()), error);
  if (error || !beast_->parser.is_header_done()) return malformed();

  const auto& message = beast_->parser.get();
  HttpRequest request;
  request.method = copy(message.method_string());
  request.target = copy(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(to_lower(copy(field.name_string())), copy(field.value()));
  }
  beast_->parser.eager(true);
  return request;
}

Framing RequestParser::framing() const {
  return {.http_1_0 = beast_->parser.get().version() == 10,
          .keep_alive = beast_->parser.keep_alive(),
          .omit_body = beast_->parser.get().method() == http::verb::head};
}

std::optional<std::uint64_t> RequestParser::content_length() const {
  const auto length = beast_->parser.content_length();
  if (!length) return std::nullopt;
  return *length;
}

void RequestParser::set_body_limit(std::uint64_t bytes) {
  beast_->parser.body_limit(bytes);
}

Result<std::size_t> RequestParser::feed(std::string_view bytes) {
  std::size_t used = 0;
  while (!done() && used < bytes.size()) {
    boost::system::error_code error;
    const std::string_view rest = bytes.substr(used);
    const std::size_t taken = put(beast_->parser, rest, error);
    used += taken;
    if (error == http::error::need_more) break;
    if (error == http::error::body_limit) {
      return Error{Code::kPayloadTooLarge, "The request's body is larger than allowed here."};
    }
    if (error) return malformed();
    if (taken == 0) break;
  }
  return used;
}

bool RequestParser::done() const {
  return beast_->parser.is_done();
}

std::string RequestParser::take_body() {
  return std::move(beast_->parser.get().body());
}

}  // namespace tessera

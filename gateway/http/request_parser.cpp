#include "gateway/http/request_parser.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "gateway/config.hpp"

namespace tessera {
namespace {

namespace http = boost::beast::http;

std::string copy(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

Error malformed() {
  return {Code::kInvalidValue, "Malformed HTTP request."};
}

}  // namespace

Result<HttpRequest> RequestParser::parse_head(std::string_view head) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(kMaxHeadBytes));
  parser.body_limit(std::numeric_limits<std::uint64_t>::max());  // ours to decide
  boost::system::error_code error;
  parser.put(boost::asio::buffer(head.data(), head.size()), error);
  state_ = State::kFailed;
  if (error || !parser.is_header_done()) return malformed();

  const auto& message = parser.get();
  framing_ = {.http_1_0 = message.version() == 10,
              .keep_alive = parser.keep_alive(),
              .omit_body = message.method() == http::verb::head};
  if (parser.content_length()) content_length_ = *parser.content_length();
  if (parser.chunked()) chunks_.emplace();
  state_ = chunks_ || content_length_.value_or(0) > 0 ? State::kBody : State::kDone;

  HttpRequest request;
  request.method = copy(message.method_string());
  request.target = copy(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(to_lower(copy(field.name_string())), copy(field.value()));
  }
  return request;
}

void RequestParser::set_body_limit(std::uint64_t bytes) {
  body_limit_ = bytes;
  if (chunks_) chunks_->set_limit(bytes);
}

Result<std::size_t> RequestParser::feed(std::string_view bytes) {
  if (state_ == State::kDone) return std::size_t{0};
  if (state_ != State::kBody) return malformed();
  auto used = take(bytes);
  if (!used) state_ = State::kFailed;
  return used;
}

Result<std::size_t> RequestParser::take(std::string_view bytes) {
  try {
    if (!chunks_) return take_counted(bytes);
    const std::size_t before = body_.size();
    auto used = chunks_->feed(bytes, body_);
    num_taken_ += body_.size() - before;
    if (chunks_->done()) state_ = State::kDone;
    return used;
  } catch (const std::bad_alloc&) {
    return Error{Code::kServerIsOverloaded, "The server has no memory for this request."};
  }
}

Result<std::size_t> RequestParser::take_counted(std::string_view bytes) {
  if (*content_length_ > body_limit_) {
    return Error{Code::kPayloadTooLarge, "The request's body is larger than allowed here."};
  }
  const std::uint64_t missing = *content_length_ - num_taken_;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(missing, bytes.size()));
  body_.append(bytes.substr(0, count));
  num_taken_ += count;
  if (count == missing) state_ = State::kDone;
  return count;
}

bool RequestParser::done() const {
  return state_ == State::kDone;
}

std::string RequestParser::take_body() {
  return std::exchange(body_, {});
}

}  // namespace tessera

#include "gateway/http/header_guard.hpp"

#include <algorithm>
#include <string>

#include "gateway/config.hpp"
#include "gateway/http/http.hpp"

namespace tessera {
namespace {

Error refused(std::string_view why) {
  return {Code::kInvalidValue, "Malformed HTTP request: " + std::string(why) + "."};
}

bool is_visible_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; });
}

// Names, IPv4 and bracketed IPv6 addresses, with or without a port.
bool is_host(std::string_view text) {
  constexpr std::string_view kMarks = ".-_:[]";
  return std::ranges::all_of(
      text, [&](char c) { return is_alphanumeric(c) || kMarks.find(c) != std::string_view::npos; });
}

// Up to 19 digits: they fit 64 bits, whatever they are, and no limit of ours is near.
bool is_length(std::string_view text) {
  return !text.empty() && text.size() <= 19 && std::ranges::all_of(text, is_digit);
}

// What decides where a request ends, collected over the field lines.
struct FramingFields {
  int hosts = 0;
  int lengths = 0;
  int codings = 0;
};

Result<void> check_request_line(std::string_view line, bool& http_1_0) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return refused("the request line is not `METHOD /path HTTP/1.1`");
  }
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(line.substr(0, first))) return refused("the method is not a token");
  if (!target.starts_with('/') || !is_visible_ascii(target)) {
    return refused("the target is not a path");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refused("unknown HTTP version");
  http_1_0 = version == "HTTP/1.0";
  return {};
}

Result<void> check_field(std::string_view line, FramingFields& seen) {
  if (line.front() == ' ' || line.front() == '\t') return refused("a folded header line");
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return refused("a header line is not `Name: value`");
  }
  const std::string name = to_lower(line.substr(0, colon));
  const std::string_view value = trim(line.substr(colon + 1));
  if (name == "host") {
    ++seen.hosts;
    if (!is_host(value)) return refused("Host is not a host name");
  } else if (name == "content-length") {
    ++seen.lengths;
    if (!is_length(value)) return refused("Content-Length is not a number");
  } else if (name == "transfer-encoding") {
    ++seen.codings;
    if (value != "chunked") return refused("Transfer-Encoding is not `chunked`");
  }
  return {};
}

Result<void> check_framing(const FramingFields& seen, bool http_1_0) {
  if (seen.hosts > 1 || (seen.hosts == 0 && !http_1_0)) return refused("not exactly one Host");
  if (seen.lengths > 1) return refused("more than one Content-Length");
  if (seen.codings > 1) return refused("more than one Transfer-Encoding");
  if (seen.codings > 0 && seen.lengths > 0) {
    return refused("both Content-Length and Transfer-Encoding");
  }
  if (seen.codings > 0 && http_1_0) return refused("Transfer-Encoding on HTTP/1.0");
  return {};
}

}  // namespace

Result<std::optional<std::size_t>> HeaderGuard::find_head(std::string_view received) {
  for (; seen_ < received.size(); ++seen_) {
    if (seen_ >= max_bytes_) {
      return Error{Code::kHeaderTooLarge,
                   "The request's header is larger than " + std::to_string(max_bytes_) + " bytes."};
    }
    const char c = received[seen_];
    const char previous = seen_ > 0 ? received[seen_ - 1] : '\0';
    if (previous == '\r' && c != '\n') return refused("a bare carriage return");
    if (c == '\n' && previous != '\r') return refused("a bare line feed");
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    if (control && c != '\r' && c != '\n' && c != '\t') return refused("a control byte");
    if (c == '\n' && received.substr(0, seen_ + 1).ends_with("\r\n\r\n")) return ++seen_;
  }
  return std::nullopt;
}

Result<void> check_head(std::string_view head) {
  bool http_1_0 = false;
  FramingFields seen;
  for (int line_index = 0;; ++line_index) {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    if (line_index > 0 && line.empty()) break;
    if (line_index > kMaxHeaderFields) {
      return Error{Code::kHeaderTooLarge, "The request has too many header fields."};
    }
    const auto checked =
        line_index == 0 ? check_request_line(line, http_1_0) : check_field(line, seen);
    if (!checked) return checked.error();
    if (end == std::string_view::npos) return refused("the head has no end");
    head.remove_prefix(end + 2);
  }
  return check_framing(seen, http_1_0);
}

}  // namespace tessera

#include "gateway/http/http.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace tessera {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void append_head(std::string& out, const HttpResponse& response) {
  out += "HTTP/1.1 ";
  out += std::to_string(response.status);
  out += ' ';
  out += reason_phrase(response.status);
  out += "\r\n";
  for (const auto& [name, value] : response.headers) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
}

void append_connection(std::string& out, const Framing& framing) {
  if (!framing.keep_alive) {
    out += "Connection: close\r\n";
  } else if (framing.http_1_0) {
    out += "Connection: keep-alive\r\n";
  }
}

// Percent-decoded `text`, or nullopt for a broken escape or one that stands for a control byte.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus_is_space) c = ' ';
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return std::nullopt;
    out += c;
  }
  return out;
}

// Calls `visit` with each part of `text` between `separator`s, until it returns false.
template <class Visit>
bool for_each_part(std::string_view text, char separator, Visit visit) {
  for (;;) {
    const std::size_t end = text.find(separator);
    if (!visit(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string_view header(const Headers& headers, std::string_view name) {
  const auto found = std::ranges::find(headers, name, &Headers::value_type::first);
  return found == headers.end() ? std::string_view() : found->second;
}

std::string serialize(const HttpResponse& response, const Framing& framing) {
  std::string out;
  out.reserve(512 + response.body.size());
  append_head(out, response);
  const std::uint64_t size = response.source ? response.source->size() : response.body.size();
  out += "Content-Length: " + std::to_string(size) + "\r\n";
  append_connection(out, framing);
  out += "\r\n";
  if (!framing.omit_body) out += response.body;
  return out;
}

std::string serialize_stream_head(const HttpResponse& response, const Framing& framing) {
  std::string out;
  append_head(out, response);
  if (!framing.http_1_0) out += "Transfer-Encoding: chunked\r\n";
  append_connection(out, framing);
  out += "\r\n";
  return out;
}

std::string frame_piece(std::string_view bytes, const Framing& framing) {
  if (framing.http_1_0) return std::string(bytes);
  if (bytes.empty()) return {};  // a chunk of size 0 would be the end
  std::array<char, 16> size{};
  const auto end = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16).ptr;
  std::string out(size.data(), end);
  out += "\r\n";
  out += bytes;
  out += "\r\n";
  return out;
}

std::string frame_end(const Framing& framing) {
  return framing.http_1_0 ? "" : "0\r\n\r\n";
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

std::optional<std::string_view> Target::parameter(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

Result<Target> parse_target(std::string_view target) {
  const Error malformed{Code::kInvalidValue, "The request target is not a well-formed path."};
  if (!target.starts_with('/') || target.find('#') != std::string_view::npos) return malformed;

  Target out;
  const std::size_t question = target.find('?');
  const auto add_segment = [&](std::string_view text) {
    auto segment = percent_decode(text, /*plus_is_space=*/false);
    if (segment) out.segments.push_back(*std::move(segment));
    return segment.has_value();
  };
  const auto add_parameter = [&](std::string_view text) {
    if (text.empty()) return true;
    const std::size_t equals = text.find('=');
    const auto value = equals == std::string_view::npos ? "" : text.substr(equals + 1);
    auto key = percent_decode(text.substr(0, equals), /*plus_is_space=*/true);
    auto decoded = percent_decode(value, /*plus_is_space=*/true);
    if (key && decoded) out.query.emplace_back(*std::move(key), *std::move(decoded));
    return key && decoded;
  };
  if (!for_each_part(target.substr(1, question - 1), '/', add_segment)) return malformed;
  if (question != std::string_view::npos &&
      !for_each_part(target.substr(question + 1), '&', add_parameter)) {
    return malformed;
  }
  return out;
}

std::string media_type(std::string_view content_type) {
  return to_lower(trim(content_type.substr(0, content_type.find(';'))));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_alphanumeric(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return is_alphanumeric(c) || kMarks.find(c) != std::string_view::npos;
  });
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace tessera

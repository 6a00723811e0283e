#include "engine/guided/schema_uri.hpp"

#include <charconv>

namespace tessera::guided {
namespace {

// Section 3: scheme ":" ["//" authority] path ["?" query]. Views with their delimiters left on.
struct Uri {
  std::string_view scheme;     // with ':'
  std::string_view authority;  // with '//'
  std::string_view path;
  std::string_view query;  // with '?'
};

bool is_scheme(std::string_view text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr std::string_view kOthers =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.";
  return !text.empty() && kLetters.find(text[0]) != std::string_view::npos &&
         text.find_first_not_of(kOthers) == std::string_view::npos;
}

std::string_view cut(std::string_view& text, std::size_t at) {
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(head.size());
  return head;
}

Uri parse(std::string_view text) {
  Uri uri;
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && is_scheme(text.substr(0, colon))) {
    uri.scheme = cut(text, colon + 1);
  }
  if (text.starts_with("//")) {
    const std::size_t end = text.find_first_of("/?", 2);
    uri.authority = cut(text, end);
  }
  uri.path = cut(text, text.find('?'));
  uri.query = text;
  return uri;
}

// Section 5.2.4.
std::string remove_dots(std::string_view path) {
  if (path.find('.') == std::string_view::npos) return std::string(path);
  const bool rooted = path.starts_with('/');
  if (rooted) path.remove_prefix(1);
  std::string out;  // each segment with the '/' before it
  bool ends_in_slash = false;
  for (bool more = true; more;) {
    const std::string_view segment = cut(path, path.find('/'));
    more = !path.empty();
    if (more) path.remove_prefix(1);
    ends_in_slash = segment == "." || segment == "..";
    if (segment == ".." && !out.empty()) out.erase(out.rfind('/'));
    if (!ends_in_slash) out.append("/").append(segment);
  }
  if (ends_in_slash) out.push_back('/');
  return rooted || out.empty() ? out : out.substr(1);
}

std::string merge(const Uri& base, std::string_view path) {
  if (!base.authority.empty() && base.path.empty()) return "/" + std::string(path);
  const std::size_t slash = base.path.rfind('/');
  if (slash == std::string_view::npos) return std::string(path);
  return std::string(base.path.substr(0, slash + 1)).append(path);
}

}  // namespace

SplitUri split_fragment(std::string_view reference) {
  const std::size_t hash = reference.find('#');
  if (hash == std::string_view::npos) return {.uri = reference, .fragment = {}};
  return {.uri = reference.substr(0, hash),
          .fragment = reference.substr(hash + 1),
          .has_fragment = true};
}

std::string resolve_uri(std::string_view base_text, std::string_view reference_text) {
  if (reference_text.empty()) return std::string(base_text);
  const Uri reference = parse(reference_text);
  if (!reference.scheme.empty() && reference.authority.empty() &&
      !reference.path.starts_with('/')) {
    return std::string(reference_text);  // urn:..., tag:...: nothing to resolve
  }
  const Uri base = parse(base_text);
  std::string out(reference.scheme.empty() ? base.scheme : reference.scheme);
  if (!reference.scheme.empty() || !reference.authority.empty()) {
    return out.append(reference.authority)
        .append(remove_dots(reference.path))
        .append(reference.query);
  }
  out += base.authority;
  if (reference.path.empty()) {
    return out.append(base.path).append(reference.query.empty() ? base.query : reference.query);
  }
  const bool rooted = reference.path.starts_with('/');
  out += remove_dots(rooted ? std::string(reference.path) : merge(base, reference.path));
  return out.append(reference.query);
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2) return std::nullopt;
    out.push_back(static_cast<char>(value));
    i += 2;
  }
  return out;
}

}  // namespace tessera::guided

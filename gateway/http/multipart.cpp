#include "gateway/http/multipart.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "gateway/config.hpp"
#include "gateway/http/http.hpp"

namespace tessera {
namespace {

Error malformed(std::string_view why) {
  return {Code::kInvalidValue, "Malformed multipart body: " + std::string(why) + "."};
}

// The parameters of a header value such as `form-data; name="a"; filename="b"`. A quoted string
// may escape a quote or a backslash with a backslash. nullopt if it is not of that form.
std::optional<Headers> parse_parameters(std::string_view value) {
  Headers parameters;
  for (std::size_t at = value.find(';'); at < value.size();) {
    const std::size_t equals = value.find('=', at);
    if (equals == std::string_view::npos) return std::nullopt;
    std::string name = to_lower(trim(value.substr(at + 1, equals - at - 1)));
    std::string text;
    at = equals + 1;
    if (at < value.size() && value[at] == '"') {
      for (++at; at < value.size() && value[at] != '"'; ++at) {
        if (value[at] == '\\' && at + 1 < value.size()) ++at;
        text += value[at];
      }
      if (at++ >= value.size()) return std::nullopt;  // no closing quote
      at = std::min(value.find_first_not_of(" \t", at), value.size());
      if (at < value.size() && value[at] != ';') return std::nullopt;
    } else {
      const std::size_t end = std::min(value.find(';', at), value.size());
      text = trim(value.substr(at, end - at));
      at = end;
    }
    parameters.emplace_back(std::move(name), std::move(text));
  }
  return parameters;
}

Result<std::string> boundary_of(std::string_view content_type) {
  const Error wrong{Code::kUnsupportedMediaType,
                    "Content-Type must be multipart/form-data with a boundary."};
  if (media_type(content_type) != "multipart/form-data") return wrong;
  const auto parameters = parse_parameters(content_type);
  if (!parameters) return wrong;
  const std::string_view boundary = header(*parameters, "boundary");
  if (boundary.empty() || boundary.size() > kMaxBoundaryChars) return wrong;
  return std::string(boundary);
}

// Reads a part's head, its empty line excluded.
Result<FormPart> parse_part_head(std::string_view head) {
  FormPart part;
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 2, head.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return malformed("a part's header line has no colon");
    const std::string name = to_lower(trim(line.substr(0, colon)));
    const std::string_view value = trim(line.substr(colon + 1));
    if (name == "content-type") part.content_type = media_type(value);
    if (name != "content-disposition") continue;
    const auto parameters = parse_parameters(value);
    if (!parameters || media_type(value) != "form-data") {
      return malformed("a part's Content-Disposition is not form-data");
    }
    part.name = header(*parameters, "name");
    part.filename = header(*parameters, "filename");
  }
  if (part.name.empty()) return malformed("a part has no name");
  return part;
}

}  // namespace

Result<std::vector<FormPart>> parse_multipart(std::string_view content_type,
                                              std::string_view body) {
  const auto boundary = boundary_of(content_type);
  if (!boundary) return boundary.error();
  const std::string delimiter = "\r\n--" + *boundary;

  std::vector<FormPart> parts;
  if (!body.starts_with(std::string_view(delimiter).substr(2))) {
    return malformed("it does not begin with its boundary");
  }
  body.remove_prefix(delimiter.size() - 2);
  while (!body.starts_with("--")) {
    if (!body.starts_with("\r\n")) return malformed("a boundary is not the end of its line");
    if (parts.size() == static_cast<std::size_t>(kMaxMultipartParts)) {
      return Error{Code::kRequestExceedsLimit, "The multipart body has too many parts."};
    }
    body.remove_prefix(2);
    const std::size_t head_end = body.substr(0, kMaxPartHeadBytes).find("\r\n\r\n");
    if (head_end == std::string_view::npos) return malformed("a part's header has no end");
    auto part = parse_part_head(body.substr(0, head_end));
    if (!part) return part.error();
    if (std::ranges::find(parts, part->name, &FormPart::name) != parts.end()) {
      return malformed("the part `" + part->name + "` comes twice");
    }
    body.remove_prefix(head_end + 4);
    const std::size_t end = body.find(delimiter);
    if (end == std::string_view::npos) return malformed("a part has no closing boundary");
    part->content = body.substr(0, end);
    parts.push_back(*std::move(part));
    body.remove_prefix(end + delimiter.size());
  }
  body.remove_prefix(2);
  if (!body.empty() && body != "\r\n") return malformed("bytes follow the last boundary");
  return parts;
}

}  // namespace tessera

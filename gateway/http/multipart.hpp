// multipart.hpp — multipart/form-data, read in place.
//
// The body is already in memory and bounded by the route's limit; the parser copies nothing: parts
// are views into it. Every byte is accounted for: text before the first boundary, a missing end, a
// part without a name or with a name seen before is an error, not a guess (RFC 7578, RFC 2046).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

struct FormPart {
  std::string name;
  std::string filename;      // "" if the part is not a file
  std::string content_type;  // media type in lower case, "" if not told
  std::string_view content;  // into the body
};

// `content_type` is the request's Content-Type value. Errors: kUnsupportedMediaType unless it is
// multipart/form-data with a boundary; kInvalidValue for a malformed body; kRequestExceedsLimit for
// more than kMaxMultipartParts parts.
Result<std::vector<FormPart>> parse_multipart(std::string_view content_type, std::string_view body);

}  // namespace tessera

// schema_uri.hpp — as much of RFC 3986 as references between schemas need.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tessera::guided {

struct SplitUri {
  std::string_view uri;       // without its fragment
  std::string_view fragment;  // without '#'
  bool has_fragment = false;
};

SplitUri split_fragment(std::string_view reference);

// Section 5.2: `reference` (no fragment) seen from `base` (no fragment; may be relative or empty,
// then the result is as relative).
std::string resolve_uri(std::string_view base, std::string_view reference);

// %XX decoded; nullopt where a '%' is followed by no two hexadecimal digits.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace tessera::guided

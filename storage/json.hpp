// json.hpp — JSON from strangers, read strictly and within bounds.
//
// nlohmann's parser has no depth limit (and dumping what it then built overflows the stack), lets
// the last of two equal keys win, and compares every new key of an ordered object with all before
// it. This wrapper refuses depth and duplicates, and takes time linear in the text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "storage/result.hpp"

namespace tessera {

struct JsonLimits {
  std::size_t max_bytes = std::size_t{4} << 20;  // of text
  int max_depth = 64;                            // of nested arrays and objects
  std::size_t max_values = 1'000'000;            // of any kind; bounds the memory of the tree
};

// The one JSON value that `text` is, objects in the order of their members.
// Errors: kPayloadTooLarge if it is longer than max_bytes; kDuplicateKey (param names the key) if
// an object has a key twice; kInvalidJson for anything else: too deep, too many values, syntax,
// bytes after the value, invalid UTF-8, a number out of range. The message names the byte.
Result<nlohmann::ordered_json> parse_json(std::string_view text, const JsonLimits& limits = {});

// Whether a text that begins like this opens more arrays and objects inside of each other than
// `max_depth`, whatever follows. Of a text that is no JSON the answer may be either.
bool nests_deeper(std::string_view beginning, int max_depth);

// `value` as compact text. Invalid UTF-8 in strings becomes U+FFFD; never throws.
std::string to_text(const nlohmann::ordered_json& value);

}  // namespace tessera

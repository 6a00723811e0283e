// partial_document.hpp — what of a JSON text has been read when it breaks off: a reader for the
// brute-force recogniser. Compact texts only; a duplicate name is an error, as is a lone surrogate.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/engine/guided/plain_validator.hpp"

namespace tessera::guided {

using CodePoints = std::u32string;
using CodePointRange = std::pair<char32_t, char32_t>;  // both ends included

struct PartialString {
  CodePoints text;                      // of the characters that are whole
  std::vector<CodePointRange> pending;  // what the half-read one may still become; empty: none is
};

// The innermost value that is not whole yet lies in `child`s.
struct Partial {
  enum class Kind {
    kNothing,  // not one byte of the value
    kWhole,    // `value`; a number that is whole but may go on is kNumber
    kWord,     // the beginning of `text` true, false or null
    kNumber,   // `text`
    kString,   // `string`
    kArray,    // `items`, and `place`
    kObject,   // `names`, `items`, and `place`
  };
  enum class Place {
    kFirst,  // after the opening bracket
    kAfter,  // after an item or member: comma or the closing bracket
    kNext,   // after a comma
    kName,   // within a name, `string`
    kColon,  // after the last of `names`, before the colon
    kChild,  // within an item or a member's value, `child`
  };

  Kind kind = Kind::kNothing;
  Place place = Place::kFirst;
  Value value;
  std::string text;
  PartialString string;
  std::vector<std::string> names;  // one more than `items` at kColon and, in an object, at kChild
  std::vector<Value> items;
  std::unique_ptr<Partial> child;
};

// nullopt if no JSON document begins so.
std::optional<Partial> read_partial(std::string_view text);

std::string to_utf8(const CodePoints& text);
CodePoints from_utf8(const std::string& text);

}  // namespace tessera::guided

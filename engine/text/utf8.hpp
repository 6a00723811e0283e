// utf8.hpp — UTF-8 as the text stages need it: repaired, counted, read code point by code point.
//
// Repair follows the Unicode standard's "maximal subpart" practice (section 3.9), which is also
// what Python's errors="replace" and Rust's from_utf8_lossy do: each longest prefix of a code point
// that cannot be continued becomes one U+FFFD.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tessera {

inline constexpr char32_t kReplacement = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

// A code point at the start of some bytes.
struct Utf8Step {
  enum class Kind : unsigned char { kValid, kInvalid, kUnfinished };
  Kind kind;
  std::size_t bytes;    // how many bytes it covers, >= 1
  char32_t code_point;  // kReplacement unless kValid
};

// Reads the first code point of `bytes`, which must not be empty. kUnfinished: the bytes up to the
// end are the beginning of a code point that more bytes could complete.
Utf8Step utf8_step(std::string_view bytes);

// True if all of `text` is well-formed UTF-8.
bool is_utf8(std::string_view text);

// `text` with each invalid sequence (an unfinished one at the end too) replaced by U+FFFD.
std::string repair_utf8(std::string_view text);

// Where the last code point of `text` begins, which is valid UTF-8 and not empty.
std::size_t last_code_point(std::string_view text);

void append_utf8(std::string& out, char32_t code_point);

// Repairs a stream that arrives in arbitrary pieces. Not thread-safe.
class Utf8Repairer {
 public:
  // The whole code points that `bytes` completes; an unfinished one is kept for the next call.
  std::string push(std::string_view bytes);

  // U+FFFD if an unfinished code point was kept, else nothing. Then as new.
  std::string flush();

 private:
  std::string pending_;  // at most 3 bytes: the beginning of a code point
};

}  // namespace tessera

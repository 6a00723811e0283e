// python_text.hpp — Python's operations on str, over UTF-8.
//
// Positions and lengths count code points, as Python's do. Case mapping is Unicode's full mapping.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::jinja {

// The code points of `text`, each as its bytes.
std::vector<std::string_view> characters(std::string_view text);

bool is_space(char32_t code_point);  // str.isspace
bool is_printable(char32_t code_point);

enum class Sides : unsigned char { kLeft, kRight, kBoth };

// str.strip and its two halves: white space, or the characters of `chars`.
std::string_view strip(std::string_view text, std::optional<std::string_view> chars,
                       Sides sides = Sides::kBoth);

// str.split and str.rsplit: at `separator`, or at runs of white space; at most `max_splits` (< 0:
// no limit) from the left or the right. The separator must not be empty.
std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator,
                               long max_splits, bool from_right = false);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends = false);

std::string replace(std::string_view text, std::string_view old, std::string_view with, long count);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);

// `text` with &, <, >, ' and " as HTML entities, as markupsafe writes them.
std::string escape_html(std::string_view text);

// str.isdigit and the like: not empty, and all characters are so.
enum class CharClass : unsigned char { kDigit, kNumeric, kAlpha, kAlnum, kSpace };
bool all_are(std::string_view text, CharClass char_class);

// str.isupper, str.islower: some character has case, and all that have are of that case.
bool is_upper(std::string_view text);
bool is_lower(std::string_view text);

}  // namespace tessera::jinja

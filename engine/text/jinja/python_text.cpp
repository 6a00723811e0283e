#include "engine/text/jinja/python_text.hpp"

#include <algorithm>
#include <utility>

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "engine/text/utf8.hpp"

namespace tessera::jinja {
namespace {

char32_t code_point_of(std::string_view character) {
  return utf8_step(character).code_point;
}

icu::UnicodeString to_icu(std::string_view text) {
  return icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())));
}

std::string from_icu(const icu::UnicodeString& text) {
  std::string out;
  return text.toUTF8String(out);
}

UChar32 as_icu(char32_t code_point) {
  return static_cast<UChar32>(code_point);
}

bool has_case(char32_t c) {
  return u_hasBinaryProperty(as_icu(c), UCHAR_CASED) != 0;
}

struct Range {
  std::size_t begin;
  std::size_t end;
};

// The runs of characters that are not white space.
std::vector<Range> words_of(std::string_view text) {
  std::vector<Range> words;
  bool in_word = false;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text.substr(at));
    const bool space = is_space(step.code_point);
    if (!space && !in_word) words.push_back({at, at});
    at += step.bytes;
    if (!space) words.back().end = at;
    in_word = !space;
  }
  return words;
}

// When the splits are used up, the rest is one part, with the white space on its far side.
std::vector<std::string> split_at_space(std::string_view text, long max_splits, bool from_right) {
  const std::vector<Range> words = words_of(text);
  const std::size_t all = words.size();
  const std::size_t splits =
      max_splits < 0 ? all : std::min(all, static_cast<std::size_t>(max_splits));
  std::vector<std::string> parts;
  if (from_right && splits < all) parts.emplace_back(text.substr(0, words[all - splits - 1].end));
  for (std::size_t i = 0; i < splits; ++i) {
    const Range word = words[from_right ? all - splits + i : i];
    parts.emplace_back(text.substr(word.begin, word.end - word.begin));
  }
  if (!from_right && splits < all) parts.emplace_back(text.substr(words[splits].begin));
  return parts;
}

bool is_line_end(char32_t c) {
  return c == '\n' || c == '\v' || c == '\f' || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
         c == 0x2028 || c == 0x2029;
}

bool is_in_class(char32_t c, CharClass char_class) {
  const int type = u_charType(as_icu(c));
  const bool decimal = type == U_DECIMAL_DIGIT_NUMBER;
  const bool numeric = u_getNumericValue(as_icu(c)) != U_NO_NUMERIC_VALUE;
  const int numeric_type = u_getIntPropertyValue(as_icu(c), UCHAR_NUMERIC_TYPE);
  switch (char_class) {
    case CharClass::kDigit:
      return decimal || numeric_type == U_NT_DIGIT;
    case CharClass::kNumeric:
      return numeric;
    case CharClass::kAlpha:
      return u_isalpha(as_icu(c)) != 0;
    case CharClass::kAlnum:
      return u_isalpha(as_icu(c)) != 0 || numeric;
    case CharClass::kSpace:
      return is_space(c);
  }
  return false;
}

bool all_cased_are(std::string_view text, bool want_upper) {
  bool any = false;
  for (const std::string_view character : characters(text)) {
    const char32_t c = code_point_of(character);
    if (!has_case(c)) continue;
    const bool fits = (want_upper ? u_isUUppercase(as_icu(c)) : u_isULowercase(as_icu(c))) != 0;
    if (!fits) return false;
    any = true;
  }
  return any;
}

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t bytes = utf8_step(text).bytes;
    out.push_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return out;
}

bool is_space(char32_t code_point) {
  return u_isUWhiteSpace(as_icu(code_point)) || (code_point >= 0x1C && code_point <= 0x1F);
}

bool is_printable(char32_t code_point) {
  constexpr std::uint32_t kHidden = U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CS_MASK | U_GC_CO_MASK |
                                    U_GC_CN_MASK | U_GC_ZL_MASK | U_GC_ZP_MASK | U_GC_ZS_MASK;
  return code_point == ' ' || (U_GET_GC_MASK(as_icu(code_point)) & kHidden) == 0;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> chars, Sides sides) {
  const std::vector<std::string_view> set =
      chars ? characters(*chars) : std::vector<std::string_view>();
  const auto goes = [&](std::string_view character) {
    if (!chars) return is_space(code_point_of(character));
    return std::find(set.begin(), set.end(), character) != set.end();
  };
  while (sides != Sides::kRight && !text.empty()) {
    const std::size_t bytes = utf8_step(text).bytes;
    if (!goes(text.substr(0, bytes))) break;
    text.remove_prefix(bytes);
  }
  while (sides != Sides::kLeft && !text.empty()) {
    std::size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xC0U) == 0x80U) --last;
    if (!goes(text.substr(last))) break;
    text = text.substr(0, last);
  }
  return text;
}

std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator,
                               long max_splits, bool from_right) {
  if (!separator) return split_at_space(text, max_splits, from_right);
  std::vector<std::string> parts;
  while (max_splits < 0 || static_cast<long>(parts.size()) < max_splits) {
    const std::size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == std::string_view::npos) break;
    const std::size_t after = at + separator->size();
    parts.emplace_back(from_right ? text.substr(after) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(after);
  }
  parts.emplace_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  std::string line;
  while (!text.empty()) {
    std::size_t bytes = utf8_step(text).bytes;
    const bool carriage_return = text.front() == '\r';
    if (carriage_return && text.substr(1).starts_with('\n')) bytes = 2;
    const bool ends = carriage_return || is_line_end(code_point_of(text));
    if (!ends || keep_ends) line += text.substr(0, bytes);
    text.remove_prefix(bytes);
    if (ends) lines.push_back(std::exchange(line, {}));
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

std::string replace(std::string_view text, std::string_view old, std::string_view with,
                    long count) {
  std::string out;
  while (count != 0) {
    const std::size_t at = text.find(old);
    if (at == std::string_view::npos || (old.empty() && text.empty())) break;
    // An empty `old` is found before every character.
    const std::size_t taken = old.empty() ? utf8_step(text).bytes : at + old.size();
    if (old.empty()) {
      out.append(with).append(text.substr(0, taken));
    } else {
      out.append(text.substr(0, at)).append(with);
    }
    text.remove_prefix(taken);
    --count;
  }
  if (old.empty() && count != 0) out.append(with);
  return out.append(text);
}

std::string upper(std::string_view text) {
  return from_icu(to_icu(text).toUpper(icu::Locale::getRoot()));
}

std::string lower(std::string_view text) {
  return from_icu(to_icu(text).toLower(icu::Locale::getRoot()));
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const std::size_t bytes = utf8_step(text).bytes;
  std::string out;
  append_utf8(out, static_cast<char32_t>(u_totitle(as_icu(code_point_of(text)))));
  return out + lower(text.substr(bytes));
}

std::string title(std::string_view text) {
  std::string out;
  bool after_cased = false;
  for (const std::string_view character : characters(text)) {
    const char32_t c = code_point_of(character);
    append_utf8(out,
                static_cast<char32_t>(after_cased ? u_tolower(as_icu(c)) : u_totitle(as_icu(c))));
    after_cased = has_case(c);
  }
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

bool all_are(std::string_view text, CharClass char_class) {
  const std::vector<std::string_view> all = characters(text);
  return !all.empty() && std::all_of(all.begin(), all.end(), [&](std::string_view character) {
    return is_in_class(code_point_of(character), char_class);
  });
}

bool is_upper(std::string_view text) {
  return all_cased_are(text, true);
}
bool is_lower(std::string_view text) {
  return all_cased_are(text, false);
}

}  // namespace tessera::jinja

#include "engine/text/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <pcre2.h>

namespace tessera {
namespace {

// Unicode White_Space, as the inside of a character class.
constexpr std::string_view kWhiteSpace = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a})"
                                         R"(\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// A word character as Oniguruma has it, in the same form: of the numbers that are not decimal
// digits, those of Latin-1 alone.
constexpr std::string_view kWord =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

// As Oniguruma's Ruby syntax: Unicode classes, and ^ and $ at every line.
constexpr std::uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;

// What \s and \w stand for, as the inside of a character class, and null for other escapes. (\S and
// \W inside a class would need a nested class, which PCRE2 has not; there they keep its meaning.)
std::optional<std::string_view> class_of(char escaped) {
  if (escaped == 's' || escaped == 'S') return kWhiteSpace;
  if (escaped == 'w' || escaped == 'W') return kWord;
  return std::nullopt;
}

// `pattern` with those classes spelled out.
std::string spell_out_classes(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      out.push_back(c);
      continue;
    }
    const char escaped = pattern[++i];
    const auto inside = class_of(escaped);
    const bool negated = escaped == 'S' || escaped == 'W';
    if (!inside || (in_class && negated)) {
      out.append({c, escaped});
    } else if (in_class) {
      out.append(*inside);
    } else {
      out.append(negated ? "[^" : "[").append(*inside).append("]");
    }
  }
  return out;
}

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatchData>;

PCRE2_SPTR as_subject(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());  // NOLINT: bytes to PCRE2's bytes
}

// The next match at or after `start`; the JIT's stack is small, so a text that exhausts it is given
// to the interpreter, which uses the heap.
bool find(const pcre2_code* code, std::string_view text, std::size_t start,
          pcre2_match_data* data) {
  int rc = pcre2_jit_match(code, as_subject(text), text.size(), start, PCRE2_NO_UTF_CHECK, data,
                           nullptr);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT || rc == PCRE2_ERROR_JIT_BADOPTION) {
    rc = pcre2_match(code, as_subject(text), text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                     data, nullptr);
  }
  return rc >= 0;
}

std::size_t next_code_point(std::string_view text, std::size_t at) {
  do {
    ++at;
  } while (at < text.size() && (static_cast<std::uint8_t>(text[at]) & 0xC0U) == 0x80U);
  return at;
}

}  // namespace

void Regex::FreeCode::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

Result<Regex> Regex::compile(std::string_view pattern) {
  const std::string spelled = spell_out_classes(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Regex regex(
      pcre2_compile(as_subject(spelled), spelled.size(), kOptions, &error, &offset, nullptr));
  if (!regex.code_) {
    std::array<PCRE2_UCHAR, 128> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    std::string text = "is not a regular expression we can run: ";
    for (const PCRE2_UCHAR c : message) {
      if (c == 0) break;
      text.push_back(static_cast<char>(c));
    }
    return Error{Code::kInvalidValue, text};
  }
  // Without JIT (a platform that lacks it) `find` falls back to the interpreter.
  pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE);
  return regex;
}

void Regex::for_each_match(std::string_view text,
                           const std::function<void(std::size_t, std::size_t)>& visit) const {
  const MatchData data(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
  std::size_t at = 0;
  std::size_t previous_end = std::string_view::npos;
  while (at < text.size() && find(code_.get(), text, at, data.get())) {
    const std::size_t begin = span[0];
    const std::size_t end = std::max(span[0], span[1]);
    if (begin != end || begin != previous_end) visit(begin, end);
    previous_end = end;
    if (begin != end) {
      at = end;
    } else if (end < text.size()) {
      at = next_code_point(text, end);
    } else {
      return;
    }
  }
}

std::string escape_regex(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    const bool plain = static_cast<std::uint8_t>(c) >= 0x80 || (c >= '0' && c <= '9') ||
                       (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (!plain) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

}  // namespace tessera

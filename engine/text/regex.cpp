#include "engine/text/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <cstdint>

#include <pcre2.h>

#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

// Bytes, not UTF-8: the classes of regex_alphabet.hpp. ^ and $ hold at every line.
constexpr std::uint32_t kOptions = PCRE2_MULTILINE;

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatchData>;

struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
using CompileContext = std::unique_ptr<pcre2_compile_context, FreeCompileContext>;

PCRE2_SPTR as_subject(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());  // NOLINT: bytes to PCRE2's bytes
}

// The next match at or after `start`; the JIT's stack is small, so a text that exhausts it is given
// to the interpreter, which uses the heap.
bool find(const pcre2_code* code, std::string_view text, std::size_t start,
          pcre2_match_data* data) {
  int rc = pcre2_jit_match(code, as_subject(text), text.size(), start, 0, data, nullptr);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT || rc == PCRE2_ERROR_JIT_BADOPTION) {
    rc = pcre2_match(code, as_subject(text), text.size(), start, PCRE2_NO_JIT, data, nullptr);
  }
  return rc >= 0;
}

std::size_t code_point_bytes(char lead) {
  const auto byte = static_cast<std::uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// Turns positions in code points into positions in bytes, in ascending order.
class BytePositions {
 public:
  BytePositions(std::string_view text, bool is_ascii) : text_(text), is_ascii_(is_ascii) {}

  std::size_t of(std::size_t index) {
    if (is_ascii_) return index;
    for (; index_ < index; ++index_) byte_ += code_point_bytes(text_[byte_]);
    return byte_;
  }

 private:
  std::string_view text_;
  bool is_ascii_;
  std::size_t index_ = 0;
  std::size_t byte_ = 0;
};

Error compile_error(int error) {
  std::array<PCRE2_UCHAR, 128> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  std::string text = "is not a regular expression we can run: ";
  for (const PCRE2_UCHAR c : message) {
    if (c == 0) break;
    text.push_back(static_cast<char>(c));
  }
  return {Code::kInvalidValue, text};
}

}  // namespace

void Regex::FreeCode::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

Result<Regex> Regex::compile(std::string_view pattern) {
  auto translated = translate_regex(pattern);
  if (!translated) return translated.error();
  const CompileContext context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Regex regex(pcre2_compile(as_subject(translated->pattern), translated->pattern.size(), kOptions,
                            &error, &offset, context.get()),
              std::move(translated->classes));
  if (!regex.code_) return compile_error(error);
  // Without JIT (a platform that lacks it) `find` falls back to the interpreter.
  pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE);
  return regex;
}

// True if every code point is a byte, so that positions are the same.
bool Regex::map_to_classes(std::string_view text, std::string& classes) const {
  classes.resize(text.size());
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if (byte < 0x80) {
      classes[count++] = static_cast<char>(classes_.of_ascii(text[at++]));
      continue;
    }
    const Utf8Step step = utf8_step(text.substr(at));
    classes[count++] = static_cast<char>(classes_.of(step.code_point));
    at += step.bytes;
  }
  classes.resize(count);
  return count == text.size();
}

void Regex::find_all(std::string_view text, std::vector<Match>& matches) const {
  constexpr std::size_t kUsualMatchBytes = 4;
  if (matches.empty()) matches.reserve(text.size() / kUsualMatchBytes + 1);
  std::string classes;
  BytePositions positions(text, map_to_classes(text, classes));
  const MatchData data(pcre2_match_data_create(1, nullptr));
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
  std::size_t at = 0;
  std::size_t previous_end = std::string_view::npos;
  while (at < classes.size() && find(code_.get(), classes, at, data.get())) {
    const std::size_t begin = span[0];
    const std::size_t end = std::max(span[0], span[1]);
    if (begin != end || begin != previous_end) {
      const std::size_t first_byte = positions.of(begin);
      matches.push_back({first_byte, positions.of(end)});
    }
    previous_end = end;
    at = begin == end ? end + 1 : end;
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

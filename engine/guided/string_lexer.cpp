#include "engine/guided/string_lexer.hpp"

#include <algorithm>
#include <array>

#include "engine/guided/key_text.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

constexpr char32_t kSurrogates = 0xD800;  // the high ones, then
constexpr char32_t kLowSurrogates = 0xDC00;
constexpr char32_t kSurrogatesEnd = 0xE000;
constexpr char32_t kSupplementary = 0x10000;

// What a pending word says has been read.
enum class Read : std::uint32_t {
  kNothing,
  kUtf8,  // a lead byte and perhaps more: `left` bytes are to come, `value` are the bits so far
  kBackslash,
  kHex,        // \u and 4 - `left` digits, whose value is `value`
  kHigh,       // a high surrogate: `value` are its ten bits
  kHighSlash,  // and a backslash
  kLow,        // and \u and 4 - `left` digits: `value` are the ten bits and then the digits
};

struct Pending {
  Read read = Read::kNothing;
  std::uint32_t left = 0;
  std::uint32_t value = 0;

  std::uint32_t pack() const { return static_cast<std::uint32_t>(read) | left << 3 | value << 6; }
  static Pending unpack(std::uint32_t word) {
    return {static_cast<Read>(word & 7), word >> 3 & 7, word >> 6};
  }
  // kLow: the two parts of `value`.
  std::uint32_t low_digits() const { return value & ((1U << 4 * (4 - left)) - 1); }
  char32_t high_bits() const { return value >> 4 * (4 - left); }
};

// The shortest encodings of as many bytes: below that they are overlong.
char32_t first_of_length(std::uint32_t bytes) {
  constexpr std::array<char32_t, 5> kFirst{0, 0, 0x80, 0x800, kSupplementary};
  return kFirst[bytes];
}

// Control characters that only \u can write.
constexpr std::array<CodePointSet::Range, 3> kOnlyUnicodeEscapes{
    {{0x00, 0x08}, {0x0B, 0x0C}, {0x0E, 0x20}}};

// What the character after a backslash stands for; nullopt if it is not an escape of two
// characters.
std::optional<char32_t> short_escape(std::uint8_t byte) {
  switch (byte) {
    case '"':
    case '\\':
    case '/':
      return byte;
    case 'b':
      return U'\b';
    case 'f':
      return U'\f';
    case 'n':
      return U'\n';
    case 'r':
      return U'\r';
    case 't':
      return U'\t';
    default:
      return {};
  }
}

constexpr std::string_view kShortEscapes = "\"\\bfnrt";  // those that are needed

std::optional<std::uint32_t> hex_digit(std::uint8_t byte, Escapes escapes) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F' && escapes == Escapes::kJson) return byte - 'A' + 10;
  return {};
}

void append_hex(std::string& text, std::uint32_t value, std::uint32_t digits) {
  for (auto i = digits; i-- > 0;) text += "0123456789abcdef"[value >> 4 * i & 0xF];
}

// The code points of a UTF-8 sequence of which `left` bytes are to come. A lead byte whose range is
// this one begins no overlong form as a whole.
CodePointSet::Range utf8_range(const Pending& pending) {
  const char32_t begin = pending.value << 6 * pending.left;
  const char32_t end = (pending.value + 1) << 6 * pending.left;
  return {std::max(begin, first_of_length(pending.left + 1)), std::min(end, kCodePointEnd)};
}

// The code units of \u escapes of which `left` digits are to come.
CodePointSet::Range hex_range(std::uint32_t value, std::uint32_t left) {
  return {value << 4 * left, (value + 1) << 4 * left};
}

// The code points of a surrogate pair with these ten high bits and low surrogates of a range.
CodePointSet::Range pair_range(char32_t high_bits, CodePointSet::Range low) {
  const char32_t base = kSupplementary + (high_bits << 10);
  const auto begin = std::clamp(low.begin, kLowSurrogates, kSurrogatesEnd);
  const auto end = std::clamp(low.end, kLowSurrogates, kSurrogatesEnd);
  return {base + (begin - kLowSurrogates), base + (end - kLowSurrogates)};
}

// The code points of pairs whose high surrogate is of a range.
CodePointSet::Range pairs_range(CodePointSet::Range high) {
  const auto begin = std::clamp(high.begin, kSurrogates, kLowSurrogates);
  const auto end = std::clamp(high.end, kSurrogates, kLowSurrogates);
  return {kSupplementary + ((begin - kSurrogates) << 10),
          kSupplementary + ((end - kSurrogates) << 10)};
}

}  // namespace

template <class Text>
StringState BasicStringLexer<Text>::step_within(StringState state, std::uint8_t byte) {
  if (state.dead()) return {};
  const auto pending = Pending::unpack(state.pending);
  switch (pending.read) {
    case Read::kNothing:
      return step_fresh(state.text, byte);
    case Read::kUtf8:
      return step_utf8(state, byte);
    case Read::kBackslash:
      return step_escape(state.text, byte);
    case Read::kHex:
      return step_hex(state, byte);
    case Read::kHigh:
      if (byte != '\\') return {};
      return {state.text, Pending{Read::kHighSlash, 0, pending.value}.pack()};
    case Read::kHighSlash:
      if (byte != 'u') return {};
      return {state.text, Pending{Read::kLow, 4, pending.value}.pack()};
    case Read::kLow:
      return step_low_surrogate(state, byte);
  }
  return {};
}

template <class Text>
StringState BasicStringLexer<Text>::whole(TextDfa::State text, char32_t code_point) {
  return {dfa_.step(text, code_point), 0};
}

template <class Text>
StringState BasicStringLexer<Text>::step_fresh(TextDfa::State text, std::uint8_t byte) {
  if (byte < 0x20 || byte == '"') return {};
  if (byte == '\\') {
    if (!any_unicode_escape(text, 0, kSupplementary) && !any_short_escape(text)) return {};
    return {text, Pending{Read::kBackslash, 0, 0}.pack()};
  }
  if (byte < 0x80) return whole(text, byte);
  if (byte < 0xC2 || byte > 0xF4) return {};
  const std::uint32_t left = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  const Pending pending{Read::kUtf8, left, byte & (0x3FU >> left)};
  const auto range = utf8_range(pending);
  if (!any_scalar(text, range.begin, range.end)) return {};
  return {text, pending.pack()};
}

template <class Text>
StringState BasicStringLexer<Text>::step_utf8(StringState state, std::uint8_t byte) {
  if ((byte & 0xC0) != 0x80) return {};
  auto pending = Pending::unpack(state.pending);
  pending.left -= 1;
  pending.value = pending.value << 6 | (byte & 0x3FU);
  if ((pending.value << 6 * pending.left) < first_of_length(pending.left + 2)) return {};
  const auto range = utf8_range(pending);
  if (!any_scalar(state.text, range.begin, range.end)) return {};
  if (pending.left == 0) return whole(state.text, pending.value);
  return {state.text, pending.pack()};
}

template <class Text>
StringState BasicStringLexer<Text>::step_escape(TextDfa::State text, std::uint8_t byte) {
  if (byte == 'u') {
    if (!any_unicode_escape(text, 0, kSupplementary)) return {};
    return {text, Pending{Read::kHex, 4, 0}.pack()};
  }
  const auto meant = short_escape(byte);
  if (!meant || (byte == '/' && escapes_ == Escapes::kMinimal)) return {};
  return whole(text, *meant);
}

template <class Text>
StringState BasicStringLexer<Text>::step_hex(StringState state, std::uint8_t byte) {
  const auto digit = hex_digit(byte, escapes_);
  if (!digit) return {};
  auto pending = Pending::unpack(state.pending);
  pending.left -= 1;
  pending.value = pending.value << 4 | *digit;
  const auto units = hex_range(pending.value, pending.left);
  if (!any_unicode_escape(state.text, units.begin, units.end)) return {};
  if (pending.left != 0) return {state.text, pending.pack()};
  if (pending.value < kSurrogates || pending.value >= kSurrogatesEnd) {
    return whole(state.text, pending.value);
  }
  return {state.text, Pending{Read::kHigh, 0, pending.value - kSurrogates}.pack()};
}

template <class Text>
StringState BasicStringLexer<Text>::step_low_surrogate(StringState state, std::uint8_t byte) {
  const auto digit = hex_digit(byte, escapes_);
  if (!digit) return {};
  auto pending = Pending::unpack(state.pending);
  pending.left -= 1;
  pending.value = pending.value << 4 | *digit;
  const auto range = pair_range(pending.high_bits(), hex_range(pending.low_digits(), pending.left));
  if (!any_scalar(state.text, range.begin, range.end)) return {};
  if (pending.left != 0) return {state.text, pending.pack()};
  return whole(state.text, range.begin);
}

template <class Text>
bool BasicStringLexer<Text>::any_scalar(TextDfa::State text, char32_t begin, char32_t end) {
  const auto any = [&](char32_t from, char32_t to) {
    return from < to && dfa_.any_step(text, from, to);
  };
  return any(begin, std::min(end, kSurrogates)) || any(std::max(begin, kSurrogatesEnd), end);
}

template <class Text>
bool BasicStringLexer<Text>::any_short_escape(TextDfa::State text) {
  return std::any_of(kShortEscapes.begin(), kShortEscapes.end(), [&](char c) {
    const auto meant = *short_escape(static_cast<std::uint8_t>(c));
    return any_scalar(text, meant, meant + 1);
  });
}

template <class Text>
bool BasicStringLexer<Text>::any_unicode_escape(TextDfa::State text, char32_t begin, char32_t end) {
  if (escapes_ == Escapes::kMinimal) {
    return std::any_of(
        kOnlyUnicodeEscapes.begin(), kOnlyUnicodeEscapes.end(), [&](const auto& only) {
          return any_scalar(text, std::max(begin, only.begin), std::min(end, only.end));
        });
  }
  const auto pairs = pairs_range({begin, end});
  return any_scalar(text, begin, end) || any_scalar(text, pairs.begin, pairs.end);
}

template <class Text>
std::optional<std::uint8_t> BasicStringLexer<Text>::forced(StringState state) {
  if (state.pending == 0) {
    const char32_t only = escapes_ == Escapes::kMinimal ? dfa_.forced(state.text) : 0;
    if (only == 0) return {};
    std::string text;
    append_utf8(text, only);
    return static_cast<std::uint8_t>(escape(text).front());
  }
  std::optional<std::uint8_t> only;
  for (int byte = 0; byte < 256; ++byte) {
    if (step(state, static_cast<std::uint8_t>(byte)).dead()) continue;
    if (only) return {};
    only = static_cast<std::uint8_t>(byte);
  }
  return only;
}

template <class Text>
std::string BasicStringLexer<Text>::shortest_rest(StringState state) {
  std::string rest;
  // Any live byte will do: none leads to a dead end. 'u' is the last of the escapes.
  while (state.pending != 0) {
    StringState next;
    int byte = -1;
    while (next.dead() && byte < 255) next = step(state, static_cast<std::uint8_t>(++byte));
    rest += static_cast<char>(byte);
    state = next;
  }
  return rest + escape(dfa_.shortest_rest(state.text));
}

CodePointSet raw_characters() {
  CodePointSet set;
  set.add(0x20, '"');
  set.add('"' + 1, '\\');
  set.add('\\' + 1, kSurrogates);
  set.add(kSurrogatesEnd, kCodePointEnd);
  return set;
}

std::string escape_string(std::string_view utf8) {
  std::string escaped;
  for (const char c : utf8) {
    const auto named = std::string_view("\"\\\b\f\n\r\t").find(c);
    if (named != std::string_view::npos) {
      escaped.append(1, '\\').append(1, kShortEscapes[named]);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      escaped += "\\u00";
      append_hex(escaped, static_cast<unsigned char>(c), 2);
    } else {
      escaped += c;
    }
  }
  return escaped;
}

template class BasicStringLexer<TextDfa>;
template class BasicStringLexer<KeyText>;
template class BasicStringLexer<AnyText>;

}  // namespace tessera::guided

// utf8_pending.hpp — a code point of which only the first bytes have been read (RFC 3629).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

namespace tessera::guided {

// A value of 32 bits: its length in bytes, how many are still to come, and the bits so far. 0
// stands between two code points. Overlong forms, surrogates and what lies behind U+10FFFF are dead
// as soon as nothing else can come of the bytes.
class Utf8Pending {
 public:
  explicit Utf8Pending(std::uint32_t bits = 0) : bits_(bits) {}

  Utf8Pending next(std::uint8_t byte) const {
    if (left() == 0) return first(byte);
    if ((byte & 0xC0U) != 0x80) return Utf8Pending(kDead);
    return Utf8Pending(length(), left() - 1, value() << 6U | (byte & 0x3FU)).checked();
  }

  bool dead() const { return bits_ == kDead; }
  bool whole() const { return left() == 0; }
  char32_t code_point() const { return value(); }
  std::uint32_t bits() const { return bits_; }

  // The code points that can still come of it: [begin, end).
  char32_t begin() const { return std::max<char32_t>(value() << (6 * left()), least()); }
  char32_t end() const {
    const char32_t end = std::min<char32_t>((value() + 1) << (6 * left()), 0x110000);
    return begin() < 0xD800 && end > 0xD800 && end <= 0xE000 ? 0xD800 : end;
  }

  // The byte that comes next on the way to `code_point`, one of those that can come of it.
  std::uint8_t next_byte_of(char32_t code_point) const {
    if (left() != 0)
      return static_cast<std::uint8_t>(0x80U | (code_point >> (6 * (left() - 1)) & 0x3FU));
    if (code_point < 0x80) return static_cast<std::uint8_t>(code_point);
    if (code_point < 0x800) return static_cast<std::uint8_t>(0xC0U | code_point >> 6U);
    if (code_point < 0x10000) return static_cast<std::uint8_t>(0xE0U | code_point >> 12U);
    return static_cast<std::uint8_t>(0xF0U | code_point >> 18U);
  }
  // All bytes on that way.
  std::string rest_of(char32_t code_point) const {
    std::string rest;
    Utf8Pending at = *this;
    do {
      const std::uint8_t byte = at.next_byte_of(code_point);
      rest.push_back(static_cast<char>(byte));
      at = at.next(byte);
    } while (!at.whole() && !at.dead());
    return rest;
  }

 private:
  static constexpr std::uint32_t kDead = ~std::uint32_t{0};

  Utf8Pending(std::uint32_t length, std::uint32_t left, std::uint32_t value)
      : bits_(length << 26U | left << 24U | value) {}

  static Utf8Pending first(std::uint8_t byte) {
    if (byte < 0x80) return {1, 0, byte};
    if (byte < 0xC2 || byte > 0xF4) return Utf8Pending(kDead);
    if (byte < 0xE0) return {2, 1, byte & 0x1FU};
    if (byte < 0xF0) return {3, 2, byte & 0x0FU};
    return {4, 3, byte & 0x07U};
  }

  Utf8Pending checked() const {
    const char32_t low = value() << (6 * left());
    const char32_t high = (value() + 1) << (6 * left());
    const bool surrogate = low >= 0xD800 && high <= 0xE000;
    return high <= least() || low >= 0x110000 || surrogate ? Utf8Pending(kDead) : *this;
  }

  std::uint32_t length() const { return bits_ >> 26U; }
  std::uint32_t left() const { return bits_ >> 24U & 3U; }
  std::uint32_t value() const { return bits_ & 0xFFFFFFU; }
  char32_t least() const { return length() == 4 ? 0x10000 : length() == 3 ? 0x800 : 0; }

  std::uint32_t bits_;
};

}  // namespace tessera::guided

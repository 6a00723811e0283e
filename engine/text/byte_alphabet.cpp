#include "engine/text/byte_alphabet.hpp"

#include <array>
#include <cstdint>

#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

constexpr int kUnused = -1;
constexpr char32_t kAlphabetEnd = 0x100 + 68;

constexpr bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Byte by code point.
constexpr std::array<int, kAlphabetEnd> make_bytes() {
  std::array<int, kAlphabetEnd> bytes{};
  for (int& byte : bytes) byte = kUnused;
  std::size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    bytes[stands_for_itself(byte) ? static_cast<std::size_t>(byte) : next++] = byte;
  }
  return bytes;
}

constexpr std::array<int, kAlphabetEnd> kBytes = make_bytes();

constexpr std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> characters{};
  for (char32_t c = 0; c < kAlphabetEnd; ++c) {
    if (kBytes[c] != kUnused) characters[static_cast<std::size_t>(kBytes[c])] = c;
  }
  return characters;
}

constexpr std::array<char32_t, 256> kCharacters = make_characters();
static_assert(kBytes[0x120] == ' ' && kBytes['a'] == 'a' && kBytes[' '] == kUnused);

}  // namespace

std::optional<std::string> bytes_from_alphabet(std::string_view token_text) {
  std::string bytes;
  while (!token_text.empty()) {
    const Utf8Step step = utf8_step(token_text);
    if (step.code_point >= kAlphabetEnd || kBytes[step.code_point] == kUnused) return std::nullopt;
    bytes.push_back(static_cast<char>(kBytes[step.code_point]));
    token_text.remove_prefix(step.bytes);
  }
  return bytes;
}

std::string alphabet_from_bytes(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) append_utf8(text, kCharacters[static_cast<std::uint8_t>(byte)]);
  return text;
}

}  // namespace tessera

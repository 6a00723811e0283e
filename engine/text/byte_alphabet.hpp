// byte_alphabet.hpp — how byte-level tokenizers write bytes as text.
//
// So that a vocabulary can be JSON, each of the 256 bytes has a printable character: printable
// Latin-1 stands for itself, and the 68 others are U+0100 onwards in order ("Ġ" is the space).
// (GPT-2.)
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tessera {

// The bytes that a vocabulary entry stands for, or nullopt if a character is not of the alphabet.
std::optional<std::string> bytes_from_alphabet(std::string_view token_text);

// `bytes` written in the alphabet: one or two bytes of UTF-8 for each.
std::string alphabet_from_bytes(std::string_view bytes);

}  // namespace tessera

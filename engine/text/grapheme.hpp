// grapheme.hpp — how much of a text a reader takes for one character (UAX #29, extended clusters).
#pragma once

#include <cstddef>
#include <string_view>

namespace tessera {

// The bytes of the first grapheme cluster of `text`, which is valid UTF-8 and not empty.
std::size_t grapheme_bytes(std::string_view text);

}  // namespace tessera

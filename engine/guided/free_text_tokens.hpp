// free_text_tokens.hpp — the tokens of free text that are not UTF-8 by themselves.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/guided/recognizer.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

// Free text takes any bytes, while a loop's slice (token_slice.hpp) leaves out the tokens in which
// a byte stands where no code point can have it: they are tried one by one.
template <class R>
void add_tokens_beside_utf8(R& recognizer, Position from, const Vocabulary& vocabulary,
                            TokenMask& mask) {
  for (unsigned byte = 0x80; byte < 0x100; ++byte) {
    for (const std::uint32_t rank : vocabulary.containing(static_cast<std::uint8_t>(byte))) {
      const TokenId id = vocabulary.ids()[rank];
      if (mask[id]) continue;
      Position position = from;
      for (const char c : vocabulary.bytes_at(rank)) {
        position = recognizer.step(position, static_cast<std::uint8_t>(c));
        if (position.dead()) break;
      }
      if (!position.dead()) mask.set(id);
    }
  }
}

}  // namespace tessera::guided

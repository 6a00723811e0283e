// amx_format.hpp — how integers lie in memory for the tile unit of AMX: as tiles of 16 rows of 64
// bytes, the largest there are.
//
// TDPBSSD multiplies a tile of x (row, k) with one of weights (k / 4, output, k % 4), both bytes
// with a sign, and adds the products in 32 bits. Wider integers are two such digits, high * 128 +
// low with -64 <= low < 64, in two tiles. Rows of x come in groups of sixteen:
//
//   [row / 16][block of 64 k][high, low][row % 16][64 bytes]
//
// Sums of integers have no order, so x and the weights may agree on any order of a block's k. This
// is the one in which NF4 decodes without a shuffle (tile_format.hpp): of each eight k, the lower
// nibbles of a word's bytes, then the upper.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera {

inline constexpr int kDigitBits = 7;

inline constexpr std::size_t kSplitRows = 16;
inline constexpr std::size_t kSplitRowBytes = 64;
inline constexpr std::size_t kSplitTileBytes = kSplitRows * kSplitRowBytes;
inline constexpr std::size_t kSplitBlockBytes = 2 * kSplitTileBytes;

// Byte i of a row of a tile belongs to k = i / 8 * 8 + kSplitOrder[i % 8].
inline constexpr std::uint8_t kSplitOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};

}  // namespace tessera

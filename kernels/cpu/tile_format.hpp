// tile_format.hpp — the bytes of a weight tile: 16 output features by all input features.
//
// A tile is a sequence of blocks of 64 input features, read once from front to back:
//
//   NF4   8 x 16 words of 32 bits: word [g][n] holds the codes of output n for k = 8g .. 8g + 7,
//         the first in the lowest four bits; then 16 fp32 scales                   576 bytes
//   bf16  32 x 16 words: word [g][n] holds the weights of output n for k = 2g (lower half) and
//         2g + 1                                                                  2048 bytes
//
// So one 64-byte load brings the next weights of sixteen outputs, one shift and one table permute
// decode them, and no lane ever needs another's.
#pragma once

#include <cstddef>

namespace tessera {

inline constexpr int kTileFeatures = 16;
inline constexpr std::size_t kTileWordBytes = 4 * kTileFeatures;
inline constexpr std::size_t kNf4TileCodesBytes = 8 * kTileWordBytes;
inline constexpr std::size_t kNf4TileBlockBytes = kNf4TileCodesBytes + 4 * kTileFeatures;
inline constexpr std::size_t kBf16TileBlockBytes = 32 * kTileWordBytes;

}  // namespace tessera

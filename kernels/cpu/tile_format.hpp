// tile_format.hpp — the bytes of a weight tile: 16 output features by all input features.
//
// A tile is a sequence of blocks of 64 input features, read once from front to back:
//
//   NF4   8 x 16 words of 32 bits: word [g][n] holds the codes of output n for k = 8g .. 8g + 7,
//         even k in the lower half and odd k in the upper, the first in the lowest four bits of
//         its half; then 16 fp32 scales                                            576 bytes
//   int8  16 x 16 words: word [g][n] holds the integers of output n for k = 4g .. 4g + 3, even k in
//         the lower half and odd k in the upper; then 16 fp32 scales              1088 bytes
//   bf16  32 x 16 words: word [g][n] holds the weights of output n for k = 2g (lower half) and
//         2g + 1                                                                  2048 bytes
//
// Weights of other forms than NF4 lie likewise (weight_matrix.hpp): codes of four bits as NF4 has
// them and integers as int8 has them. A block has as many scales an output as it has groups, 1, 2
// or 4 in ascending order of the groups, (groups, 16) fp32; then, if the form has offsets, as many
// of those.
//
// So one 64-byte load brings the next weights of sixteen outputs, one shift and one table permute
// decode them, and no lane ever needs another's. A permute of 16-bit lanes decodes an even k and
// the odd one after it at once, as the instructions that multiply pairs of bf16 want them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera {

inline constexpr int kTileFeatures = 16;
inline constexpr std::size_t kTileWordBytes = 4 * kTileFeatures;
inline constexpr std::size_t kNf4TileCodesBytes = 8 * kTileWordBytes;
inline constexpr std::size_t kNf4TileBlockBytes = kNf4TileCodesBytes + 4 * kTileFeatures;
inline constexpr std::size_t kInt8TileCodesBytes = 16 * kTileWordBytes;
inline constexpr std::size_t kInt8TileBlockBytes = kInt8TileCodesBytes + 4 * kTileFeatures;
inline constexpr std::size_t kBf16TileBlockBytes = 32 * kTileWordBytes;

// The quantised forms of tiles: what a code is, how many groups a block has, offsets or none.
enum class TileCodes : std::uint8_t { kBook16, kInt8 };
inline constexpr std::size_t kNumTileCodes = 2;
inline constexpr std::size_t kNumTileGroups = 3;  // 1 << i groups, i < 3
inline constexpr std::size_t kMaxTileGroups = 4;

template <TileCodes kCodes>
inline constexpr std::size_t kTileCodesBytes =
    kCodes == TileCodes::kBook16 ? kNf4TileCodesBytes : kInt8TileCodesBytes;
template <TileCodes kCodes, std::size_t kGroups, bool kOffsets>
inline constexpr std::size_t kTileBlockBytes = kTileCodesBytes<kCodes> +
                                               (kOffsets ? 2 : 1) * kGroups * 4 * kTileFeatures;

}  // namespace tessera

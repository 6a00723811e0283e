// amx_tiles.hpp — the tile unit of AMX: eight registers of up to 16 rows of 64 bytes, and the one
// instruction that multiplies two of them.
//
// In assembly, because GCC 12's intrinsics want the register's number as a literal and do not say
// that a load reads memory, so that the stores before it may be moved behind it.
//
// The registers' shapes are state of the thread, so a kernel sets them when it begins and gives
// them back when it ends: some hundred cycles a call, and a thread that waits or sleeps has no 8
// KiB of tiles to be kept for it.
//
// Included by one file that is compiled for AMX (vec.hpp on the one-definition rule).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/amx_format.hpp"
#include "kernels/cpu/codegen.hpp"

namespace tessera::amx {

// What LDTILECFG reads (Intel SDM volume 1, 18.3).
struct alignas(64) TileConfig {
  std::uint8_t palette;
  std::uint8_t start_row;
  std::uint8_t reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

// Registers 0 to 2 hold sums, of as many rows as x has; 4 and 5 hold x; 6 and 7 hold weights.
inline constexpr int kSumTile = 0;
inline constexpr int kXTile = 4;
inline constexpr int kWeightTile = 6;

// The thread's tiles, while it lives. One at a time in a thread.
class TileUnit {
 public:
  // Tiles of x, and of the sums, have `x_rows` rows, at most 16; those of x and of the weights are
  // of a `groups`-th of a block's k: 1, 2 or 4.
  TileUnit(std::size_t x_rows, std::size_t groups) {
    TileConfig config = {};
    config.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      const bool is_x = tile >= kXTile && tile < kWeightTile;
      const std::size_t rows = tile < kWeightTile ? x_rows : kSplitRows / groups;
      config.rows[tile] = static_cast<std::uint8_t>(rows);
      config.row_bytes[tile] =
          static_cast<std::uint16_t>(is_x ? kSplitRowBytes / groups : kSplitRowBytes);
    }
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  ~TileUnit() { asm volatile("tilerelease"); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;

  template <int kTile>
  TESSERA_ALWAYS_INLINE static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }

  // `from` and `to` are rows of kSplitRowBytes, of which a tile may be a part.
  template <int kTile>
  TESSERA_ALWAYS_INLINE static void load(const std::byte* from) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0"
                 :
                 : "i"(kTile), "r"(from), "r"(kSplitRowBytes), "m"(*as_tile(from)));
  }
  template <int kTile>
  TESSERA_ALWAYS_INLINE static void store(std::byte* to) {
    asm volatile("tilestored %%tmm%c1, (%2,%3,1)"
                 : "=m"(*as_tile(to))
                 : "i"(kTile), "r"(to), "r"(kSplitRowBytes));
  }

  // kSum += kX * kWeight, all bytes with a sign.
  template <int kSum, int kX, int kWeight>
  TESSERA_ALWAYS_INLINE static void add_products() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kX), "i"(kWeight));
  }

 private:
  using Tile = std::byte[kSplitTileBytes];
  static const Tile* as_tile(const std::byte* at) { return reinterpret_cast<const Tile*>(at); }
  static Tile* as_tile(std::byte* at) { return reinterpret_cast<Tile*>(at); }
};

}  // namespace tessera::amx

// amx_kernels.hpp — the same y = W x as int16_kernels.hpp, bit for bit, by the tile unit of AMX.
//
// TDPBSSD multiplies bytes, so the 14-bit activations and the 13-bit values of a book are two
// digits each (amx_format.hpp), x = 128 xh + xl and w = 128 wh + wl, and a group's sum of products
// is
//
//   sum(x w) = 128 (128 sum(xh wh) + sum(xh wl + xl wh)) + sum(xl wl)
//
// four tile products into three tiles of sums (two and two, of weights of eight bits). Each of
// those is far below 2^31, and what they make is the very integer that VPDPWSSD comes to; it is
// converted and scaled by the same operations in the same order. So any step may use either, and
// few rows, which leave most of a tile empty, use VPDPWSSD: P2 holds because the results are the
// same. (Three products would do, by Karatsuba's identity; but then six tiles are loaded instead of
// four and the sums take more instructions than the tile unit saves.)
//
// A unit of work is a strip of tiles by a chunk of blocks, decoded into the first-level cache.
// While the first group of sixteen rows is multiplied with one unit, the next is decoded: a tile
// cannot be loaded from stores that are on their way to the cache, and the decoding runs in what
// the tile unit leaves idle. For the same reason a block's sums are scaled while the next block is
// multiplied.
//
// Included by one file that is compiled for AMX (vec.hpp on the one-definition rule).
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/cpu/amx_format.hpp"
#include "kernels/cpu/amx_tiles.hpp"
#include "kernels/cpu/amx_weights.hpp"
#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/nf4.hpp"

namespace tessera::amx {

constexpr std::size_t smaller(std::size_t a, std::size_t b) {
  return a < b ? a : b;
}

// A unit of work: tiles by blocks of 64 input features.
struct Unit {
  std::size_t tile, end_tile;
  std::size_t block, end_block;
};
inline constexpr std::size_t kMaxStrip = 4;  // tiles
inline constexpr std::size_t kChunk = 4;     // blocks

// A unit's weights, decoded.
template <class Weights>
struct Decoded {
  typename Weights::Decoded blocks[kMaxStrip][kChunk];
};

// Decodes a unit, a block at a call.
template <class Weights>
class Decoding {
 public:
  Decoding(const Weights& decoder, const TileView& weights, const Unit& unit,
           Decoded<Weights>& decoded)
      : decoder_(decoder), weights_(weights), unit_(unit), decoded_(decoded), tile_(unit.tile) {
    begin_tile();
  }

  const Weights& decoder() const { return decoder_; }
  // `decoder` is decoder(), which the caller may have in registers.
  TESSERA_ALWAYS_INLINE void step(const Weights& decoder) {
    if (tile_ == unit_.end_tile) return;
    decoder.decode(source_, decoded_.blocks[tile_ - unit_.tile][block_ - unit_.block]);
    prefetch();
    source_ += Weights::kBlockBytes;
    if (++block_ < unit_.end_block) return;
    ++tile_;
    begin_tile();
  }
  void finish() {
    while (tile_ != unit_.end_tile) step(decoder_);
  }

 private:
  void begin_tile() {
    block_ = unit_.block;
    source_ = weights_.tiles + tile_ * weights_.tile_bytes + block_ * Weights::kBlockBytes;
  }
  // The same block of the next chunk.
  TESSERA_ALWAYS_INLINE void prefetch() const {
    TESSERA_UNROLL
    for (std::size_t at = 0; at < Weights::kBlockBytes; at += 64) {
      __builtin_prefetch(source_ + kChunk * Weights::kBlockBytes + at);
    }
  }

  const Weights& decoder_;
  const TileView weights_;
  const Unit unit_;
  Decoded<Weights>& decoded_;
  std::size_t tile_;
  std::size_t block_ = 0;
  const std::byte* source_ = nullptr;
};

// Up to sixteen rows of x, from one block on.
struct RowGroup {
  const std::byte* digits;  // of amx_format.hpp
  Int16Rows int16;          // its units and sums
  std::size_t rows;
};

// One tile of weights, decoded, times 4 * kPanels rows of x.
template <class Weights, std::size_t kPanels>
class MicroKernel {
 public:
  // y += W x over the blocks, or y = W x if they are the first. Meanwhile decodes as many blocks of
  // `next`. Not inlined, so that tests/kernels/amx_codegen.py can count what it is made of.
  __attribute__((noinline)) static void run(const typename Weights::Decoded* weights,
                                            std::size_t num_blocks, const RowGroup& x,
                                            bool is_first, Rows y, Decoding<Weights>& next) {
    alignas(64) Products products[2];
    const Weights decoder = next.decoder();
    const Int16Rows int16 = x.int16;
    const std::size_t num_groups = num_blocks * kGroups;
    __m512 sums[kRows];
    load(sums, is_first, x.rows, y);
    for (std::size_t at = 0; at <= num_groups; ++at) {
      if (at < num_groups) {
        const std::size_t b = at / kGroups, g = at % kGroups;
        multiply_group(weights[b].tiles, x.digits + b * kSplitBlockBytes, g, products[at % 2]);
        if (g == 0) next.step(decoder);
      }
      if (at > 0) {
        const std::size_t b = (at - 1) / kGroups, g = (at - 1) % kGroups;
        add_group(products[(at - 1) % 2], weights[b], g, int16, b, sums);
      }
    }
    store(sums, x.rows, y);
  }

 private:
  static constexpr std::size_t kGroups = Weights::kGroups;
  static constexpr std::size_t kRows = kPanels * kPanelRows;
  static constexpr std::size_t kProducts = Weights::kDigits + 1;
  // Tiles of sums of products, the most significant first.
  using Products = std::byte[kProducts * kSplitTileBytes];
  using Sums = __m512[kRows];

  // What rows there are not are computed from the first, and not stored.
  TESSERA_ALWAYS_INLINE static void load(Sums& sums, bool is_first, std::size_t rows, Rows y) {
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      sums[r] =
          is_first ? _mm512_setzero_ps() : _mm512_loadu_ps(y.data + (r < rows ? r * y.stride : 0));
    }
  }
  TESSERA_ALWAYS_INLINE static void store(const Sums& sums, std::size_t rows, Rows y) {
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      if (r < rows) _mm512_storeu_ps(y.data + r * y.stride, sums[r]);
    }
  }

  // The two products that add up in one tile are as far apart as can be.
  TESSERA_ALWAYS_INLINE static void multiply_group(const std::byte* weights, const std::byte* x,
                                                   std::size_t g, Products& products) {
    constexpr int kHigh = kSumTile;
    constexpr int kLow = kSumTile + Weights::kDigits;
    constexpr int kXHigh = kXTile, kXLow = kXTile + 1;
    weights += g * (kSplitTileBytes / kGroups);
    x += g * (kSplitRowBytes / kGroups);
    TileUnit::zero<kHigh>();
    TileUnit::zero<kLow>();
    TileUnit::load<kXHigh>(x);
    if constexpr (Weights::kDigits == 2) {
      constexpr int kMiddle = kSumTile + 1;
      constexpr int kWHigh = kWeightTile, kWLow = kWeightTile + 1;
      TileUnit::zero<kMiddle>();
      TileUnit::load<kWLow>(weights + kSplitTileBytes);
      TileUnit::add_products<kMiddle, kXHigh, kWLow>();
      TileUnit::load<kWHigh>(weights);
      TileUnit::add_products<kHigh, kXHigh, kWHigh>();
      TileUnit::load<kXLow>(x + kSplitTileBytes);
      TileUnit::add_products<kLow, kXLow, kWLow>();
      TileUnit::add_products<kMiddle, kXLow, kWHigh>();
      TileUnit::store<kHigh>(products);
      TileUnit::store<kLow>(products + 2 * kSplitTileBytes);
      TileUnit::store<kMiddle>(products + kSplitTileBytes);
    } else {
      TileUnit::load<kWeightTile>(weights);
      TileUnit::add_products<kHigh, kXHigh, kWeightTile>();
      TileUnit::load<kXLow>(x + kSplitTileBytes);
      TileUnit::add_products<kLow, kXLow, kWeightTile>();
      TileUnit::store<kHigh>(products);
      TileUnit::store<kLow>(products + kSplitTileBytes);
    }
  }

  // A row's sum of products over the group.
  TESSERA_ALWAYS_INLINE static __m512i sum_of(const Products& products, std::size_t row) {
    const std::byte* at = products + row * kSplitRowBytes;
    __m512i sum = _mm512_load_si512(at);
    TESSERA_UNROLL
    for (std::size_t i = 1; i < kProducts; ++i) {
      sum = _mm512_add_epi32(_mm512_slli_epi32(sum, kDigitBits),
                             _mm512_load_si512(at + i * kSplitTileBytes));
    }
    return sum;
  }

  TESSERA_ALWAYS_INLINE static void add_group(const Products& products,
                                              const typename Weights::Decoded& weights,
                                              std::size_t g, const Int16Rows& x, std::size_t block,
                                              Sums& sums) {
    const __m512 scale = _mm512_load_ps(weights.scales[g]);
    const float* units = x.units + block * kPanelRows;
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const float x_unit = units[r / kPanelRows * x.units_panel + r % kPanelRows];
      const __m512 unit = _mm512_mul_ps(scale, _mm512_set1_ps(x_unit));
      sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum_of(products, r)), unit, sums[r]);
    }
    if constexpr (Weights::kHasOffsets) {
      const float* x_sums = x.sums + (block * kSumsPerBlock + kGroups - 1 + g) * kPanelRows;
      add_offsets(_mm512_load_ps(weights.offsets[g]), x_sums, x.sums_panel, sums);
    }
  }
  TESSERA_ALWAYS_INLINE static void add_offsets(__m512 offset, const float* x_sums,
                                                std::size_t sums_panel, Sums& sums) {
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const float x_sum = x_sums[r / kPanelRows * sums_panel + r % kPanelRows];
      sums[r] = _mm512_fmadd_ps(offset, _mm512_set1_ps(x_sum), sums[r]);
    }
  }
};

// A unit for up to sixteen rows; `y` is the first row's, from its first column.
template <class Weights, std::size_t kPanels = kSplitRows / kPanelRows>
void multiply_unit(const Unit& unit, const Decoded<Weights>& weights, const RowGroup& x, Rows y,
                   Decoding<Weights>& next) {
  if constexpr (kPanels > 1) {
    if (x.rows <= (kPanels - 1) * kPanelRows) {
      multiply_unit<Weights, kPanels - 1>(unit, weights, x, y, next);
      return;
    }
  }
  for (std::size_t tile = unit.tile; tile < unit.end_tile; ++tile) {
    MicroKernel<Weights, kPanels>::run(weights.blocks[tile - unit.tile],
                                       unit.end_block - unit.block, x, unit.block == 0,
                                       {y.data + tile * kTileFeatures, y.stride}, next);
  }
}

// Goes through tiles [begin, end) by units. Few rows take a strip from front to back; many, whose x
// is too large for the second-level cache, take a chunk of all strips of a panel, so that the
// chunk's x and the panel's y stay in it: half a megabyte and a quarter for 512 rows.
class Units {
 public:
  Units(std::size_t begin, std::size_t end, std::size_t num_blocks, std::size_t rows)
      : end_(end),
        num_blocks_(num_blocks),
        strip_(rows <= 64 ? 2 : kMaxStrip),
        panel_(rows <= 64 ? strip_ : 4 * strip_),
        first_of_panel_(begin),
        tile_(begin) {}

  bool done() const { return tile_ >= end_; }
  Unit unit() const {
    return {tile_, smaller(tile_ + strip_, end_of_panel()), block_,
            smaller(block_ + kChunk, num_blocks_)};
  }
  void advance() {
    tile_ += strip_;
    if (tile_ < end_of_panel()) return;
    block_ += kChunk;
    if (block_ >= num_blocks_) {
      block_ = 0;
      first_of_panel_ = end_of_panel();
    }
    tile_ = first_of_panel_;
  }

 private:
  std::size_t end_of_panel() const { return smaller(first_of_panel_ + panel_, end_); }

  std::size_t end_;
  std::size_t num_blocks_;
  std::size_t strip_;  // tiles of a unit
  std::size_t panel_;  // tiles whose y stays in the cache
  std::size_t first_of_panel_;
  std::size_t tile_;
  std::size_t block_ = 0;
};

// Sixteen rows, or the last ones, from `row` on.
inline RowGroup row_group(const Activations& x, std::size_t row, std::size_t rows,
                          std::size_t block) {
  const std::size_t panel = row / kPanelRows;
  Int16Rows int16 = x.int16;
  int16.units += panel * x.int16.units_panel + block * kPanelRows;
  int16.sums += panel * x.int16.sums_panel + block * kSumsPerBlock * kPanelRows;
  return {x.split.data + row / kSplitRows * x.split.group_bytes + block * kSplitBlockBytes, int16,
          smaller(kSplitRows, rows - row)};
}

// Rows [first, last).
template <class Weights>
void multiply_rows(const TileView& weights, std::size_t begin, std::size_t end,
                   const Activations& x, std::size_t first, std::size_t last, Rows y) {
  const Weights decoder(weights);
  Decoded<Weights> decoded[2];
  Units units(begin, end, static_cast<std::size_t>(weights.num_blocks), last - first);
  if (units.done()) return;
  Decoding<Weights>(decoder, weights, units.unit(), decoded[0]).finish();
  const std::size_t x_rows =
      smaller(kSplitRows, (last - first + kPanelRows - 1) / kPanelRows * kPanelRows);
  const TileUnit tiles(x_rows, Weights::kGroups);
  for (std::size_t turn = 0; !units.done(); ++turn) {
    const Unit unit = units.unit();
    units.advance();
    const Unit after = units.done() ? Unit{} : units.unit();
    Decoding<Weights> next(decoder, weights, after, decoded[(turn + 1) % 2]);
    for (std::size_t row = first; row < last; row += kSplitRows) {
      multiply_unit(unit, decoded[turn % 2], row_group(x, row, last, unit.block),
                    {y.data + row * y.stride, y.stride}, next);
    }
    next.finish();
  }
}

// So few rows take VPDPWSSD no longer than memory takes to bring the weights.
inline constexpr std::size_t kFewRows = 4;
// Rows whose x and y the caches hold, as Units has it.
inline constexpr std::size_t kManyRows = 512;

// The same by VPDPWSSD.
template <class Weights>
KernelTable::Multiply* multiply_few() {
  const KernelTable::CodesMultiply& codes = Weights::kCodes == TileCodes::kBook16
                                                ? kAvx512VnniInt16.multiply_book16
                                                : kAvx512VnniInt16.multiply_integers;
  const KernelTable::GroupMultiply& groups = codes.groups[Weights::kGroups / 2];  // 1, 2, 4
  return Weights::kHasOffsets ? groups.with_offsets : groups.plain;
}

template <class Weights>
void multiply(const TileView& weights, int begin, int end, const Activations& x, int num_rows,
              Rows y) {
  const auto rows = static_cast<std::size_t>(num_rows);
  if (rows <= kFewRows) {
    multiply_few<Weights>()(weights, begin, end, x, num_rows, y);
    return;
  }
  for (std::size_t row = 0; row < rows; row += kManyRows) {
    multiply_rows<Weights>(weights, static_cast<std::size_t>(begin), static_cast<std::size_t>(end),
                           x, row, smaller(row + kManyRows, rows), y);
  }
}

}  // namespace tessera::amx

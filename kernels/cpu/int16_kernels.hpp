// int16_kernels.hpp — y = W x with weights of four or eight bits by VPDPWSSD, which multiplies
// pairs of 16-bit integers and adds them in 32 bits: twice the products of an fp32 multiply-add.
//
// An activation is rounded to 14 bits in units of its block of 64, once (quantise), and a code of
// four bits is one of sixteen integers (int16_book.hpp). A group's sum of products is exact, so its
// order does not matter; scales and offsets are fp32. For every output, whatever the number of rows
// or threads:
//
//   sum = 0
//   for each group of each block of 64 input features, ascending:
//     sum = fma(float(integer sum), weight scale * activation unit, sum)
//     sum = fma(offset, sum of the group's activations, sum)              if there are offsets
//
// A micro-kernel keeps R rows x T tiles of integer sums in registers; the fp32 sums live in y, so
// that a long x can be cut into chunks that stay in the first-level cache.
//
// Included by one file that is compiled for these instructions; nothing here may call an inline
// function that others share (vec.hpp on the one-definition rule).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/int16_book.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/tile_format.hpp"
#include "kernels/nf4.hpp"

namespace tessera::int16 {

inline constexpr std::size_t kMaxRows = 16;
// As many sums as leave registers for weights, x and the book.
constexpr std::size_t tiles_for_rows(std::size_t rows) {
  return rows <= 5 ? 4 : rows <= 7 ? 3 : rows <= 12 ? 2 : 1;
}
constexpr std::size_t smaller(std::size_t a, std::size_t b) {
  return a < b ? a : b;
}

// Blocks [begin, end) of the input features.
struct Blocks {
  std::size_t begin;
  std::size_t end;
};

template <class Pairs>
Int16Rows from_block(Int16Rows x, std::size_t block) {
  x.data += block * kNf4Block * kPanelRows;
  x.units += block * kPanelRows;
  if constexpr (Pairs::kHasOffsets) x.sums += block * kSumsPerBlock * kPanelRows;
  return x;
}

// Weight words to pairs of 16-bit integers; take() gives the words' next pair of k.
class BookPairs {
 public:
  static constexpr TileCodes kCodes = TileCodes::kBook16;
  static constexpr std::size_t kPairsPerWord = 4;
  static constexpr std::size_t kBlocksAhead = 4;

  explicit BookPairs(const TileView& weights) : book_(_mm512_loadu_si512(weights.integers)) {}

  TESSERA_ALWAYS_INLINE __m512i take(__m512i& words) const {
    const __m512i pair = _mm512_permutexvar_epi16(words, book_);
    words = _mm512_srli_epi16(words, 4);
    return pair;
  }
  // In units of the integers' products: so they are packed.
  static __m512 scale(const std::byte* scales) { return _mm512_loadu_ps(scales); }

 private:
  __m512i book_;
};

class IntegerPairs {
 public:
  static constexpr TileCodes kCodes = TileCodes::kInt8;
  static constexpr std::size_t kPairsPerWord = 2;
  static constexpr std::size_t kBlocksAhead = 2;

  explicit IntegerPairs(const TileView&) {}

  // The lower byte of each half, then, moved down, the upper.
  TESSERA_ALWAYS_INLINE static __m512i take(__m512i& words) {
    const __m512i pair = _mm512_srai_epi16(_mm512_slli_epi16(words, 8), 8);
    words = _mm512_srli_epi16(words, 8);
    return pair;
  }
  // The units of x are made for weights in units of the book.
  static __m512 scale(const std::byte* scales) {
    return _mm512_mul_ps(_mm512_loadu_ps(scales), _mm512_set1_ps(kBookFactor));
  }
};

// Codes in groups, with offsets or without.
template <class Pairs, std::size_t kNumGroups, bool kOffsets>
class GroupPairs : public Pairs {
 public:
  static constexpr std::size_t kGroups = kNumGroups;
  static constexpr bool kHasOffsets = kOffsets;
  static constexpr std::size_t kBlockBytes = kTileBlockBytes<Pairs::kCodes, kGroups, kOffsets>;

  using Pairs::Pairs;

  static __m512 scale(const std::byte* block, std::size_t g) {
    return Pairs::scale(scale_at(block, g));
  }
  static __m512 offset(const std::byte* block, std::size_t g) {
    return _mm512_loadu_ps(scale_at(block, kGroups + g));
  }
  // Asks for what scale() and offset() will read.
  static void prefetch_group(const std::byte* block, std::size_t g) {
    __builtin_prefetch(scale_at(block, g));
    if constexpr (kOffsets) __builtin_prefetch(scale_at(block, kGroups + g));
  }

 private:
  static const std::byte* scale_at(const std::byte* block, std::size_t g) {
    return block + kTileCodesBytes<Pairs::kCodes> + g * kTileWordBytes;
  }
};

// kTiles tiles of weights times kRows rows of x.
template <class Pairs, std::size_t kRows, std::size_t kTiles>
class MicroKernel {
 public:
  // y += W x over the blocks, or y = W x if they are the first.
  static void run(const TileView& weights, std::size_t tile, Blocks blocks, Int16Rows x, Rows y) {
    const Pairs pairs(weights);
    const std::byte* block =
        weights.tiles + tile * weights.tile_bytes + blocks.begin * Pairs::kBlockBytes;
    x = from_block<Pairs>(x, blocks.begin);
    y.data += tile * kTileFeatures;
    for (std::size_t b = blocks.begin; b < blocks.end; ++b, block += Pairs::kBlockBytes) {
      const std::size_t ahead = bytes_ahead(weights, blocks, b);
      for (std::size_t g = 0; g < Pairs::kGroups; ++g) {
        Sums sums;
        clear(sums);
        for (std::size_t i = g * kWordsPerGroup; i < (g + 1) * kWordsPerGroup; ++i) {
          add_words(pairs, block + i * kTileWordBytes, weights.tile_bytes,
                    x.data + i * kPairsPerWord * kPairElements, x.panel, ahead, sums);
        }
        prefetch_scales(block + ahead, weights.tile_bytes, g);
        add_group(block, weights.tile_bytes, g, sums, x, b == 0 && g == 0, y);
      }
      x = from_block<Pairs>(x, 1);
    }
  }

 private:
  static constexpr std::size_t kPairsPerWord = Pairs::kPairsPerWord;
  static constexpr std::size_t kPairElements = 2 * kPanelRows;  // a pair of k of a panel's rows
  static constexpr std::size_t kPanels = (kRows + kPanelRows - 1) / kPanelRows;
  static constexpr std::size_t kWordsPerGroup = kNf4Block / (2 * kPairsPerWord) / Pairs::kGroups;
  using Sums = __m512i[kTiles][kRows];

  // From a block to the one to fetch meanwhile: some blocks on in its tile or, at the tile's end,
  // as far into the tile that follows in this lane. Without that an eighth of a matrix of 2048
  // input features was waited for: no processor guesses where the next tiles begin.
  static std::size_t bytes_ahead(const TileView& weights, Blocks blocks, std::size_t b) {
    const std::size_t bytes = Pairs::kBlocksAhead * Pairs::kBlockBytes;
    if (b + Pairs::kBlocksAhead < blocks.end) return bytes;
    return bytes + kTiles * weights.tile_bytes - (blocks.end - blocks.begin) * Pairs::kBlockBytes;
  }

  TESSERA_ALWAYS_INLINE static void clear(Sums& sums) {
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) sums[t][r] = _mm512_setzero_si512();
    }
  }

  // In assembly only so that their order stays as written: GCC 12 would load a dozen pairs ahead
  // and have no registers left for the sums.
  TESSERA_ALWAYS_INLINE static __m512i pair_of(const std::int16_t* x) {
    __m512i pair;
    asm volatile("vpbroadcastd %1, %0" : "=v"(pair) : "m"(*reinterpret_cast<const int*>(x)));
    return pair;
  }
  TESSERA_ALWAYS_INLINE static void add_products(__m512i& sum, __m512i a, __m512i b) {
    asm volatile("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }

  // One load of weights from each tile: four pairs of k.
  TESSERA_ALWAYS_INLINE static void add_words(const Pairs& pairs, const std::byte* weights,
                                              std::size_t tile_bytes, const std::int16_t* x,
                                              std::size_t panel, std::size_t ahead, Sums& sums) {
    const std::int16_t* panels[kPanels];
    TESSERA_UNROLL
    for (std::size_t i = 0; i < kPanels; ++i) {
      panels[i] = x + i * panel;
      asm("" : "+r"(panels[i]));  // one register a panel, not one a row
    }

    __m512i words[kTiles];
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      words[t] = _mm512_loadu_si512(weights + t * tile_bytes);
      __builtin_prefetch(weights + t * tile_bytes + ahead);
    }
    TESSERA_UNROLL
    for (std::size_t p = 0; p < kPairsPerWord; ++p) {
      __m512i weight[kTiles];
      TESSERA_UNROLL
      for (std::size_t t = 0; t < kTiles; ++t) {
        weight[t] = pairs.take(words[t]);
      }
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        const __m512i x_pair =
            pair_of(panels[r / kPanelRows] + p * kPairElements + r % kPanelRows * 2);
        TESSERA_UNROLL
        for (std::size_t t = 0; t < kTiles; ++t) {
          add_products(sums[t][r], weight[t], x_pair);
        }
      }
    }
  }

  TESSERA_ALWAYS_INLINE static void prefetch_scales(const std::byte* block, std::size_t tile_bytes,
                                                    std::size_t g) {
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t, block += tile_bytes) Pairs::prefetch_group(block, g);
  }

  TESSERA_ALWAYS_INLINE static void add_group(const std::byte* block, std::size_t tile_bytes,
                                              std::size_t g, const Sums& sums, Int16Rows x,
                                              bool is_first, Rows y) {
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t, block += tile_bytes) {
      const __m512 scale = Pairs::scale(block, g);
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        float* at = y.data + r * y.stride + t * kTileFeatures;
        __m512 sum = is_first ? _mm512_setzero_ps() : _mm512_loadu_ps(at);
        const float* x_unit = x.units + r / kPanelRows * x.units_panel + r % kPanelRows;
        const __m512 unit = _mm512_mul_ps(scale, _mm512_set1_ps(*x_unit));
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[t][r]), unit, sum);
        if constexpr (Pairs::kHasOffsets) {
          sum = _mm512_fmadd_ps(Pairs::offset(block, g), _mm512_set1_ps(*sum_of(x, r, g)), sum);
        }
        _mm512_storeu_ps(at, sum);
      }
    }
  }

  // The sum of a group of row r, of those that Int16Rows has of a block.
  TESSERA_ALWAYS_INLINE static const float* sum_of(Int16Rows x, std::size_t r, std::size_t g) {
    return x.sums + r / kPanelRows * x.sums_panel + (Pairs::kGroups - 1 + g) * kPanelRows +
           r % kPanelRows;
  }
};

// Tiles [begin, end) for kRows rows, as many at a time as the registers hold.
template <class Pairs, std::size_t kRows>
void multiply_tile_range(const TileView& weights, std::size_t begin, std::size_t end, Blocks blocks,
                         Int16Rows x, Rows y) {
  constexpr std::size_t kTiles = tiles_for_rows(kRows);
  std::size_t tile = begin;
  for (; tile + kTiles <= end; tile += kTiles) {
    MicroKernel<Pairs, kRows, kTiles>::run(weights, tile, blocks, x, y);
  }
  for (; tile < end; ++tile) MicroKernel<Pairs, kRows, 1>::run(weights, tile, blocks, x, y);
}

// Calls multiply_tile_range for `rows` rows, 1 <= rows <= kRows.
template <class Pairs, std::size_t kRows = kMaxRows>
void multiply_row_group(const TileView& weights, std::size_t begin, std::size_t end, Blocks blocks,
                        Int16Rows x, std::size_t rows, Rows y) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      multiply_row_group<Pairs, kRows - 1>(weights, begin, end, blocks, x, rows, y);
      return;
    }
  }
  multiply_tile_range<Pairs, kRows>(weights, begin, end, blocks, x, y);
}

// `row` is the first of a panel.
template <class Pairs>
Int16Rows from_row(Int16Rows x, std::size_t row) {
  x.data += row / kPanelRows * x.panel;
  x.units += row / kPanelRows * x.units_panel;
  if constexpr (Pairs::kHasOffsets) x.sums += row / kPanelRows * x.sums_panel;
  return x;
}

// How many rows are cut, so that what they share stays in the first-level cache: some go through
// two tiles at a time from front to back; many, whose x is too large for that, through strips of
// four tiles in chunks of 512 input features, which for 512 rows fill half a megabyte of the
// second-level cache.
struct Cut {
  std::size_t strip;  // tiles
  std::size_t chunk;  // blocks
};
constexpr Cut cut_for(std::size_t rows, std::size_t num_blocks) {
  return rows <= 64 ? Cut{2, num_blocks} : Cut{4, 8};
}

// So few rows that registers hold them all go through their tiles in one stream of reads.
template <class Pairs>
void multiply(const TileView& weights, int begin, int end, const Activations& activations,
              int num_rows, Rows y) {
  constexpr std::size_t kGroup = 12;  // rows: whole panels, and two tiles at a time
  const Int16Rows& x = activations.int16;
  const auto rows = static_cast<std::size_t>(num_rows);
  const auto first_tile = static_cast<std::size_t>(begin);
  const auto last_tile = static_cast<std::size_t>(end);
  const auto num_blocks = static_cast<std::size_t>(weights.num_blocks);
  if (rows == 0) return;
  if (rows <= kMaxRows) {
    multiply_row_group<Pairs>(weights, first_tile, last_tile, {0, num_blocks}, x, rows, y);
    return;
  }
  const Cut cut = cut_for(rows, num_blocks);
  for (std::size_t b = 0; b < num_blocks; b += cut.chunk) {
    const Blocks chunk{b, smaller(b + cut.chunk, num_blocks)};
    for (std::size_t strip = first_tile; strip < last_tile; strip += cut.strip) {
      const std::size_t strip_end = smaller(strip + cut.strip, last_tile);
      for (std::size_t row = 0; row < rows; row += kGroup) {
        multiply_row_group<Pairs>(weights, strip, strip_end, chunk, from_row<Pairs>(x, row),
                                  smaller(kGroup, rows - row), {y.data + row * y.stride, y.stride});
      }
    }
  }
}

// Largest magnitude of 64 values, as bits, among which those of a NaN are the largest.
inline float largest_magnitude(const float* x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  __m512i largest = _mm512_setzero_si512();
  for (int i = 0; i < kNf4Block; i += 16) {
    const __m512i bits = _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude);
    largest = _mm512_max_epu32(largest, bits);
  }
  const std::uint32_t bits = _mm512_reduce_max_epu32(largest);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// 64 values to integers, to nearest, ties to even.
inline void round_block(const float* x, float factor, std::int16_t* integers) {
  for (int i = 0; i < kNf4Block; i += 16) {
    const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(factor));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(integers + i),
                        _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(scaled)));
  }
}

// A block with an infinity or a NaN has such a unit, so that its sums are not finite either.
inline void quantise(const float* x, int num_blocks, std::int16_t* y, float* units) {
  constexpr float kLargest = static_cast<float>(kLargestActivation);
  for (int b = 0; b < num_blocks; ++b, x += kNf4Block, units += kPanelRows) {
    const float largest = largest_magnitude(x);
    *units = largest * (1.0F / kLargest / kBookFactor);
    alignas(64) std::int16_t integers[kNf4Block];
    round_block(x, largest > 0.0F ? kLargest / largest : 0.0F, integers);
    for (int i = 0; i < kNf4Block; i += 2, y += 2 * kPanelRows) {
      std::memcpy(y, integers + i, 2 * sizeof *y);
    }
  }
}

// What quantise() has made, summed by groups of 64, 32 and 16.
inline void sum_groups(const std::int16_t* y, const float* units, int num_blocks, float* sums) {
  for (int b = 0; b < num_blocks; ++b, units += kPanelRows, sums += kSumsPerBlock * kPanelRows) {
    std::int32_t group[kMaxTileGroups] = {};
    for (std::int32_t& sum : group) {
      for (int i = 0; i < kNf4Block / 4; i += 2, y += 2 * kPanelRows) sum += y[0] + y[1];
    }
    const std::int32_t half[2] = {group[0] + group[1], group[2] + group[3]};
    const std::int32_t all[kSumsPerBlock] = {half[0] + half[1], half[0],  half[1], group[0],
                                             group[1],          group[2], group[3]};
    const float unit = *units * kBookFactor;
    for (std::size_t i = 0; i < kSumsPerBlock; ++i) {
      sums[i * kPanelRows] = static_cast<float>(all[i]) * unit;
    }
  }
}

}  // namespace tessera::int16

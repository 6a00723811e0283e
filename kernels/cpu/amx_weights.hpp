// amx_weights.hpp — blocks of weights (tile_format.hpp) made into what the tile unit multiplies:
// for each digit a tile of bytes, in the order of k of amx_format.hpp, and the block's scales
// behind them, in units of the integers' products as int16_kernels.hpp has them.
//
// Included by one file that is compiled for AMX (vec.hpp on the one-definition rule).
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/cpu/amx_digits.hpp"
#include "kernels/cpu/amx_format.hpp"
#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/int16_book.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/tile_format.hpp"

namespace tessera::amx {

// Of a book of sixteen integers, in two digits.
class BookDigits {
 public:
  static constexpr TileCodes kCodes = TileCodes::kBook16;
  static constexpr std::size_t kDigits = 2;

  explicit BookDigits(const TileView& weights) {
    const auto* book = reinterpret_cast<const __m256i*>(weights.integers);
    const Digits digits = digits_of(_mm512_cvtepi16_epi32(_mm256_loadu_si256(book)));
    high_ = four_times(digits.high);
    low_ = four_times(digits.low);
  }

  // A permute looks at six bits of a byte: the code and half of its neighbour, which the table,
  // four times the book, does not mind. So a word needs one shift, and no mask.
  TESSERA_ALWAYS_INLINE void decode(const std::byte* codes, std::byte* tiles) const {
    TESSERA_UNROLL
    for (std::size_t word = 0; word < 8; ++word, tiles += 2 * kSplitRowBytes) {
      const __m512i lower = _mm512_loadu_si512(codes + word * kTileWordBytes);
      const __m512i upper = _mm512_srli_epi16(lower, 4);
      _mm512_store_si512(tiles, _mm512_permutexvar_epi8(lower, high_));
      _mm512_store_si512(tiles + kSplitRowBytes, _mm512_permutexvar_epi8(upper, high_));
      _mm512_store_si512(tiles + kSplitTileBytes, _mm512_permutexvar_epi8(lower, low_));
      _mm512_store_si512(tiles + kSplitTileBytes + kSplitRowBytes,
                         _mm512_permutexvar_epi8(upper, low_));
    }
  }
  // In units of the integers' products: so they are packed.
  static __m512 scale(const std::byte* scales) { return _mm512_loadu_ps(scales); }

 private:
  static __m512i four_times(__m512i bytes) {
    return _mm512_broadcast_i32x4(_mm512_cvtepi32_epi8(bytes));
  }

  __m512i high_;
  __m512i low_;
};

// Of integers of eight bits: one digit.
class IntegerDigits {
 public:
  static constexpr TileCodes kCodes = TileCodes::kInt8;
  static constexpr std::size_t kDigits = 1;

  explicit IntegerDigits(const TileView&) {}

  // Of eight k, a word has {0 2 1 3} and the next one {4 6 5 7}.
  TESSERA_ALWAYS_INLINE static void decode(const std::byte* codes, std::byte* tiles) {
    constexpr __mmask64 kOddBytes = 0xAAAAAAAAAAAAAAAA;
    TESSERA_UNROLL
    for (std::size_t word = 0; word < 16; word += 2) {
      const __m512i first = _mm512_loadu_si512(codes + word * kTileWordBytes);
      const __m512i second = _mm512_loadu_si512(codes + (word + 1) * kTileWordBytes);
      _mm512_store_si512(tiles + word * kSplitRowBytes,
                         _mm512_mask_blend_epi8(kOddBytes, first, _mm512_slli_epi16(second, 8)));
      _mm512_store_si512(tiles + (word + 1) * kSplitRowBytes,
                         _mm512_mask_blend_epi8(kOddBytes, _mm512_srli_epi16(first, 8), second));
    }
  }
  // The units of x are made for weights in units of NF4's book.
  static __m512 scale(const std::byte* scales) {
    return _mm512_mul_ps(_mm512_loadu_ps(scales), _mm512_set1_ps(kBookFactor));
  }
};

// A block of weights, decoded: a tile for each digit, and by groups, of sixteen outputs each.
template <std::size_t kDigits, std::size_t kGroups, bool kOffsets>
struct alignas(64) DecodedBlock {
  std::byte tiles[kDigits * kSplitTileBytes];
  float scales[kGroups][kTileFeatures];
  float offsets[kOffsets ? kGroups : 1][kTileFeatures];  // if there are any
};

// Codes in groups, with offsets or without.
template <class Codes, std::size_t kNumGroups, bool kOffsets>
class GroupDigits : public Codes {
 public:
  static constexpr std::size_t kGroups = kNumGroups;
  static constexpr bool kHasOffsets = kOffsets;
  static constexpr std::size_t kBlockBytes = kTileBlockBytes<Codes::kCodes, kGroups, kOffsets>;
  using Decoded = DecodedBlock<Codes::kDigits, kGroups, kOffsets>;

  using Codes::Codes;

  TESSERA_ALWAYS_INLINE void decode(const std::byte* block, Decoded& decoded) const {
    Codes::decode(block, decoded.tiles);
    block += kTileCodesBytes<Codes::kCodes>;
    TESSERA_UNROLL
    for (std::size_t g = 0; g < kGroups; ++g, block += kTileWordBytes) {
      _mm512_store_ps(decoded.scales[g], Codes::scale(block));
      if constexpr (kHasOffsets) {
        _mm512_store_ps(decoded.offsets[g], _mm512_loadu_ps(block + kGroups * kTileWordBytes));
      }
    }
  }
};

}  // namespace tessera::amx

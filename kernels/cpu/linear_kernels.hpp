// linear_kernels.hpp — y = W x with W in tiles of 16 output features: NF4, int8 or bf16.
//
// The order of summation, for every output and whatever the number of rows or threads:
//
//   sum = 0
//   for each block of 64 input features, ascending:
//     partial = 0
//     for each k in the block, ascending:  partial = fma(value(w[k]), x[k], partial)
//     sum = fma(partial, scale of the block, sum)         (bf16 has no scale: sum + partial)
//
// Lanes are output features, so nothing is ever summed across lanes. A micro-kernel holds R rows x
// T tiles of partial sums in registers and decodes each weight once for its R rows; R and T change
// what is shared, never the order. It asks for the weights a few blocks ahead, since the hardware's
// own prefetchers do not follow several tiles at the speed at which they are used.
#pragma once

#include <cstddef>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/tile_format.hpp"
#include "kernels/nf4.hpp"

namespace tessera {

// Sixteen words hold eight NF4 codes of each of the sixteen output features: those of even k in the
// lower halves and those of odd k in the upper, the first in the lowest bits.
template <class V>
class Nf4Decoder {
 public:
  static constexpr std::size_t kWeightsPerWord = 8;
  static constexpr std::size_t kBlockBytes = kNf4TileBlockBytes;
  static constexpr std::size_t kPrefetchBytes = 4 * kBlockBytes;

  Nf4Decoder() : values_(V::load_table(kNf4Values.data())) {}

  // Weight k of the words, k ascending; an odd one shifts its pair out.
  typename V::Float take(typename V::Word& words, std::size_t k) const {
    if (k % 2 == 0) return V::lookup(values_, words);
    const auto weight = V::lookup(values_, V::template shift_right<16>(words));
    words = V::template shift_right<4>(words);
    return weight;
  }
  static typename V::Float add_block(const std::byte* block, typename V::Float partial,
                                     typename V::Float sum) {
    const auto scale = V::load(reinterpret_cast<const float*>(block + kNf4TileCodesBytes));
    return V::fma(partial, scale, sum);
  }

 private:
  typename V::Table values_;
};

// Sixteen words hold four integers each, even k in the lower halves and odd k in the upper.
template <class V>
class Int8Decoder {
 public:
  static constexpr std::size_t kWeightsPerWord = 4;
  static constexpr std::size_t kBlockBytes = kInt8TileBlockBytes;
  static constexpr std::size_t kPrefetchBytes = 2 * kBlockBytes;

  Int8Decoder()
      : sign_bit_(V::as_words(V::set(-0.0F))), two_to_23_(V::as_words(V::set(8388608.0F))) {}

  // The byte of weight k moves to the top, where flipping the sign makes it q + 128; added to the
  // bits of 2^23, that is the float 2^23 + q + 128.
  typename V::Float take(typename V::Word& words, std::size_t k) const {
    constexpr int kShift[] = {24, 8, 16, 0};
    const auto top = k == 0   ? V::template shift_left<kShift[0]>(words)
                     : k == 1 ? V::template shift_left<kShift[1]>(words)
                     : k == 2 ? V::template shift_left<kShift[2]>(words)
                              : words;
    const auto biased = V::template shift_right<24>(V::add_words(top, sign_bit_));
    const auto shifted = V::as_float(V::add_words(biased, two_to_23_));
    return V::sub(shifted, V::set(8388608.0F + 128.0F));
  }
  static typename V::Float add_block(const std::byte* block, typename V::Float partial,
                                     typename V::Float sum) {
    const auto scale = V::load(reinterpret_cast<const float*>(block + kInt8TileCodesBytes));
    return V::fma(partial, scale, sum);
  }

 private:
  typename V::Word sign_bit_;
  typename V::Word two_to_23_;
};

// Sixteen words hold two bf16 weights each; the first in the lower half.
template <class V>
class Bf16Decoder {
 public:
  static constexpr std::size_t kWeightsPerWord = 2;
  static constexpr std::size_t kBlockBytes = kBf16TileBlockBytes;
  static constexpr std::size_t kPrefetchBytes = kBlockBytes;

  typename V::Float take(typename V::Word& words, std::size_t) const {
    const auto weight = V::as_float(V::template shift_left<16>(words));
    words = V::template shift_right<16>(words);
    return weight;
  }
  static typename V::Float add_block(const std::byte*, typename V::Float partial,
                                     typename V::Float sum) {
    return V::add(sum, partial);
  }
};

// kTiles tiles of weights times kRows rows of x.
template <class V, class Decoder, std::size_t kRows, std::size_t kTiles>
class MicroKernel {
 public:
  static void run(const TileView& weights, std::size_t tile, ConstRows x, Rows y) {
    const Decoder decoder;
    const std::byte* block = weights.tiles + tile * weights.tile_bytes;
    Sums sum;
    clear(sum);
    for (int b = 0; b < weights.num_blocks; ++b, block += Decoder::kBlockBytes) {
      Sums partial;
      clear(partial);
      for (std::size_t group = 0; group < kGroups; ++group, x.data += Decoder::kWeightsPerWord) {
        add_group(decoder, block + group * kTileWordBytes, weights.tile_bytes, x, partial);
      }
      add_block(block, weights.tile_bytes, partial, sum);
    }
    store(sum, {y.data + tile * kTileFeatures, y.stride});
  }

 private:
  static constexpr std::size_t kGroups = kNf4Block / Decoder::kWeightsPerWord;

  struct Sums {
    typename V::Float at[kTiles][kRows];
  };

  TESSERA_ALWAYS_INLINE static void clear(Sums& sums) {
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) sums.at[t][r] = V::zero();
    }
  }

  // One load of weights from each tile.
  TESSERA_ALWAYS_INLINE static void add_group(const Decoder& decoder, const std::byte* weights,
                                              std::size_t tile_bytes, ConstRows x, Sums& partial) {
    typename V::Word words[kTiles];
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      words[t] = V::load_words(weights + t * tile_bytes);
      __builtin_prefetch(weights + t * tile_bytes + Decoder::kPrefetchBytes);
    }
    TESSERA_UNROLL
    for (std::size_t k = 0; k < Decoder::kWeightsPerWord; ++k) {
      typename V::Float weight[kTiles];
      TESSERA_UNROLL
      for (std::size_t t = 0; t < kTiles; ++t) weight[t] = decoder.take(words[t], k);
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto x_k = V::set(x.data[r * x.stride + k]);
        TESSERA_UNROLL
        for (std::size_t t = 0; t < kTiles; ++t) {
          partial.at[t][r] = V::fma(weight[t], x_k, partial.at[t][r]);
        }
      }
    }
  }

  TESSERA_ALWAYS_INLINE static void add_block(const std::byte* block, std::size_t tile_bytes,
                                              const Sums& partial, Sums& sum) {
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t, block += tile_bytes) {
      __builtin_prefetch(block + Decoder::kPrefetchBytes + Decoder::kBlockBytes - 1);
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        sum.at[t][r] = Decoder::add_block(block, partial.at[t][r], sum.at[t][r]);
      }
    }
  }

  TESSERA_ALWAYS_INLINE static void store(const Sums& sum, Rows y) {
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      TESSERA_UNROLL
      for (std::size_t t = 0; t < kTiles; ++t) {
        V::store(y.data + r * y.stride + t * kTileFeatures, sum.at[t][r]);
      }
    }
  }
};

// Tiles [begin, end) for kRows rows, as many at a time as the registers hold.
template <class V, class Decoder, std::size_t kRows>
void multiply_tile_range(const TileView& weights, std::size_t begin, std::size_t end, ConstRows x,
                         Rows y) {
  constexpr std::size_t kTiles = V::tiles_for_rows(kRows);
  std::size_t tile = begin;
  for (; tile + kTiles <= end; tile += kTiles) {
    MicroKernel<V, Decoder, kRows, kTiles>::run(weights, tile, x, y);
  }
  for (; tile < end; ++tile) MicroKernel<V, Decoder, kRows, 1>::run(weights, tile, x, y);
}

// Calls multiply_tile_range for `rows` rows, 1 <= rows <= kRows.
template <class V, class Decoder, std::size_t kRows = V::kMaxRows>
void multiply_row_group(const TileView& weights, std::size_t begin, std::size_t end, ConstRows x,
                        std::size_t rows, Rows y) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      multiply_row_group<V, Decoder, kRows - 1>(weights, begin, end, x, rows, y);
      return;
    }
  }
  multiply_tile_range<V, Decoder, kRows>(weights, begin, end, x, y);
}

// Rows whose x fits in half a megabyte go through all the tiles together, so that x stays in the
// second-level cache; within them a strip of tiles is decoded for every group of rows in turn, so
// that its codes stay in the first-level cache.
template <class V, class Decoder>
void multiply(const TileView& weights, int begin, int end, const Activations& activations,
              int num_rows, Rows y) {
  const ConstRows x = activations.fp32;
  constexpr std::size_t kStrip = 8;
  constexpr std::size_t kCacheFloats = 512 * 1024 / sizeof(float);
  constexpr std::size_t kGroup = V::kMaxRows;
  const auto rows = static_cast<std::size_t>(num_rows);
  const auto last_tile = static_cast<std::size_t>(end);
  const std::size_t groups =
      kCacheFloats / (kGroup * static_cast<std::size_t>(weights.num_blocks) * kNf4Block);
  const std::size_t rows_together = groups == 0 ? kGroup : groups * kGroup;
  for (std::size_t first = 0; first < rows; first += rows_together) {
    const std::size_t last = first + rows_together < rows ? first + rows_together : rows;
    for (auto strip = static_cast<std::size_t>(begin); strip < last_tile; strip += kStrip) {
      const std::size_t strip_end = strip + kStrip < last_tile ? strip + kStrip : last_tile;
      for (std::size_t row = first; row < last; row += kGroup) {
        multiply_row_group<V, Decoder>(
            weights, strip, strip_end, {x.data + row * x.stride, x.stride},
            last - row < kGroup ? last - row : kGroup, {y.data + row * y.stride, y.stride});
      }
    }
  }
}

}  // namespace tessera

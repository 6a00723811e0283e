// linear_kernels.hpp — y = W x with W in tiles of 16 output features: codes of four bits, int8 or
// bf16 (tile_format.hpp).
//
// The order of summation, for every output and whatever the number of rows or threads:
//
//   sum = 0
//   for each group of each block of 64 input features, ascending:
//     partial = 0
//     for each k in the group, ascending:  partial = fma(value(w[k]), x[k], partial)
//     sum = fma(partial, scale of the group, sum)
//
// bf16 has no scale: sum + partial. With offsets, value is fma(code's value, scale, offset), and
// the sum is sum + partial.
//
// Lanes are output features, so nothing is ever summed across lanes. A micro-kernel holds R rows x
// T tiles of partial sums in registers and decodes each weight once for its R rows; R and T change
// what is shared, never the order. It asks for the weights a few blocks ahead, since the hardware's
// own prefetchers do not follow several tiles at the speed at which they are used.
#pragma once

#include <cstddef>
#include <type_traits>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/tile_format.hpp"
#include "kernels/nf4.hpp"

namespace tessera {

// Sixteen words hold eight codes of each of the sixteen output features: those of even k in the
// lower halves and those of odd k in the upper, the first in the lowest bits.
template <class V>
class BookCodes {
 public:
  static constexpr TileCodes kCodes = TileCodes::kBook16;
  static constexpr std::size_t kWeightsPerWord = 8;

  explicit BookCodes(const TileView& weights) : values_(V::load_table(weights.book)) {}

  // Weight k of the words, k ascending; an odd one shifts its pair out.
  typename V::Float take(typename V::Word& words, std::size_t k) const {
    if (k % 2 == 0) return V::lookup(values_, words);
    const auto weight = V::lookup(values_, V::template shift_right<16>(words));
    words = V::template shift_right<4>(words);
    return weight;
  }

 private:
  typename V::Table values_;
};

// Sixteen words hold four integers each, even k in the lower halves and odd k in the upper.
template <class V>
class IntegerCodes {
 public:
  static constexpr TileCodes kCodes = TileCodes::kInt8;
  static constexpr std::size_t kWeightsPerWord = 4;

  explicit IntegerCodes(const TileView&)
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

 private:
  typename V::Word sign_bit_;
  typename V::Word two_to_23_;
};

// Codes in groups: `Group` is what a group's weights need besides their codes.
template <class V, class Codes, std::size_t kNumGroups, bool kHasOffsets>
class GroupDecoder {
 public:
  using Float = typename V::Float;
  static constexpr std::size_t kWeightsPerWord = Codes::kWeightsPerWord;
  static constexpr std::size_t kGroups = kNumGroups;
  static constexpr std::size_t kBlockBytes = kTileBlockBytes<Codes::kCodes, kGroups, kHasOffsets>;
  static constexpr std::size_t kPrefetchBytes =
      (Codes::kCodes == TileCodes::kBook16 ? 4 : 2) * kBlockBytes;

  struct None {};
  struct Affine {
    Float scale;
    Float offset;
  };
  using Group = std::conditional_t<kHasOffsets, Affine, None>;

  explicit GroupDecoder(const TileView& weights) : codes_(weights) {}

  static Group group(const std::byte* block, std::size_t g) {
    if constexpr (kHasOffsets) {
      return {scale(block, g), V::load(scales(block) + (kGroups + g) * kTileFeatures)};
    } else {
      return {};
    }
  }
  static void prefetch_group(const std::byte* block, std::size_t g) {
    prefetch(scales(block) + g * kTileFeatures);
    if constexpr (kHasOffsets) prefetch(scales(block) + (kGroups + g) * kTileFeatures);
  }
  Float take(typename V::Word& words, std::size_t k, const Group& group) const {
    if constexpr (kHasOffsets) {
      return V::fma(codes_.take(words, k), group.scale, group.offset);
    } else {
      return codes_.take(words, k);
    }
  }
  static Float add_group(const std::byte* block, std::size_t g, Float partial, Float sum) {
    if constexpr (kHasOffsets) {
      return V::add(sum, partial);
    } else {
      return V::fma(partial, scale(block, g), sum);
    }
  }

 private:
  static const float* scales(const std::byte* block) {
    return reinterpret_cast<const float*>(block + kTileCodesBytes<Codes::kCodes>);
  }
  static Float scale(const std::byte* block, std::size_t g) {
    return V::load(scales(block) + g * kTileFeatures);
  }

  static void prefetch(const float* scales) {
    __builtin_prefetch(reinterpret_cast<const std::byte*>(scales) + kPrefetchBytes);
  }

  Codes codes_;
};

// Sixteen words hold two bf16 weights each; the first in the lower half.
template <class V>
class Bf16Decoder {
 public:
  static constexpr std::size_t kWeightsPerWord = 2;
  static constexpr std::size_t kGroups = 1;
  static constexpr std::size_t kBlockBytes = kBf16TileBlockBytes;
  static constexpr std::size_t kPrefetchBytes = kBlockBytes;
  struct Group {};

  explicit Bf16Decoder(const TileView&) {}

  static Group group(const std::byte*, std::size_t) { return {}; }
  static void prefetch_group(const std::byte*, std::size_t) {}
  typename V::Float take(typename V::Word& words, std::size_t, const Group&) const {
    const auto weight = V::as_float(V::template shift_left<16>(words));
    words = V::template shift_right<16>(words);
    return weight;
  }
  static typename V::Float add_group(const std::byte*, std::size_t, typename V::Float partial,
                                     typename V::Float sum) {
    return V::add(sum, partial);
  }
};

// kTiles tiles of weights times kRows rows of x.
template <class V, class Decoder, std::size_t kRows, std::size_t kTiles>
class MicroKernel {
 public:
  static void run(const TileView& weights, std::size_t tile, ConstRows x, Rows y) {
    const Decoder decoder(weights);
    const std::byte* block = weights.tiles + tile * weights.tile_bytes;
    Sums sum;
    clear(sum);
    for (int b = 0; b < weights.num_blocks; ++b, block += Decoder::kBlockBytes) {
      for (std::size_t g = 0; g < Decoder::kGroups; ++g) {
        const std::byte* words = block + g * kWordsPerGroup * kTileWordBytes;
        Sums partial;
        clear(partial);
        const Groups groups = groups_of(block, weights.tile_bytes, g);
        for (std::size_t i = 0; i < kWordsPerGroup; ++i, x.data += Decoder::kWeightsPerWord) {
          add_words(decoder, words + i * kTileWordBytes, weights.tile_bytes, groups, x, partial);
        }
        add_group(block, weights.tile_bytes, g, partial, sum);
      }
    }
    store(sum, {y.data + tile * kTileFeatures, y.stride});
  }

 private:
  static constexpr std::size_t kWordsPerGroup =
      kNf4Block / Decoder::kWeightsPerWord / Decoder::kGroups;

  struct Sums {
    typename V::Float at[kTiles][kRows];
  };
  struct Groups {
    typename Decoder::Group at[kTiles];
  };

  TESSERA_ALWAYS_INLINE static void clear(Sums& sums) {
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) sums.at[t][r] = V::zero();
    }
  }

  TESSERA_ALWAYS_INLINE static Groups groups_of(const std::byte* block, std::size_t tile_bytes,
                                                std::size_t g) {
    Groups groups;
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
      groups.at[t] = Decoder::group(block + t * tile_bytes, g);
    }
    return groups;
  }

  // One load of weights from each tile.
  TESSERA_ALWAYS_INLINE static void add_words(const Decoder& decoder, const std::byte* weights,
                                              std::size_t tile_bytes, const Groups& groups,
                                              ConstRows x, Sums& partial) {
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
      for (std::size_t t = 0; t < kTiles; ++t) {
        weight[t] = decoder.take(words[t], k, groups.at[t]);
      }
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

  TESSERA_ALWAYS_INLINE static void add_group(const std::byte* block, std::size_t tile_bytes,
                                              std::size_t g, const Sums& partial, Sums& sum) {
    TESSERA_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t, block += tile_bytes) {
      Decoder::prefetch_group(block, g);
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        sum.at[t][r] = Decoder::add_group(block, g, partial.at[t][r], sum.at[t][r]);
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

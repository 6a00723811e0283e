#include "kernels/cpu/tiled_matrix.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <vector>

namespace tessera {
namespace {

using Words = std::uint32_t[kTileFeatures];

std::size_t index(int row, int columns) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns);
}

// Output n of one block: 64 codes, the earlier of a pair in the high half of its byte, become 8
// words with the earlier of each pair in the lower half.
void pack_codes(const std::uint8_t* codes, int n, std::byte* block) {
  for (std::size_t group = 0; group < 8; ++group) {
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint32_t pair = codes[group * 4 + i];
      word |= (pair >> 4 | (pair & 15U) << 16) << (4 * i);
    }
    std::memcpy(block + group * kTileWordBytes + static_cast<std::size_t>(n) * 4, &word, 4);
  }
}

void pack_scale(float scale, int n, std::byte* scales) {
  std::memcpy(scales + static_cast<std::size_t>(n) * 4, &scale, 4);
}

// Output n of one block: 64 weights become integers, four a word.
void pack_integers(const Bf16* weights, int n, std::byte* block) {
  float largest = 0.0F;
  for (int i = 0; i < kNf4Block; ++i) {
    largest = std::max(largest, std::abs(bf16_to_float(weights[i])));
  }
  const float factor = largest > 0.0F ? 127.0F / largest : 0.0F;
  const auto integer = [&](std::size_t i) {
    const long rounded = std::lrint(bf16_to_float(weights[i]) * factor);
    return static_cast<std::uint32_t>(rounded) & 0xFFU;
  };
  for (std::size_t group = 0; group < 16; ++group) {
    const std::size_t k = 4 * group;
    const std::uint32_t word =
        integer(k) | integer(k + 2) << 8 | integer(k + 1) << 16 | integer(k + 3) << 24;
    std::memcpy(block + group * kTileWordBytes + static_cast<std::size_t>(n) * 4, &word, 4);
  }
  pack_scale(largest / 127.0F, n, block + kInt8TileCodesBytes);
}

// Output n of one block: 64 weights, two a word.
void pack_weights(const Bf16* weights, int n, std::byte* block) {
  for (std::size_t group = 0; group < 32; ++group) {
    std::memcpy(block + group * kTileWordBytes + static_cast<std::size_t>(n) * 4,
                weights + 2 * group, 4);
  }
}

// Calls pack(n) for every output, each tile by one thread.
template <class Pack>
void for_each_output(int out_features, ThreadPool& pool, const Pack& pack) {
  pool.run([&](int thread) {
    const Range tiles = part_of(num_tiles(out_features), thread, pool.num_threads());
    const int end = std::min(tiles.end * kTileFeatures, out_features);
    for (int n = tiles.begin * kTileFeatures; n < end; ++n) pack(n);
  });
}

}  // namespace

TiledMatrix::TiledMatrix(int out_features, int in_features, std::size_t block_bytes)
    : out_features_(out_features),
      num_blocks_(in_features / kNf4Block),
      block_bytes_(block_bytes),
      tile_bytes_(static_cast<std::size_t>(num_blocks_) * block_bytes),
      bytes_(static_cast<std::size_t>(num_tiles(out_features)) * tile_bytes_) {
  assert(in_features % kNf4Block == 0);
}

std::byte* TiledMatrix::block(int tile, int block_index) {
  return bytes_.data() + static_cast<std::size_t>(tile) * tile_bytes_ +
         static_cast<std::size_t>(block_index) * block_bytes_;
}

TiledMatrix::TiledMatrix(const Nf4Matrix& matrix, ThreadPool& pool)
    : TiledMatrix(matrix.rows, matrix.cols, kNf4TileBlockBytes) {
  std::vector<float> absmax(index(matrix.rows, num_blocks_));
  decode_absmax(matrix, absmax);
  for_each_output(matrix.rows, pool, [&](int row) {
    for (int b = 0; b < num_blocks_; ++b) {
      const std::size_t source = index(row, num_blocks_) + static_cast<std::size_t>(b);
      std::byte* destination = block(row / kTileFeatures, b);
      pack_codes(matrix.codes + source * kNf4Block / 2, row % kTileFeatures, destination);
      pack_scale(absmax[source], row % kTileFeatures, destination + kNf4TileCodesBytes);
    }
  });
}

TiledMatrix::TiledMatrix(const Bf16* weights, int out_features, int in_features, HeadForm form,
                         ThreadPool& pool)
    : TiledMatrix(out_features, in_features,
                  form == HeadForm::kInt8 ? kInt8TileBlockBytes : kBf16TileBlockBytes) {
  const auto pack = form == HeadForm::kInt8 ? pack_integers : pack_weights;
  for_each_output(out_features, pool, [&](int row) {
    for (int b = 0; b < num_blocks_; ++b) {
      pack(weights + index(row, in_features) + b * kNf4Block, row % kTileFeatures,
           block(row / kTileFeatures, b));
    }
  });
}

}  // namespace tessera

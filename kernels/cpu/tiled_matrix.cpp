#include "kernels/cpu/tiled_matrix.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <vector>

namespace tessera {
namespace {

using Words = std::uint32_t[kTileFeatures];

std::size_t index(int row, int columns) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns);
}

// Output n of one block: 64 codes, the earlier of a pair in the high half of its byte, become 8
// words with the earlier code lower.
void pack_codes(const std::uint8_t* codes, int n, std::byte* block) {
  for (std::size_t group = 0; group < 8; ++group) {
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint32_t pair = codes[group * 4 + i];
      word |= (pair >> 4 | (pair & 15U) << 4) << (8 * i);
    }
    std::memcpy(block + group * kTileWordBytes + static_cast<std::size_t>(n) * 4, &word, 4);
  }
}

void pack_scale(float scale, int n, std::byte* block) {
  std::memcpy(block + kNf4TileCodesBytes + static_cast<std::size_t>(n) * 4, &scale, 4);
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
      pack_scale(absmax[source], row % kTileFeatures, destination);
    }
  });
}

TiledMatrix::TiledMatrix(const Bf16* weights, int out_features, int in_features, ThreadPool& pool)
    : TiledMatrix(out_features, in_features, kBf16TileBlockBytes) {
  for_each_output(out_features, pool, [&](int row) {
    for (int b = 0; b < num_blocks_; ++b) {
      const Bf16* source = weights + index(row, in_features) + b * kNf4Block;
      pack_weights(source, row % kTileFeatures, block(row / kTileFeatures, b));
    }
  });
}

}  // namespace tessera

// tiled_matrix.hpp — a weight matrix repacked into tiles (tile_format.hpp), once, at start.
//
// In int8, 64 weights of an output share a scale, a 127th of their largest magnitude.
//
// The last tile is filled up with outputs whose weights are zero.
#pragma once

#include "kernels/backend.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/cpu/tile_format.hpp"
#include "kernels/nf4.hpp"

namespace tessera {

constexpr int num_tiles(int out_features) {
  return (out_features + kTileFeatures - 1) / kTileFeatures;
}

class TiledMatrix {
 public:
  TiledMatrix() = default;
  // Both repack on all threads of the pool.
  TiledMatrix(const Nf4Matrix& matrix, ThreadPool& pool);
  TiledMatrix(const Bf16* weights, int out_features, int in_features, HeadForm form,
              ThreadPool& pool);

  TileView view() const { return {bytes_.data(), tile_bytes_, num_blocks_}; }
  int out_features() const { return out_features_; }
  int in_features() const { return num_blocks_ * kNf4Block; }
  int tiles() const { return num_tiles(out_features_); }
  std::size_t bytes() const { return bytes_.size(); }

 private:
  TiledMatrix(int out_features, int in_features, std::size_t block_bytes);
  std::byte* block(int tile, int block_index);

  int out_features_ = 0;
  int num_blocks_ = 0;
  std::size_t block_bytes_ = 0;
  std::size_t tile_bytes_ = 0;
  AlignedBuffer<std::byte> bytes_;
};

}  // namespace tessera

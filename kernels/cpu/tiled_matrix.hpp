// tiled_matrix.hpp — a weight matrix repacked into tiles (tile_format.hpp), once, at start.
//
// Codes stay as they are and every scale becomes fp32; a group of more than a block has its scale
// in each of its blocks. A matrix with an order keeps its columns in that order: what multiplies it
// brings the activations into it first.
//
// A bf16 matrix can be made int8 on the way: 64 weights of an output share a scale, a 127th of
// their largest magnitude.
//
// The last tile is filled up with outputs whose weights are zero.
#pragma once

#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/int16_book.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/cpu/tile_format.hpp"
#include "kernels/weight_matrix.hpp"

namespace tessera {

constexpr int num_tiles(int out_features) {
  return (out_features + kTileFeatures - 1) / kTileFeatures;
}

class TiledMatrix {
 public:
  TiledMatrix() = default;
  // Repacks on all threads of the pool, for `kernels`. `form` is what bf16 weights are kept in.
  TiledMatrix(const WeightMatrix& matrix, HeadForm form, const KernelTable& kernels,
              ThreadPool& pool);
  TiledMatrix(const WeightMatrix& matrix, const KernelTable& kernels, ThreadPool& pool)
      : TiledMatrix(matrix, HeadForm::kBf16, kernels, pool) {}

  TileView view() const {
    return {bytes_.data(), tile_bytes_, num_blocks_, book_.data(), integers_.integers.data()};
  }
  KernelTable::Multiply* multiply() const { return multiply_; }
  int out_features() const { return out_features_; }
  int in_features() const { return num_blocks_ * kNf4Block; }
  int tiles() const { return num_tiles(out_features_); }
  std::size_t bytes() const { return bytes_.size(); }
  bool is_bf16() const { return form_ == WeightForm::kBf16; }
  bool has_offsets() const { return has_offsets_; }
  // Column k is input feature order()[k]; empty: in order.
  const std::vector<std::int32_t>& order() const { return order_; }

 private:
  void set_form(const WeightMatrix& matrix, const KernelTable& kernels);
  void allocate(std::size_t block_bytes);
  std::byte* block(int row, int block_index);
  void pack_codes_and_scales(const WeightMatrix& matrix, float scale_unit, int row,
                             std::vector<float>& scales);

  WeightForm form_ = WeightForm::kBf16;
  bool has_offsets_ = false;
  int groups_ = 1;  // of a block
  int out_features_ = 0;
  int num_blocks_ = 0;
  std::size_t block_bytes_ = 0;
  std::size_t tile_bytes_ = 0;
  KernelTable::Multiply* multiply_ = nullptr;
  std::array<float, 16> book_ = {};
  Int16Book integers_ = {};
  std::vector<std::int32_t> order_;
  AlignedBuffer<std::byte> bytes_;
};

}  // namespace tessera

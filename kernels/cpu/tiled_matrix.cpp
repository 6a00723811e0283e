#include "kernels/cpu/tiled_matrix.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>

namespace tessera {
namespace {

std::size_t index(int row, int columns) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(columns);
}

void put_word(std::uint32_t word, std::size_t group, int row, std::byte* block) {
  const auto n = static_cast<std::size_t>(row % kTileFeatures);
  std::memcpy(block + group * kTileWordBytes + n * 4, &word, 4);
}

// One output of one block: 64 codes, the earlier of a pair in the high half of its byte, become 8
// words with the earlier of each pair in the lower half.
void pack_codes(const std::uint8_t* codes, int row, std::byte* block) {
  for (std::size_t group = 0; group < 8; ++group) {
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint32_t pair = codes[group * 4 + i];
      word |= (pair >> 4 | (pair & 15U) << 16) << (4 * i);
    }
    put_word(word, group, row, block);
  }
}

// 64 integers, four a word.
void pack_integers(const std::uint8_t* integers, int row, std::byte* block) {
  for (std::size_t group = 0; group < 16; ++group) {
    const std::uint8_t* four = integers + 4 * group;
    const std::uint32_t word = four[0] | std::uint32_t{four[2]} << 8 |
                               std::uint32_t{four[1]} << 16 | std::uint32_t{four[3]} << 24;
    put_word(word, group, row, block);
  }
}

void pack_float(float value, std::size_t group, int row, std::byte* block) {
  put_word(std::bit_cast<std::uint32_t>(value), group, row, block);
}

// 64 weights become integers, with a scale.
void round_weights(const Bf16* weights, int row, std::byte* block) {
  float largest = 0.0F;
  for (int i = 0; i < kNf4Block; ++i) {
    largest = std::max(largest, std::abs(bf16_to_float(weights[i])));
  }
  const float factor = largest > 0.0F ? 127.0F / largest : 0.0F;
  std::uint8_t integers[kNf4Block];
  for (std::size_t i = 0; i < kNf4Block; ++i) {
    integers[i] = static_cast<std::uint8_t>(std::lrint(bf16_to_float(weights[i]) * factor));
  }
  pack_integers(integers, row, block);
  pack_float(largest / 127.0F, 0, row, block + kInt8TileCodesBytes);
}

// 64 weights, two a word.
void pack_weights(const Bf16* weights, int row, std::byte* block) {
  for (std::size_t group = 0; group < 32; ++group) {
    std::uint32_t word;
    std::memcpy(&word, weights + 2 * group, 4);
    put_word(word, group, row, block);
  }
}

// Calls pack(row) for every output that `thread` repacks: those of whole tiles.
template <class Pack>
void for_each_output(int out_features, int thread, int num_threads, const Pack& pack) {
  const Range tiles = part_of(num_tiles(out_features), thread, num_threads);
  const int end = std::min(tiles.end * kTileFeatures, out_features);
  for (int row = tiles.begin * kTileFeatures; row < end; ++row) pack(row);
}

// Of the two quantised forms.
KernelTable::Multiply* multiply_of(const KernelTable& kernels, const WeightMatrix& matrix,
                                   int groups) {
  const bool is_int8 = matrix.form == WeightForm::kInt8;
  const bool is_simple = groups == 1 && matrix.offsets == nullptr;
  if (is_simple && is_int8) return kernels.multiply_int8;
  if (is_simple && matrix.book == kNf4Values) return kernels.multiply_nf4;
  const auto& codes = is_int8 ? kernels.multiply_integers : kernels.multiply_book16;
  const auto& of_groups = codes.groups[std::countr_zero(static_cast<unsigned>(groups))];
  return matrix.offsets == nullptr ? of_groups.plain : of_groups.with_offsets;
}

std::size_t block_bytes_of(const WeightMatrix& matrix, int groups) {
  const std::size_t codes =
      matrix.form == WeightForm::kInt8 ? kInt8TileCodesBytes : kNf4TileCodesBytes;
  return codes + index(groups, matrix.offsets == nullptr ? 1 : 2) * kTileWordBytes;
}

}  // namespace

void TiledMatrix::set_form(const WeightMatrix& matrix, const KernelTable& kernels) {
  assert(matrix.cols % kNf4Block == 0);
  form_ = matrix.form;
  out_features_ = matrix.rows;
  num_blocks_ = matrix.cols / kNf4Block;
  has_offsets_ = matrix.offsets != nullptr;
  if (form_ == WeightForm::kBf16) {
    multiply_ = kernels.multiply_bf16;
    return;
  }
  assert(matrix.cols % matrix.group == 0);
  assert(matrix.group == 16 || matrix.group == 32 || matrix.group % kNf4Block == 0);
  groups_ = std::max(1, kNf4Block / matrix.group);
  if (matrix.order != nullptr) order_.assign(matrix.order, matrix.order + matrix.cols);
  multiply_ = multiply_of(kernels, matrix, groups_);
  if (form_ != WeightForm::kBook16) return;
  book_ = matrix.book;
  integers_ = make_int16_book(book_);
}

void TiledMatrix::allocate(std::size_t block_bytes) {
  block_bytes_ = block_bytes;
  tile_bytes_ = static_cast<std::size_t>(num_blocks_) * block_bytes;
  bytes_ = AlignedBuffer<std::byte>(static_cast<std::size_t>(tiles()) * tile_bytes_);
}

std::byte* TiledMatrix::block(int row, int block_index) {
  return bytes_.data() + static_cast<std::size_t>(row / kTileFeatures) * tile_bytes_ +
         static_cast<std::size_t>(block_index) * block_bytes_;
}

TiledMatrix::TiledMatrix(const WeightMatrix& matrix, HeadForm form, const KernelTable& kernels,
                         ThreadPool& pool) {
  set_form(matrix, kernels);
  if (form_ == WeightForm::kBf16) {
    const bool rounds = form == HeadForm::kInt8;
    if (rounds) {
      form_ = WeightForm::kInt8;
      multiply_ = kernels.multiply_int8;
    }
    allocate(rounds ? kInt8TileBlockBytes : kBf16TileBlockBytes);
    const auto pack = rounds ? round_weights : pack_weights;
    pool.run([&](int thread) {
      for_each_output(matrix.rows, thread, pool.num_threads(), [&](int row) {
        const Bf16* weights = matrix.bf16 + index(row, matrix.cols);
        for (int b = 0; b < num_blocks_; ++b) pack(weights + b * kNf4Block, row, block(row, b));
      });
    });
    return;
  }
  allocate(block_bytes_of(matrix, groups_));
  // A path that multiplies integers has units of x that are made for NF4's book.
  const bool is_book_of_integers = form_ == WeightForm::kBook16 && kernels.quantise != nullptr;
  const float scale_unit = is_book_of_integers ? kBookFactor / integers_.factor : 1.0F;
  pool.run([&](int thread) {
    std::vector<float> scales(static_cast<std::size_t>(matrix.groups()));
    for_each_output(matrix.rows, thread, pool.num_threads(),
                    [&](int row) { pack_codes_and_scales(matrix, scale_unit, row, scales); });
  });
}

// `scales` is room for a row's.
void TiledMatrix::pack_codes_and_scales(const WeightMatrix& matrix, float scale_unit, int row,
                                        std::vector<float>& scales) {
  const bool is_int8 = form_ == WeightForm::kInt8;
  const std::size_t block_codes = is_int8 ? kNf4Block : kNf4Block / 2;
  const std::uint8_t* codes = matrix.codes + index(row, num_blocks_) * block_codes;
  const float* offsets = has_offsets_ ? matrix.offsets + index(row, matrix.groups()) : nullptr;
  decode_scales(matrix, row, 1, scales);
  for (int b = 0; b < num_blocks_; ++b, codes += block_codes) {
    std::byte* destination = block(row, b);
    (is_int8 ? pack_integers : pack_codes)(codes, row, destination);
    destination += is_int8 ? kInt8TileCodesBytes : kNf4TileCodesBytes;
    for (int g = 0; g < groups_; ++g) {
      const auto group =
          static_cast<std::size_t>((b * kNf4Block + g * (kNf4Block / groups_)) / matrix.group);
      const auto place = static_cast<std::size_t>(g);
      pack_float(scales[group] * scale_unit, place, row, destination);
      if (offsets == nullptr) continue;
      pack_float(offsets[group], place + static_cast<std::size_t>(groups_), row, destination);
    }
  }
}

}  // namespace tessera

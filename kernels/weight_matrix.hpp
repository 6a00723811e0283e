// weight_matrix.hpp — a matrix of the base's weights in the form in which it is kept; a view.
//
// Row-major (rows, cols): row n holds the weights of output n. A weight is
//
//   w[n][k] = value(code[n][k]) * scale[n][g] + offset[n][g]      g = k / group
//
// where value() looks a 4-bit code up in a table of sixteen (NF4, FP4, integers of 4 bits) or is
// the signed 8-bit code itself. That covers what the world keeps its checkpoints in without a
// code being changed: bitsandbytes' NF4 and FP4, GPTQ and AWQ (group 32 to a whole row, a zero
// point is an offset), GGUF's Q4_0, Q4_1, Q8_0 and the K forms, int8 per row. bf16 is as it is.
//
// Scales are fp32, or, as QLoRA has them, "nested": 8-bit codes of blocks that share an fp32 scale
// (nf4.hpp). Codes of 4 bits are packed two a byte, the earlier weight in the high four bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/bf16.hpp"
#include "kernels/nf4.hpp"

namespace tessera {

enum class WeightForm : std::uint8_t { kBf16, kBook16, kInt8 };

struct WeightMatrix {
  int rows = 0;
  int cols = 0;
  WeightForm form = WeightForm::kBf16;
  const Bf16* bf16 = nullptr;  // (rows, cols), kBf16 alone; the rest is for the other two

  const std::uint8_t* codes = nullptr;  // (rows, cols / 2) or, signed, (rows, cols)
  std::array<float, 16> book = {};      // kBook16
  int group = kNf4Block;                // 16, 32, 64 or a multiple of 64 that divides cols
  const float* scales = nullptr;        // (rows, cols / group); null: they are nested
  const float* offsets = nullptr;       // (rows, cols / group); null: all zero

  // Nested scales; scale i, in row-major order, is a member of block i / kAbsmaxBlock.
  const std::uint8_t* absmax_codes = nullptr;  // (rows * cols / group,)
  const float* absmax_scales = nullptr;        // (ceil(rows * cols / group / kAbsmaxBlock),)
  float absmax_offset = 0.0F;

  // GPTQ's act-order: column k of this matrix is input feature order[k], a permutation; null: in
  // order. (cols,)
  const std::int32_t* order = nullptr;

  explicit operator bool() const { return rows > 0; }
  int groups() const { return cols / group; }  // of a row
};

WeightMatrix bf16_matrix(const Bf16* weights, int rows, int cols);
WeightMatrix nf4_matrix(const Nf4Matrix& matrix);

// The fp32 scales of rows [row, row + rows): (rows, groups). For the two quantised forms.
void decode_scales(const WeightMatrix& matrix, int row, int rows, std::span<float> scales);

// One row's weights in fp32, in the order of the input features: (cols,).
void decode_row(const WeightMatrix& matrix, int row, std::span<float> weights);

// All of them: (rows * cols,).
void dequantize(const WeightMatrix& matrix, std::span<float> weights);

// Bytes of codes, scales and offsets.
std::size_t bytes_of(const WeightMatrix& matrix);

}  // namespace tessera

#include "kernels/weight_matrix.hpp"

#include <cassert>

namespace tessera {
namespace {

float value_of(const WeightMatrix& matrix, std::size_t at) {
  if (matrix.form == WeightForm::kInt8)
    return static_cast<float>(static_cast<std::int8_t>(matrix.codes[at]));
  const unsigned pair = matrix.codes[at / 2];
  return matrix.book[at % 2 == 0 ? pair >> 4U : pair & 15U];
}

float scale_at(const WeightMatrix& matrix, std::size_t at) {
  if (matrix.scales != nullptr) return matrix.scales[at];
  return kDynamicMap[matrix.absmax_codes[at]] * matrix.absmax_scales[at / kAbsmaxBlock] +
         matrix.absmax_offset;
}

}  // namespace

WeightMatrix bf16_matrix(const Bf16* weights, int rows, int cols) {
  WeightMatrix matrix;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.bf16 = weights;
  return matrix;
}

WeightMatrix nf4_matrix(const Nf4Matrix& matrix) {
  WeightMatrix view;
  view.rows = matrix.rows;
  view.cols = matrix.cols;
  view.form = WeightForm::kBook16;
  view.codes = matrix.codes;
  view.book = kNf4Values;
  view.absmax_codes = matrix.absmax_codes;
  view.absmax_scales = matrix.absmax_scales;
  view.absmax_offset = matrix.offset;
  return view;
}

void decode_scales(const WeightMatrix& matrix, int row, int rows, std::span<float> scales) {
  const auto groups = static_cast<std::size_t>(matrix.groups());
  const std::size_t first = static_cast<std::size_t>(row) * groups;
  const std::size_t count = static_cast<std::size_t>(rows) * groups;
  assert(scales.size() == count);
  for (std::size_t i = 0; i < count; ++i) scales[i] = scale_at(matrix, first + i);
}

void decode_row(const WeightMatrix& matrix, int row, std::span<float> weights) {
  const auto cols = static_cast<std::size_t>(matrix.cols);
  const std::size_t first = static_cast<std::size_t>(row) * cols;
  assert(weights.size() == cols);
  if (matrix.form == WeightForm::kBf16) {
    for (std::size_t k = 0; k < cols; ++k) weights[k] = bf16_to_float(matrix.bf16[first + k]);
    return;
  }
  const auto group = static_cast<std::size_t>(matrix.group);
  const std::size_t first_group = static_cast<std::size_t>(row) * (cols / group);
  for (std::size_t k = 0; k < cols; ++k) {
    const std::size_t at = first_group + k / group;
    const std::size_t feature =
        matrix.order == nullptr ? k : static_cast<std::size_t>(matrix.order[k]);
    weights[feature] = value_of(matrix, first + k) * scale_at(matrix, at) +
                       (matrix.offsets == nullptr ? 0.0F : matrix.offsets[at]);
  }
}

void dequantize(const WeightMatrix& matrix, std::span<float> weights) {
  const auto cols = static_cast<std::size_t>(matrix.cols);
  assert(weights.size() == static_cast<std::size_t>(matrix.rows) * cols);
  for (int row = 0; row < matrix.rows; ++row) {
    decode_row(matrix, row, weights.subspan(static_cast<std::size_t>(row) * cols, cols));
  }
}

std::size_t bytes_of(const WeightMatrix& matrix) {
  const auto elements =
      static_cast<std::size_t>(matrix.rows) * static_cast<std::size_t>(matrix.cols);
  if (matrix.form == WeightForm::kBf16) return elements * sizeof(Bf16);
  const std::size_t codes = matrix.form == WeightForm::kInt8 ? elements : elements / 2;
  const std::size_t scales = elements / static_cast<std::size_t>(matrix.group);
  const std::size_t scale_bytes = matrix.scales != nullptr ? sizeof(float) : 1;
  const std::size_t offset_bytes = matrix.offsets != nullptr ? sizeof(float) : 0;
  return codes + scales * (scale_bytes + offset_bytes);
}

}  // namespace tessera

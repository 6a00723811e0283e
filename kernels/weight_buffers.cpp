#include "kernels/weight_buffers.hpp"

#include <cstddef>

namespace tessera {
namespace {

template <class T>
const T* data_or_null(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

WeightMatrix WeightBuffers::view() const {
  WeightMatrix matrix;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.form = form;
  if (form == WeightForm::kBf16) {
    matrix.bf16 = bf16.data();
    return matrix;
  }
  matrix.codes = codes.data();
  matrix.book = book;
  matrix.group = group;
  matrix.scales = data_or_null(scales);
  matrix.offsets = data_or_null(offsets);
  matrix.absmax_codes = data_or_null(absmax_codes);
  matrix.absmax_scales = data_or_null(absmax_scales);
  matrix.absmax_offset = absmax_offset;
  matrix.order = data_or_null(order);
  return matrix;
}

bool is_permutation(std::span<const std::int32_t> order) {
  std::vector<bool> seen(order.size());
  for (const std::int32_t index : order) {
    if (index < 0 || static_cast<std::size_t>(index) >= order.size()) return false;
    if (seen[static_cast<std::size_t>(index)]) return false;
    seen[static_cast<std::size_t>(index)] = true;
  }
  return true;
}

}  // namespace tessera

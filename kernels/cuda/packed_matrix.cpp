#include "kernels/cuda/packed_matrix.hpp"

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/cuda/half.hpp"

namespace tessera {
namespace {

std::size_t area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

std::size_t divided_up(int value, int by) {
  return static_cast<std::size_t>((value + by - 1) / by);
}

PackedForm form_of(WeightForm form) {
  if (form == WeightForm::kBook16) return PackedForm::kBook16;
  return form == WeightForm::kInt8 ? PackedForm::kInt8 : PackedForm::kHalf;
}

void check(const WeightMatrix& matrix, int group) {
  if (matrix.cols % kTileCols != 0) {
    throw std::invalid_argument("a matrix of " + std::to_string(matrix.cols) +
                                " columns, which is no multiple of 64, is not for a GPU");
  }
  if (matrix.cols >= 1 << 16) {
    throw std::invalid_argument("a matrix of " + std::to_string(matrix.cols) +
                                " columns is too wide for a GPU");
  }
  if (group != 16 && group != 32 && (group % 64 != 0 || matrix.cols % group != 0)) {
    throw std::invalid_argument("groups of " + std::to_string(group) +
                                " weights are not for a GPU");
  }
}

// A code of 4 bits, the earlier weight in the high half of its byte.
unsigned code4(const WeightMatrix& matrix, std::size_t at) {
  const unsigned pair = matrix.codes[at / 2];
  return at % 2 == 0 ? pair >> 4U : pair & 15U;
}

// The power of two by which a row's largest weight comes below 2^14.
int exponent_of_row(const WeightMatrix& matrix, int row) {
  float largest = 0.0F;
  for (int k = 0; k < matrix.cols; ++k) {
    const float weight =
        bf16_to_float(matrix.bf16[area(row, matrix.cols) + static_cast<std::size_t>(k)]);
    largest = std::max(largest, std::abs(weight));
  }
  if (largest == 0.0F || !std::isfinite(largest)) return 0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::max(exponent - 14, -100);
}

void pack_halves(const WeightMatrix& matrix, PackedBuffers& out) {
  for (int n = 0; n < matrix.rows; ++n) {
    const int exponent = exponent_of_row(matrix, n);
    out.scales[out.shape.scale_index(n, 0)] = std::ldexp(1.0F, exponent);
    for (int k = 0; k < matrix.cols; ++k) {
      const float weight =
          bf16_to_float(matrix.bf16[area(n, matrix.cols) + static_cast<std::size_t>(k)]);
      const std::uint16_t half = half_from_float(std::ldexp(weight, -exponent));
      std::memcpy(out.codes.data() + 2 * out.shape.code_index(n, k), &half, sizeof half);
    }
  }
}

void pack_codes(const WeightMatrix& matrix, PackedBuffers& out) {
  for (int n = 0; n < matrix.rows; ++n) {
    for (int k = 0; k < matrix.cols; ++k) {
      const std::size_t from = area(n, matrix.cols) + static_cast<std::size_t>(k);
      const std::size_t to = out.shape.code_index(n, k);
      if (matrix.form == WeightForm::kInt8) {
        out.codes[to] = static_cast<std::byte>(matrix.codes[from]);
      } else {
        out.codes[to / 2] |= static_cast<std::byte>(code4(matrix, from) << (to % 2 * 4));
      }
    }
  }
}

void pack_scales(const WeightMatrix& matrix, PackedBuffers& out) {
  const int groups = out.shape.groups();
  for (int n = 0; n < matrix.rows; ++n) {
    for (int g = 0; g < groups; ++g) {
      const std::size_t from = area(n, groups) + static_cast<std::size_t>(g);
      const std::size_t to = out.shape.scale_index(n, g);
      if (matrix.scales != nullptr) out.scales[to] = matrix.scales[from];
      if (matrix.scales == nullptr) out.absmax_codes[to] = matrix.absmax_codes[from];
      if (matrix.offsets != nullptr) out.offsets[to] = matrix.offsets[from];
    }
  }
}

void size_parts(const WeightMatrix& matrix, PackedBuffers& out) {
  const PackedMatrix& shape = out.shape;
  const std::size_t tiles = static_cast<std::size_t>(shape.tiles());
  const std::size_t scales = tiles * static_cast<std::size_t>(shape.groups()) * kTileRows;
  out.codes.resize(tiles * static_cast<std::size_t>(shape.blocks() * tile_bytes(shape.form)));
  const bool nested = matrix.form != WeightForm::kBf16 && matrix.scales == nullptr;
  if (!nested) out.scales.resize(scales);
  if (matrix.offsets != nullptr) out.offsets.resize(scales);
  if (!nested) return;
  out.absmax_codes.resize(scales);
  const std::size_t blocks = area(matrix.rows, shape.groups());
  out.absmax_scales.assign(matrix.absmax_scales,
                           matrix.absmax_scales + (blocks + kAbsmaxBlock - 1) / kAbsmaxBlock);
  out.absmax_scales.resize((scales + kAbsmaxBlock - 1) / kAbsmaxBlock);  // of the padding rows
}

// Enqueues a part's copy.
template <class T>
const T* upload(const std::vector<T>& host, DeviceBuffer<T>& device, CudaStream& stream) {
  device = DeviceBuffer<T>(host.size());
  copy<T>(stream, device, host);
  return device.data();
}

}  // namespace

PackedBuffers pack_matrix(const WeightMatrix& matrix) {
  PackedBuffers out;
  const bool is_bf16 = matrix.form == WeightForm::kBf16;
  const int group = is_bf16 ? matrix.cols : matrix.group;
  check(matrix, group);
  out.shape.form = form_of(matrix.form);
  out.shape.rows = matrix.rows;
  out.shape.cols = matrix.cols;
  out.shape.group = group;
  out.shape.group_inverse = PackedMatrix::inverse_of(group);
  out.shape.absmax_offset = matrix.absmax_offset;
  for (std::size_t i = 0; i < matrix.book.size(); ++i) {
    out.shape.book[i] = half_from_float(matrix.book[i]);
  }
  size_parts(matrix, out);
  if (is_bf16) {
    pack_halves(matrix, out);
    return out;
  }
  pack_codes(matrix, out);
  pack_scales(matrix, out);
  if (matrix.order != nullptr) out.order.assign(matrix.order, matrix.order + matrix.cols);
  return out;
}

std::size_t packed_bytes(const WeightMatrix& matrix) {
  const bool is_bf16 = matrix.form == WeightForm::kBf16;
  const std::size_t tiles = divided_up(matrix.rows, kTileRows);
  const std::size_t groups = is_bf16 ? 1 : divided_up(matrix.cols, matrix.group);
  const std::size_t blocks = divided_up(matrix.cols, kTileCols);
  const std::size_t scales = tiles * groups * kTileRows;
  std::size_t bytes = tiles * blocks * static_cast<std::size_t>(tile_bytes(form_of(matrix.form)));
  const bool nested = !is_bf16 && matrix.scales == nullptr;
  bytes += scales * (nested ? 1 : sizeof(float));
  if (nested) bytes += (scales + kAbsmaxBlock - 1) / kAbsmaxBlock * sizeof(float);
  if (matrix.offsets != nullptr) bytes += scales * sizeof(float);
  if (matrix.order != nullptr) {
    bytes += static_cast<std::size_t>(matrix.cols) * sizeof(std::int32_t);
  }
  return bytes;
}

PackedOnDevice::PackedOnDevice(const PackedBuffers& host, const float* dynamic_map,
                               CudaStream& stream)
    : view_(host.shape) {
  view_.codes = upload(host.codes, codes_, stream);
  view_.scales = upload(host.scales, scales_, stream);
  view_.offsets = upload(host.offsets, offsets_, stream);
  view_.absmax_codes = upload(host.absmax_codes, absmax_codes_, stream);
  view_.absmax_scales = upload(host.absmax_scales, absmax_scales_, stream);
  view_.order = upload(host.order, order_, stream);
  view_.dynamic_map = dynamic_map;
}

std::size_t PackedOnDevice::bytes() const {
  return codes_.bytes() + scales_.bytes() + offsets_.bytes() + absmax_codes_.bytes() +
         absmax_scales_.bytes() + order_.bytes();
}

}  // namespace tessera

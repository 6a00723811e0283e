// weight_decode.cuh — single weights of a packed matrix, for those who need few of them or all.
#pragma once

#include "kernels/cuda/packed_matrix.hpp"
#include "kernels/cuda/ptx.cuh"

namespace tessera {

// weight = value * scale + offset, for the columns of a group.
struct GroupScale {
  float scale;
  float offset;
};

__device__ inline GroupScale scale_of_group(const PackedMatrix& m, int n, int group) {
  const std::size_t at = m.scale_index(n, group);
  const float offset = m.offsets == nullptr ? 0.0F : m.offsets[at];
  if (m.scales != nullptr) return {m.scales[at], offset};
  const std::size_t i = static_cast<std::size_t>(n) * static_cast<std::size_t>(m.groups()) +
                        static_cast<std::size_t>(group);
  const float scaled =
      __fmul_rn(m.dynamic_map[m.absmax_codes[at]], m.absmax_scales[i / kAbsmaxBlock]);
  return {__fadd_rn(scaled, m.absmax_offset), offset};
}

__device__ inline float decode_weight(const PackedMatrix& m, int n, int k) {
  const std::size_t code = m.code_index(n, k);
  float value = 0.0F;
  if (m.form == PackedForm::kHalf) {
    value = from_half(reinterpret_cast<const std::uint16_t*>(m.codes)[code]);
  } else if (m.form == PackedForm::kInt8) {
    value = static_cast<float>(reinterpret_cast<const std::int8_t*>(m.codes)[code]);
  } else {
    const auto byte = static_cast<unsigned>(m.codes[code / 2]);
    value = from_half(m.book[code % 2 == 0 ? byte & 15U : byte >> 4]);
  }
  const GroupScale scale = scale_of_group(m, n, k / m.group);
  return fmaf(value, scale.scale, scale.offset);
}

}  // namespace tessera

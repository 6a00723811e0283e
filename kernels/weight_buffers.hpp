// weight_buffers.hpp — a WeightMatrix (weight_matrix.hpp) that owns its memory.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/bf16.hpp"
#include "kernels/nf4.hpp"
#include "kernels/weight_matrix.hpp"

namespace tessera {

// What a WeightMatrix points at; vectors that its form does not use are empty. Shapes as there.
struct WeightBuffers {
  int rows = 0;
  int cols = 0;
  WeightForm form = WeightForm::kBf16;
  std::vector<Bf16> bf16 = {};
  std::vector<std::uint8_t> codes = {};
  std::array<float, 16> book = {};
  int group = kNf4Block;
  std::vector<float> scales = {};
  std::vector<float> offsets = {};
  std::vector<std::uint8_t> absmax_codes = {};
  std::vector<float> absmax_scales = {};
  float absmax_offset = 0.0F;
  std::vector<std::int32_t> order = {};

  // Valid while this neither changes nor goes.
  WeightMatrix view() const;
};

// Whether each of 0 … size - 1 occurs once.
bool is_permutation(std::span<const std::int32_t> order);

// Whether a row of `cols` weights can be kept in groups of `group` (see WeightMatrix::group).
constexpr bool is_group(int group, int cols) {
  const bool known = group == 16 || group == 32 || (group > 0 && group % kNf4Block == 0);
  return known && cols > 0 && cols % group == 0;
}

}  // namespace tessera

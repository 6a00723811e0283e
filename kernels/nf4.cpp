#include "kernels/nf4.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <utility>

namespace tessera {
namespace {

// torch.linspace in fp32: counted from the nearer end, so that both ends are exact.
float linspace(float start, float end, int steps, int i) {
  const float step = (end - start) / static_cast<float>(steps - 1);
  if (i < steps / 2) return std::fma(step, static_cast<float>(i), start);
  return std::fma(-step, static_cast<float>(steps - 1 - i), end);
}

// The dynamic data type of Dettmers (8-Bit Approximations for Parallelism in Deep Learning, 2015):
// a decade from 1e-6 to 1 for each exponent, divided evenly into 1, 2, 4 ... 64 parts of which the
// middles are taken, with both signs; and 0 and 1.
std::array<float, 256> make_dynamic_map() {
  constexpr int kDecades = 7;
  std::array<float, 256> map;
  std::size_t size = 0;
  for (int decade = 0; decade < kDecades; ++decade) {
    const auto power = static_cast<float>(std::pow(10.0, decade - (kDecades - 1)));
    const int parts = 1 << decade;
    for (int part = 0; part < parts; ++part) {
      const float low = linspace(0.1F, 1.0F, parts + 1, part);
      const float high = linspace(0.1F, 1.0F, parts + 1, part + 1);
      const float middle = power * ((low + high) / 2.0F);
      map[size++] = middle;
      map[size++] = -middle;
    }
  }
  map[size++] = 0.0F;
  map[size++] = 1.0F;
  std::sort(map.begin(), map.end());
  return map;
}

// The index of the value nearest to `x`; half way, the smaller value.
template <std::size_t N>
std::uint8_t nearest(const std::array<float, N>& values, float x) {
  const auto right = std::lower_bound(values.begin(), values.end(), x);
  if (right == values.begin()) return 0;
  if (right == values.end()) return N - 1;
  const auto left = right - 1;
  const auto index = (*right - x < x - *left ? right : left) - values.begin();
  return static_cast<std::uint8_t>(index);
}

// The code of a weight scaled to [-1, 1]: the number of midpoints between neighbours below it.
std::uint8_t nf4_code(float scaled) {
  int code = 0;
  for (std::size_t i = 0; i + 1 < kNf4Values.size(); ++i) {
    code += static_cast<int>(scaled > (kNf4Values[i] + kNf4Values[i + 1]) / 2.0F);
  }
  return static_cast<std::uint8_t>(code);
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0.0F;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// bitsandbytes' CPU quantiser looks the nearest entry up on a grid of 65536 steps over [-1, 1].
std::array<std::uint8_t, 65536> make_dynamic_grid() {
  std::array<std::uint8_t, 65536> grid;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    grid[i] = nearest(kDynamicMap, static_cast<float>(i) / 65535.0F * 2.0F - 1.0F);
  }
  return grid;
}

std::uint8_t dynamic_code(float scaled) {
  static const std::array<std::uint8_t, 65536> grid = make_dynamic_grid();
  const float unit = (std::clamp(scaled, -1.0F, 1.0F) + 1.0F) * 0.5F;
  return grid[static_cast<std::size_t>(std::fma(unit, 65535.0F, 0.5F))];
}

// --- torch's fp32 sum -----------------------------------------------------------------------
//
// The offset is torch.mean(absmax), so its bits are those of torch's order of summation on the CPU
// (one thread): eight lanes, or one if there are fewer than eight values; four interleaved rows of
// lanes; each column summed in a cascade of four levels so that the error grows slowly.

constexpr std::size_t kInterleaved = 4;
constexpr std::size_t kLevels = 4;

template <std::size_t N>
void add_to(std::array<float, N>& sums, const float* values) {
  for (std::size_t i = 0; i < N; ++i) sums[i] += values[i];
}

// The sums of the columns of (rows, Width).
template <std::size_t Width>
std::array<float, Width> cascade_sum(const float* values, std::size_t rows) {
  const std::size_t log2_rows = rows < 2 ? 0 : static_cast<std::size_t>(std::bit_width(rows - 1));
  const std::size_t level_bits = std::max<std::size_t>(4, log2_rows / kLevels);
  const std::size_t level_rows = std::size_t{1} << level_bits;
  std::array<std::array<float, Width>, kLevels> levels = {};
  std::size_t row = 0;
  while (row + level_rows <= rows) {
    for (std::size_t i = 0; i < level_rows; ++i, ++row) add_to(levels[0], values + row * Width);
    for (std::size_t level = 1; level < kLevels; ++level) {
      add_to(levels[level], levels[level - 1].data());
      levels[level - 1] = {};
      if ((row & ((level_rows - 1) << (level * level_bits))) != 0) break;
    }
  }
  for (; row < rows; ++row) add_to(levels[0], values + row * Width);
  for (std::size_t level = 1; level < kLevels; ++level) add_to(levels[0], levels[level].data());
  return levels[0];
}

template <std::size_t Lanes>
float sum_in_lanes(std::span<const float> values) {
  const std::size_t vectors = values.size() / Lanes;
  const std::size_t rows = vectors / kInterleaved;
  const auto columns = cascade_sum<Lanes * kInterleaved>(values.data(), rows);
  std::array<float, Lanes> lanes;
  std::copy_n(columns.begin(), Lanes, lanes.begin());
  for (std::size_t v = rows * kInterleaved; v < vectors; ++v) add_to(lanes, &values[v * Lanes]);
  for (std::size_t i = 1; i < kInterleaved; ++i) add_to(lanes, &columns[i * Lanes]);
  float sum = 0.0F;
  for (const float value : values.subspan(vectors * Lanes)) sum += value;
  for (const float lane : lanes) sum += lane;
  return sum;
}

float torch_sum(std::span<const float> values) {
  return values.size() < 8 ? sum_in_lanes<1>(values) : sum_in_lanes<8>(values);
}

}  // namespace

// The quantiles of N(0, 1) scaled to [-1, 1] with an exact zero (QLoRA, appendix E).
const std::array<float, 16> kNf4Values = {
    -1.0F,
    -0.6961928009986877F,
    -0.5250730514526367F,
    -0.39491748809814453F,
    -0.28444138169288635F,
    -0.18477343022823334F,
    -0.09105003625154495F,
    0.0F,
    0.07958029955625534F,
    0.16093020141124725F,
    0.24611230194568634F,
    0.33791524171829224F,
    0.44070982933044434F,
    0.5626170039176941F,
    0.7229568362236023F,
    1.0F,
};

const std::array<float, 256> kDynamicMap = make_dynamic_map();

Nf4Matrix Nf4Buffers::view() const {
  return {rows, cols, codes.data(), absmax_codes.data(), absmax_scales.data(), offset};
}

void quantize_nf4_blocks(std::span<const float> weights, std::span<std::uint8_t> codes,
                         std::span<float> absmax) {
  for (std::size_t block = 0; block < absmax.size(); ++block) {
    const auto values = weights.subspan(block * kNf4Block, kNf4Block);
    const auto packed = codes.subspan(block * kNf4Block / 2, kNf4Block / 2);
    absmax[block] = largest_magnitude(values);
    const float inverse = 1.0F / std::max(absmax[block], 1e-38F);
    for (std::size_t i = 0; i < packed.size(); ++i) {
      const int high = nf4_code(std::clamp(values[2 * i] * inverse, -1.0F, 1.0F));
      const int low = nf4_code(std::clamp(values[2 * i + 1] * inverse, -1.0F, 1.0F));
      packed[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
  }
}

NestedAbsmax nest_absmax(std::span<const float> absmax) {
  NestedAbsmax out;
  if (absmax.empty()) return out;
  out.offset = torch_sum(absmax) / static_cast<float>(absmax.size());
  out.codes.resize(absmax.size());
  std::vector<float> block;
  for (std::size_t begin = 0; begin < absmax.size(); begin += kAbsmaxBlock) {
    const auto values =
        absmax.subspan(begin, std::min<std::size_t>(kAbsmaxBlock, absmax.size() - begin));
    block.assign(values.begin(), values.end());
    for (float& value : block) value -= out.offset;
    const float scale = largest_magnitude(block);
    out.scales.push_back(scale);
    if (scale == 0.0F) continue;  // code 0 for the whole block, as bitsandbytes has it
    const float inverse = 1.0F / scale;
    for (std::size_t i = 0; i < block.size(); ++i) {
      out.codes[begin + i] = dynamic_code(block[i] * inverse);
    }
  }
  return out;
}

Nf4Buffers quantize_nf4(std::span<const float> weights, int rows, int cols) {
  assert(cols % kNf4Block == 0);
  assert(weights.size() == static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  Nf4Buffers out;
  out.rows = rows;
  out.cols = cols;
  if (weights.empty()) return out;
  out.codes.resize(weights.size() / 2);
  std::vector<float> absmax(weights.size() / kNf4Block);
  quantize_nf4_blocks(weights, out.codes, absmax);
  NestedAbsmax nested = nest_absmax(absmax);
  out.absmax_codes = std::move(nested.codes);
  out.absmax_scales = std::move(nested.scales);
  out.offset = nested.offset;
  return out;
}

void decode_absmax(const Nf4Matrix& matrix, std::span<float> absmax) {
  for (std::size_t block = 0; block < absmax.size(); ++block) {
    const float scaled =
        kDynamicMap[matrix.absmax_codes[block]] * matrix.absmax_scales[block / kAbsmaxBlock];
    absmax[block] = scaled + matrix.offset;
  }
}

void dequantize_nf4(const Nf4Matrix& matrix, std::span<float> weights) {
  std::vector<float> absmax(weights.size() / kNf4Block);
  decode_absmax(matrix, absmax);
  for (std::size_t i = 0; i < weights.size() / 2; ++i) {
    const float scale = absmax[2 * i / kNf4Block];
    weights[2 * i] = kNf4Values[matrix.codes[i] >> 4] * scale;
    weights[2 * i + 1] = kNf4Values[matrix.codes[i] & 0xF] * scale;
  }
}

}  // namespace tessera

#include "kernels/quantisers.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <utility>

namespace tessera {
namespace {

constexpr std::pair<QuantForm, std::string_view> kNames[] = {{QuantForm::kBf16, "bf16"},
                                                             {QuantForm::kNf4, "nf4"},
                                                             {QuantForm::kNf4Plain, "nf4-plain"},
                                                             {QuantForm::kFp4, "fp4"},
                                                             {QuantForm::kInt8, "int8"}};

constexpr float kInt8Max = 127.0F;

// The codes of FP4 in the order of their values; of the two zeros the positive one is first.
constexpr std::array<std::uint8_t, 16> kFp4Order = {11, 10, 13, 12, 15, 14, 9, 0,
                                                    8,  1,  6,  7,  4,  5,  2, 3};

std::array<float, 15> make_fp4_midpoints() {
  std::array<float, 15> midpoints;
  for (std::size_t i = 0; i < midpoints.size(); ++i) {
    midpoints[i] = (kFp4Values[kFp4Order[i]] + kFp4Values[kFp4Order[i + 1]]) / 2.0F;
  }
  return midpoints;
}

std::uint8_t fp4_code(float scaled) {
  static const std::array<float, 15> midpoints = make_fp4_midpoints();
  std::size_t below = 0;
  for (const float midpoint : midpoints) below += static_cast<std::size_t>(scaled > midpoint);
  return kFp4Order[below];
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0.0F;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// As quantize_nf4_blocks.
void quantize_fp4_blocks(std::span<const float> weights, std::span<std::uint8_t> codes,
                         std::span<float> absmax) {
  for (std::size_t block = 0; block < absmax.size(); ++block) {
    const auto values = weights.subspan(block * kNf4Block, kNf4Block);
    absmax[block] = largest_magnitude(values);
    const float inverse = 1.0F / std::max(absmax[block], 1e-38F);
    for (std::size_t i = 0; i < kNf4Block / 2; ++i) {
      const int high = fp4_code(std::clamp(values[2 * i] * inverse, -1.0F, 1.0F));
      const int low = fp4_code(std::clamp(values[2 * i + 1] * inverse, -1.0F, 1.0F));
      codes[block * kNf4Block / 2 + i] = static_cast<std::uint8_t>(high << 4 | low);
    }
  }
}

template <class T>
std::span<T> grow(std::vector<T>& values, std::size_t more) {
  values.resize(values.size() + more);
  return std::span(values).last(more);
}

}  // namespace

const std::array<float, 16> kFp4Values = {
    0.0F, 0.0625F / 12.0F,  8.0F / 12.0F,  1.0F,  4.0F / 12.0F,  0.5F,  2.0F / 12.0F,  0.25F,
    0.0F, -0.0625F / 12.0F, -8.0F / 12.0F, -1.0F, -4.0F / 12.0F, -0.5F, -2.0F / 12.0F, -0.25F};
const std::array<float, 16> kSignedInt4Values = {-8, -7, -6, -5, -4, -3, -2, -1,
                                                 0,  1,  2,  3,  4,  5,  6,  7};
const std::array<float, 16> kInt4Values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

std::string_view to_string(QuantForm form) {
  return std::ranges::find(kNames, form, &std::pair<QuantForm, std::string_view>::first)->second;
}

std::optional<QuantForm> quant_form_named(std::string_view name) {
  const auto* const found =
      std::ranges::find(kNames, name, &std::pair<QuantForm, std::string_view>::second);
  if (found == std::end(kNames)) return std::nullopt;
  return found->first;
}

MatrixQuantizer::MatrixQuantizer(QuantForm form, int rows, int cols) : form_(form), rows_(rows) {
  assert(cols % kNf4Block == 0);
  const std::size_t count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
  out_.cols = cols;
  if (form == QuantForm::kBf16) {
    out_.bf16.reserve(count);
    return;
  }
  const bool int8 = form == QuantForm::kInt8;
  out_.form = int8 ? WeightForm::kInt8 : WeightForm::kBook16;
  out_.group = int8 ? cols : kNf4Block;
  if (!int8) out_.book = form == QuantForm::kFp4 ? kFp4Values : kNf4Values;
  out_.codes.reserve(int8 ? count : count / 2);
  out_.scales.reserve(count / static_cast<std::size_t>(out_.group));
}

void MatrixQuantizer::add_rows(std::span<const float> weights) {
  const auto cols = static_cast<std::size_t>(out_.cols);
  assert(weights.size() % cols == 0);
  out_.rows += static_cast<int>(weights.size() / cols);
  if (form_ == QuantForm::kBf16) {
    std::ranges::transform(weights, std::back_inserter(out_.bf16), float_to_bf16);
  } else if (form_ == QuantForm::kInt8) {
    for (std::size_t at = 0; at < weights.size(); at += cols) {
      add_int8_row(weights.subspan(at, cols));
    }
  } else {
    add_blocks(weights);
  }
}

void MatrixQuantizer::add_blocks(std::span<const float> weights) {
  const auto codes = grow(out_.codes, weights.size() / 2);
  const auto absmax = grow(out_.scales, weights.size() / kNf4Block);
  if (form_ == QuantForm::kFp4) {
    quantize_fp4_blocks(weights, codes, absmax);
  } else {
    quantize_nf4_blocks(weights, codes, absmax);
  }
}

void MatrixQuantizer::add_int8_row(std::span<const float> weights) {
  const float scale = largest_magnitude(weights) / kInt8Max;
  const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
  out_.scales.push_back(scale);
  for (const float weight : weights) {
    const float code = std::nearbyint(std::clamp(weight * inverse, -kInt8Max, kInt8Max));
    out_.codes.push_back(static_cast<std::uint8_t>(static_cast<std::int8_t>(code)));
  }
}

WeightBuffers MatrixQuantizer::finish() {
  assert(out_.rows == rows_);
  if (form_ == QuantForm::kNf4 && !out_.scales.empty()) {
    NestedAbsmax nested = nest_absmax(out_.scales);
    out_.absmax_codes = std::move(nested.codes);
    out_.absmax_scales = std::move(nested.scales);
    out_.absmax_offset = nested.offset;
    out_.scales = {};
  }
  return std::move(out_);
}

WeightBuffers quantize_matrix(QuantForm form, std::span<const float> weights, int rows, int cols) {
  MatrixQuantizer quantizer(form, rows, cols);
  quantizer.add_rows(weights);
  return quantizer.finish();
}

}  // namespace tessera

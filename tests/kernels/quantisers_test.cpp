#include "kernels/quantisers.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/nf4.hpp"

namespace tessera {
namespace {

constexpr QuantForm kForms[] = {QuantForm::kBf16, QuantForm::kNf4, QuantForm::kNf4Plain,
                                QuantForm::kFp4, QuantForm::kInt8};

std::vector<float> normal_values(std::size_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<float> values_of(const WeightMatrix& matrix) {
  std::vector<float> values(static_cast<std::size_t>(matrix.rows) *
                            static_cast<std::size_t>(matrix.cols));
  dequantize(matrix, values);
  return values;
}

TEST(MatrixQuantizer, RowsMayComeInAnyPortions) {
  const std::vector<float> weights = normal_values(64 * 320);
  for (const QuantForm form : kForms) {
    SCOPED_TRACE(to_string(form));
    const std::vector<float> whole = values_of(quantize_matrix(form, weights, 64, 320).view());
    MatrixQuantizer quantizer(form, 64, 320);
    std::size_t at = 0;
    for (const std::size_t rows : {1U, 20U, 43U}) {
      quantizer.add_rows(std::span(weights).subspan(at, rows * 320));
      at += rows * 320;
    }
    EXPECT_EQ(values_of(quantizer.finish().view()), whole);
  }
}

TEST(MatrixQuantizer, Nf4IsQuantizeNf4) {
  const std::vector<float> weights = normal_values(32 * 640);
  const WeightBuffers ours = quantize_matrix(QuantForm::kNf4, weights, 32, 640);
  const Nf4Buffers expected = quantize_nf4(weights, 32, 640);
  EXPECT_EQ(ours.codes, expected.codes);
  EXPECT_EQ(ours.absmax_codes, expected.absmax_codes);
  EXPECT_EQ(ours.absmax_scales, expected.absmax_scales);
  EXPECT_EQ(ours.absmax_offset, expected.offset);
}

TEST(MatrixQuantizer, Int8IsWithinHalfAStepOfEachRow) {
  std::vector<float> weights = normal_values(4 * 128);
  std::fill_n(weights.begin() + 128, 128, 0.0F);  // a row of zeros
  const WeightBuffers matrix = quantize_matrix(QuantForm::kInt8, weights, 4, 128);
  ASSERT_EQ(matrix.scales.size(), 4U);
  const std::vector<float> values = values_of(matrix.view());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_LE(std::abs(values[i] - weights[i]), matrix.scales[i / 128] * 0.50001F) << i;
  }
}

// The relative errors that rounding theory gives for normal weights in blocks of 64.
TEST(MatrixQuantizer, ErrorsAreThoseOfTheirFormats) {
  const std::vector<float> weights = normal_values(256 * 1024);
  const auto error = [&](QuantForm form) {
    const std::vector<float> values = values_of(quantize_matrix(form, weights, 256, 1024).view());
    double noise = 0.0;
    double power = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      noise += std::pow(static_cast<double>(values[i] - weights[i]), 2);
      power += std::pow(static_cast<double>(weights[i]), 2);
    }
    return noise / power;
  };
  EXPECT_NEAR(error(QuantForm::kNf4), 0.009, 0.001);
  EXPECT_NEAR(error(QuantForm::kNf4), error(QuantForm::kNf4Plain), 1e-4);
  EXPECT_GT(error(QuantForm::kFp4), error(QuantForm::kNf4));
  EXPECT_LT(error(QuantForm::kInt8), 1e-4);
  EXPECT_LT(error(QuantForm::kBf16), 1e-5);
}

TEST(QuantForm, NamesAreReadBack) {
  for (const QuantForm form : kForms) EXPECT_EQ(quant_form_named(to_string(form)), form);
  EXPECT_FALSE(quant_form_named("nf5"));
  EXPECT_FALSE(quant_form_named(""));
}

TEST(WeightMatrix, OffsetsAndOrderCount) {
  WeightBuffers matrix;
  matrix.rows = 1;
  matrix.cols = 32;
  matrix.form = WeightForm::kBook16;
  matrix.book = kInt4Values;
  matrix.group = 16;
  matrix.codes.assign(16, 0x12);  // 1, 2, 1, 2 …
  matrix.scales = {2.0F, 10.0F};
  matrix.offsets = {-1.0F, 5.0F};
  matrix.order.resize(32);
  std::iota(matrix.order.rbegin(), matrix.order.rend(), 0);  // backwards
  const std::vector<float> values = values_of(matrix.view());
  EXPECT_EQ(values[31], 1.0F);   // code 1 of group 0
  EXPECT_EQ(values[30], 3.0F);   // code 2 of group 0
  EXPECT_EQ(values[15], 15.0F);  // code 1 of group 1
  EXPECT_EQ(values[0], 25.0F);
}

TEST(WeightBuffers, PermutationsAreToldFromOtherLists) {
  EXPECT_TRUE(is_permutation(std::vector<std::int32_t>{2, 0, 1}));
  EXPECT_TRUE(is_permutation({}));
  EXPECT_FALSE(is_permutation(std::vector<std::int32_t>{0, 0, 1}));
  EXPECT_FALSE(is_permutation(std::vector<std::int32_t>{0, 3, 1}));
  EXPECT_FALSE(is_permutation(std::vector<std::int32_t>{0, -1, 1}));
}

}  // namespace
}  // namespace tessera

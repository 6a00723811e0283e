// cuda_linear_test.cpp — linears of every form on a device, or on the emulated machine, against
// decoded weights multiplied in fp64; and P2, bit for bit.
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/cuda/device_matrix.hpp"

namespace tessera {
namespace {

constexpr int kIn = 640;   // ten blocks for eight warps
constexpr int kOut = 100;  // seven tiles, the last not full

class LinearKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

std::vector<double> multiply_exactly(const WeightMatrix& matrix, const std::vector<float>& x) {
  const auto in = static_cast<std::size_t>(matrix.cols);
  const auto out = static_cast<std::size_t>(matrix.rows);
  std::vector<float> weights(in * out);
  dequantize(matrix, weights);
  std::vector<double> y(x.size() / in * out);
  for (std::size_t row = 0; row < x.size() / in; ++row) {
    for (std::size_t n = 0; n < out; ++n) {
      double sum = 0.0;
      for (std::size_t k = 0; k < in; ++k) {
        sum += static_cast<double>(weights[n * in + k]) * static_cast<double>(x[row * in + k]);
      }
      y[row * out + n] = sum;
    }
  }
  return y;
}

// Frobenius norm of the difference as a fraction of that of what was expected.
double relative_norm(const std::vector<float>& actual, const std::vector<double>& expected) {
  double error = 0.0;
  double whole = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = static_cast<double>(actual[i]) - expected[i];
    error += difference * difference;
    whole += expected[i] * expected[i];
  }
  return std::sqrt(error / whole);
}

// fp16 has eleven bits: x, and the values of a book, are rounded by 2^-11 of themselves at most, in
// root mean square by 2e-4 each.
TEST_F(LinearKernels, IsWithinTheRoundingOfHalfPrecision) {
  for (const MatrixForm& form : kMatrixForms) {
    SCOPED_TRACE(form.name);
    Random random(1);
    const RandomMatrix matrix(random, form, kOut, kIn);
    DeviceMatrix device(matrix.view());
    double worst = 0.0;
    for (const int rows : {1, 8, 13, 70}) {
      const auto x = normal_values(random, static_cast<std::size_t>(rows * kIn), 3.0F);
      const auto y = device.multiply(x, rows, rows);
      const double error = relative_norm(y, multiply_exactly(matrix.view(), x));
      EXPECT_LE(error, 5e-4) << rows << " rows";
      worst = std::max(worst, error);
    }
    RecordProperty("worst_error", std::to_string(worst));
  }
}

// Weights are rounded to eleven bits too, 2e-4 of themselves in root mean square.
TEST_F(LinearKernels, TheDenseFormIsWithinTheRoundingOfHalfPrecision) {
  for (const MatrixForm& form : kMatrixForms) {
    SCOPED_TRACE(form.name);
    Random random(5);
    const RandomMatrix matrix(random, form, kOut, kIn);
    DeviceMatrix device(matrix.view());
    constexpr int kRows = 19;
    const auto x = normal_values(random, kRows * kIn, 3.0F);
    std::optional<DenseLinear> dense;
    try {
      dense.emplace(kOut, kIn);
    } catch (const std::runtime_error& missing) {
      GTEST_SKIP() << missing.what();
    }
    const auto y = device.multiply(x, kRows, *dense);
    EXPECT_LE(relative_norm(y, multiply_exactly(matrix.view(), x)), 5e-4);
  }
}

TEST_F(LinearKernels, ARowsBitsDependOnTheRowAlone) {
  for (const MatrixForm& form : kMatrixForms) {
    SCOPED_TRACE(form.name);
    Random random(2);
    const RandomMatrix matrix(random, form, kOut, kIn);
    DeviceMatrix device(matrix.view());
    constexpr std::size_t kRows = 70;
    auto x = normal_values(random, kRows * kIn, 1.0F);
    std::fill_n(x.begin() + 5 * kIn, kIn, NAN);  // a neighbour's misfortune is its own
    const auto together = device.multiply(x, kRows, kRows);
    for (const std::size_t row : {std::size_t{0}, std::size_t{4}, std::size_t{6}, kRows - 1}) {
      const auto at = static_cast<std::ptrdiff_t>(row * kIn);
      const std::vector<float> alone(x.begin() + at, x.begin() + at + kIn);
      for (const int capacity : {1, 16}) {
        const auto y = device.multiply(alone, 1, capacity);
        for (std::size_t n = 0; n < kOut; ++n) ASSERT_EQ(y[n], together[row * kOut + n]) << row;
        for (std::size_t n = kOut; n < y.size(); ++n) ASSERT_TRUE(std::isnan(y[n])) << "untouched";
      }
    }
  }
}

// Outputs that fill no block of the wide form, columns that fill no round of eight warps, rows that
// fill no block: every sum is made in the narrow form's order.
TEST_F(LinearKernels, TheWideFormHasTheBitsOfTheNarrow) {
  for (const MatrixForm& form : kMatrixForms) {
    SCOPED_TRACE(form.name);
    Random random(4);
    struct Shape {
      int out, in, rows;
    };
    for (const auto& [out, in, rows] :
         {Shape{kOut, kIn, 70}, Shape{280, 64 * 4, 1}, Shape{270, 64 * 18, 65}}) {
      const RandomMatrix matrix(random, form, out, in);
      DeviceMatrix device(matrix.view());
      const auto x = normal_values(random, static_cast<std::size_t>(rows * in), 1.0F);
      const auto narrow = device.multiply(x, rows, 72, LinearWidth::kNarrow);
      const auto wide = device.multiply(x, rows, 72, LinearWidth::kWide);
      for (std::size_t i = 0; i < narrow.size(); ++i) {
        const bool is_row = i < static_cast<std::size_t>(rows * out);
        ASSERT_EQ(is_row, !std::isnan(wide[i])) << out << " outputs, element " << i;
        ASSERT_TRUE(!is_row || wide[i] == narrow[i]) << out << " outputs, element " << i;
      }
    }
  }
}

// Rows of any magnitude: a power of two goes with each.
TEST_F(LinearKernels, TakesRowsOfAnyMagnitude) {
  for (const MatrixForm& form : kMatrixForms) {
    SCOPED_TRACE(form.name);
    Random random(3);
    const RandomMatrix matrix(random, form, 16, 64 * 2);
    DeviceMatrix device(matrix.view());
    auto x = normal_values(random, 3 * 128, 1.0F);
    for (std::size_t i = 0; i < 128; ++i) x[i] *= 1e12F;
    for (std::size_t i = 128; i < 256; ++i) x[i] *= 1e-12F;
    std::fill_n(x.begin() + 256, 128, 0.0F);
    const auto expected = multiply_exactly(matrix.view(), x);
    const auto y = device.multiply(x, 3, 3);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double scale = i < 16 ? 1e12 : i < 32 ? 1e-12 : 0.0;
      EXPECT_NEAR(static_cast<double>(y[i]), expected[i], 2e-2 * scale);
    }
  }
}

}  // namespace
}  // namespace tessera

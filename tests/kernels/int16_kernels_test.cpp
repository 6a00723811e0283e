// int16_kernels_test.cpp — the multiplications by VNNI against their definition
// (int16_kernels.hpp), bit for bit, and the 8-bit head against the bf16 one.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/int16_book.hpp"
#include "tests/kernels/crowd.hpp"

namespace tessera {
namespace {

constexpr float kLargest = static_cast<float>(kLargestActivation);

// What quantise() and a product with weights `codes * scale` must be.
struct QuantisedRow {
  explicit QuantisedRow(const std::vector<float>& x) {
    for (std::size_t k = 0; k < x.size(); k += kNf4Block) {
      float largest = 0.0F;
      for (std::size_t i = k; i < k + kNf4Block; ++i) largest = std::max(largest, std::abs(x[i]));
      units.push_back(largest * (1.0F / kLargest / kBookFactor));
      const float factor = largest > 0.0F ? kLargest / largest : 0.0F;
      for (std::size_t i = k; i < k + kNf4Block; ++i) {
        integers.push_back(static_cast<int>(std::lrint(x[i] * factor)));
      }
    }
  }

  template <class Weight, class Scale>
  float times(const Weight& weight, const Scale& scale) const {
    float sum = 0.0F;
    for (std::size_t b = 0; b < units.size(); ++b) {
      std::int32_t products = 0;
      for (std::size_t k = b * kNf4Block; k < (b + 1) * kNf4Block; ++k) {
        products += weight(k) * integers[k];
      }
      sum = std::fma(static_cast<float>(products), scale(b) * units[b], sum);
    }
    return sum;
  }

  std::vector<int> integers;
  std::vector<float> units;
};

class Int16Kernels : public testing::Test {
 protected:
  static constexpr int kIn = 1216;  // 19 blocks: three chunks
  static constexpr int kOut = 100;  // seven tiles, the last not full

  void SetUp() override {
    if (!machine_has(CpuPath::kAvx512Vnni)) GTEST_SKIP() << "this machine has no AVX-512 VNNI";
  }

  std::vector<std::vector<float>> random_rows(int count) {
    std::vector<std::vector<float>> rows(static_cast<std::size_t>(count));
    for (auto& row : rows) {
      row = normal_values(random_, kIn, 1.0F);
      row[70] = 300.0F;                                       // an outlier in the second block
      std::fill(row.begin() + 128, row.begin() + 192, 0.0F);  // and nothing in the third
    }
    return rows;
  }

  // y (rows, kOut) of the kernels.
  std::vector<float> multiply(KernelTable::Multiply* kernel, const TiledMatrix& weights,
                              const std::vector<std::vector<float>>& x) {
    const int num_rows = static_cast<int>(x.size());
    MultipliedRows rows(num_rows, kIn, kernels());
    for (int i = 0; i < num_rows; ++i) {
      std::ranges::copy(x[static_cast<std::size_t>(i)], rows.row(i));
      rows.quantise(i);
    }
    constexpr std::size_t kStride = 16 * 7;
    std::vector<float> y(kStride * x.size(), -1.0F);
    kernel(weights.view(), 0, 3, rows.activations(), num_rows, {y.data(), kStride});
    kernel(weights.view(), 3, weights.tiles(), rows.activations(), num_rows, {y.data(), kStride});
    std::vector<float> outputs;
    for (std::size_t i = 0; i < x.size(); ++i) {
      outputs.insert(outputs.end(), y.begin() + static_cast<std::ptrdiff_t>(i * kStride),
                     y.begin() + static_cast<std::ptrdiff_t>(i * kStride + kOut));
    }
    return outputs;
  }

  static const KernelTable& kernels() { return kernels_of(CpuPath::kAvx512Vnni); }

  Random random_{20261121};
  ThreadPool pool_{1};
};

TEST_F(Int16Kernels, Nf4IsMultipliedAsDefinedWhateverTheNumberOfRows) {
  const Nf4Buffers matrix =
      quantize_nf4(normal_values(random_, std::size_t{kOut} * kIn, 0.05F), kOut, kIn);
  std::vector<float> scales(matrix.absmax_codes.size());
  decode_absmax(matrix.view(), scales);
  const TiledMatrix tiled(nf4_matrix(matrix.view()), kernels(), pool_);
  const auto rows = random_rows(70);
  for (const int num_rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 25, 40, 70}) {
    const auto y = multiply(kernels().multiply_nf4, tiled, {rows.begin(), rows.begin() + num_rows});
    const auto count = static_cast<std::size_t>(num_rows);
    for (std::size_t i = 0; i < count; ++i) {
      const QuantisedRow row(rows[i]);
      for (std::size_t n = 0; n < kOut; ++n) {
        const auto weight = [&](std::size_t k) {
          const std::size_t at = n * kIn + k;
          const int byte = matrix.codes[at / 2];
          return int{kInt16Book[at % 2 == 0 ? byte >> 4 : byte & 15]};
        };
        const auto scale = [&](std::size_t b) { return scales[n * (kIn / kNf4Block) + b]; };
        ASSERT_EQ(y[i * kOut + n], row.times(weight, scale))
            << count << " rows, " << i << ", " << n;
      }
    }
  }
}

TEST_F(Int16Kernels, TheBookIsThatOfNf4) {
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(kInt16Book[i], std::lrint(kNf4Values[i] * kBookFactor));
    EXPECT_EQ(kInt16Book[i + 16], kInt16Book[i]);
  }
  EXPECT_LT(std::int64_t{kNf4Block} * kInt16Book[15] * kLargestActivation, std::int64_t{1} << 31);
}

TEST_F(Int16Kernels, IntegersAreMultipliedAsDefined) {
  std::vector<Bf16> weights;
  for (const float value : normal_values(random_, std::size_t{kOut} * kIn, 0.05F)) {
    weights.push_back(float_to_bf16(value));
  }
  const TiledMatrix tiled(bf16_matrix(weights.data(), kOut, kIn), HeadForm::kInt8, kernels(),
                          pool_);
  const auto rows = random_rows(5);
  const auto y = multiply(kernels().multiply_int8, tiled, rows);
  for (std::size_t n = 0; n < kOut; ++n) {
    const auto largest = [&](std::size_t b) {
      float magnitude = 0.0F;
      for (std::size_t i = 0; i < kNf4Block; ++i) {
        const float value = bf16_to_float(weights[n * kIn + b * kNf4Block + i]);
        magnitude = std::max(magnitude, std::abs(value));
      }
      return magnitude;
    };
    const auto weight = [&](std::size_t k) {
      return static_cast<int>(
          std::lrint(bf16_to_float(weights[n * kIn + k]) * (127.0F / largest(k / kNf4Block))));
    };
    const auto scale = [&](std::size_t b) { return largest(b) / 127.0F * kBookFactor; };
    for (std::size_t i = 0; i < rows.size(); ++i) {
      ASSERT_EQ(y[i * kOut + n], QuantisedRow(rows[i]).times(weight, scale)) << i << ", " << n;
    }
  }
}

TEST_F(Int16Kernels, AnActivationThatIsNotFiniteMakesItsRowNotFiniteAndNoOther) {
  const Nf4Buffers matrix =
      quantize_nf4(normal_values(random_, std::size_t{kOut} * kIn, 0.05F), kOut, kIn);
  const TiledMatrix tiled(nf4_matrix(matrix.view()), kernels(), pool_);
  auto rows = random_rows(3);
  const auto clean = multiply(kernels().multiply_nf4, tiled, rows);
  for (const float poison : {std::nanf(""), INFINITY, -INFINITY}) {
    rows[1][200] = poison;
    const auto y = multiply(kernels().multiply_nf4, tiled, rows);
    for (std::size_t n = 0; n < kOut; ++n) {
      EXPECT_EQ(y[n], clean[n]);
      EXPECT_FALSE(std::isfinite(y[kOut + n])) << poison;
      EXPECT_EQ(y[2 * kOut + n], clean[2 * kOut + n]);
    }
  }
}

class IntegerHead : public testing::TestWithParam<const char*> {
 protected:
  static std::unique_ptr<Backend> make(const Crowd& crowd, HeadForm form) {
    BackendLimits limits = crowd.limits(2);
    limits.head_form = form;
    auto backend = make_cpu_backend(crowd.weights(), limits, GetParam());
    crowd.add_adapters(*backend);
    return backend;
  }
};

// A weight's error is even over a 127th of its block's largest, which of 64 normal numbers is some
// 2.45 times their deviation: the noise of a logit is 2.45 / (127 sqrt(12)) = 0.56 % of it.
constexpr double kNoise = 0.007;

double mean_square(const Logits& values) {
  double sum = 0.0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

Logits difference(Logits a, const Logits& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

TEST_P(IntegerHead, IsCloseToTheOtherAndTheSameAloneAndInACrowd) {
  try {
    choose_cpu_path(GetParam());
  } catch (const std::invalid_argument& unavailable) {
    GTEST_SKIP() << unavailable.what();
  }
  for (std::uint32_t seed = 1; seed <= 4; ++seed) {
    const Crowd crowd(seed);
    const auto backend = make(crowd, HeadForm::kInt8);
    const auto actual = crowd.run_together(*backend, seed);
    const auto expected = crowd.run_together(*make(crowd, HeadForm::kBf16), seed);
    double noise = 0.0;
    double power = 0.0;
    for (std::size_t i = 0; i < crowd.size(); ++i) {
      EXPECT_EQ(crowd.run_alone(*backend, i), actual[i]);
      for (std::size_t at = 0; at < actual[i].size(); ++at) {
        noise += mean_square(difference(actual[i][at], expected[i][at]));
        power += mean_square(expected[i][at]);
      }
    }
    EXPECT_LE(std::sqrt(noise / power), kNoise) << "seed " << seed;
    EXPECT_GT(noise, 0.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, IntegerHead,
                         testing::Values("portable", "avx2", "avx512", "avx512vnni", "amx"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace tessera

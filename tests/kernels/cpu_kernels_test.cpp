// cpu_kernels_test.cpp — single kernels on each path, where their edges are.
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.hpp"
#include "kernels/cpu/cpu_path.hpp"
#include "kernels/cpu/kv_layout.hpp"
#include "kernels/cpu/lora_plan.hpp"

namespace tessera {
namespace {

class CpuKernels : public testing::TestWithParam<CpuPath> {
 protected:
  void SetUp() override {
    if (!machine_has(GetParam())) GTEST_SKIP() << "this machine has no such path";
  }
  static const KernelTable& kernels() { return kernels_of(GetParam()); }

  // silu(x) of sixteen copies of x, without the up projection.
  static float silu(float x) {
    std::array<float, 16> gate;
    std::array<float, 16> up;
    gate.fill(x);
    up.fill(1.0F);
    kernels().silu_multiply(gate.data(), up.data(), 16);
    return gate[5];
  }

  static float gelu(float x) {
    std::array<float, 16> gate;
    std::array<float, 16> up;
    gate.fill(x);
    up.fill(1.0F);
    kernels().gelu_multiply(gate.data(), up.data(), 16);
    return gate[5];
  }
  static float softcap(float x, float cap) {
    std::array<float, 16> values;
    values.fill(x);
    kernels().softcap(values.data(), cap, 16);
    return values[5];
  }

  // What a value becomes in the cache and back out, through attention over one position: the only
  // weight is one.
  static float through_cache(float value) {
    std::array<float, 8> values;
    values.fill(value);
    return through_cache(values, KvForm::kF16)[3];
  }
  static std::array<float, 8> through_cache(const std::array<float, 8>& values, KvForm form) {
    const KvLayout layout = make_kv_layout(8, 1, 4, 1, form);
    std::vector<std::byte> cache(layout.layer_bytes, std::byte{0x7E});  // in fp16, NaNs
    const std::array<float, 8> key = {};
    kernels().store_kv(layout, key.data(), values.data(), cache.data(), 0);
    const std::int32_t block = 0;
    std::array<float, 8> output = {};
    const AttendTask task{.query = {key.data(), 8},
                          .output = {output.data(), 8},
                          .layer = cache.data(),
                          .blocks = &block,
                          .first_position = 0,
                          .num_rows = 1,
                          .group = 1,
                          .kv_head = 0,
                          .scale = 1.0F};
    kernels().attend(layout, task);
    return output;
  }
};

TEST_P(CpuKernels, SiluIsWithinTwoUnitsInTheLastPlace) {
  for (float x = -80.0F; x < 80.0F; x += 0.0137F) {
    const double exact = static_cast<double>(x) / (1.0 + std::exp(-static_cast<double>(x)));
    ASSERT_NEAR(static_cast<double>(silu(x)), exact, 2.5e-7 * std::abs(exact)) << x;
  }
}

TEST_P(CpuKernels, SiluOfExtremesIsFinite) {
  EXPECT_EQ(silu(1e30F), 1e30F);
  EXPECT_NEAR(silu(-1e30F), 0.0F, 1e-7F);
  EXPECT_EQ(silu(0.0F), 0.0F);
}

TEST_P(CpuKernels, GeluIsItsFormByTanh) {
  for (float x = -12.0F; x < 12.0F; x += 0.00137F) {
    const auto exact_x = static_cast<double>(x);
    const double u = std::sqrt(2.0 / M_PI) * (exact_x + 0.044715 * exact_x * exact_x * exact_x);
    const double exact = 0.5 * exact_x * (1.0 + std::tanh(u));
    ASSERT_NEAR(static_cast<double>(gelu(x)), exact, 4e-7 * std::max(1.0, std::abs(exact))) << x;
  }
  EXPECT_EQ(gelu(0.0F), 0.0F);
  EXPECT_EQ(gelu(1e20F), 1e20F);
  EXPECT_NEAR(gelu(-1e20F), 0.0F, 1e-7F);
}

TEST_P(CpuKernels, SoftcapIsItsDefinitionAndKeepsWhatIsNoNumber) {
  for (const float cap : {5.0F, 30.0F, 50.0F}) {
    for (float x = -300.0F; x < 300.0F; x += 0.137F) {
      const auto exact_cap = static_cast<double>(cap);
      const double exact = exact_cap * std::tanh(static_cast<double>(x) / exact_cap);
      ASSERT_NEAR(static_cast<double>(softcap(x, cap)), exact, 3e-7 * exact_cap) << x;
    }
    EXPECT_EQ(softcap(INFINITY, cap), cap);
    EXPECT_EQ(softcap(-INFINITY, cap), -cap);
    EXPECT_TRUE(std::isnan(softcap(std::nanf(""), cap)));
  }
}

TEST_P(CpuKernels, NormsOfAnyWidthAreTheirDefinition) {
  for (int width = 1; width <= 70; ++width) {
    std::vector<float> x(static_cast<std::size_t>(width));
    std::vector<float> weight(x.size());
    double squares = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = std::sin(static_cast<float>(i + 1));
      weight[i] = 1.0F + static_cast<float>(i) / 8.0F;
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    const double inverse = 1.0 / std::sqrt(squares / width + 1e-5);
    std::vector<float> y = x;
    y.push_back(77.0F);
    kernels().rms_norm(y.data(), weight.data(), 1e-5F, width, y.data());  // in place
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = static_cast<double>(weight[i]) * static_cast<double>(x[i]) * inverse;
      ASSERT_NEAR(static_cast<double>(y[i]), exact, 1e-6 * std::max(1.0, std::abs(exact))) << width;
    }
    EXPECT_EQ(y.back(), 77.0F) << width;
  }
}

TEST_P(CpuKernels, CacheKeepsElevenBitsAndRoundsTiesToEven) {
  EXPECT_EQ(through_cache(1.0F), 1.0F);
  EXPECT_EQ(through_cache(-0.333251953125F), -0.333251953125F);
  EXPECT_EQ(through_cache(1.0F + 0x1p-11F), 1.0F);
  EXPECT_EQ(through_cache(1.0F + 0x1.8p-10F), 1.0F + 0x1p-9F);
  EXPECT_EQ(through_cache(0x1p-24F), 0x1p-24F);  // the smallest subnormal
  EXPECT_EQ(through_cache(0x1.8p-24F), 0x1p-23F);
  EXPECT_EQ(through_cache(0x1p-26F), 0.0F);
}

TEST_P(CpuKernels, CacheSaturatesInsteadOfOverflowing) {
  EXPECT_EQ(through_cache(1e30F), 65504.0F);
  EXPECT_EQ(through_cache(-65520.0F), -65504.0F);
}

TEST_P(CpuKernels, EveryHalfAgreesWithItsDefinition) {
  for (int exponent = 0; exponent < 31; ++exponent) {
    for (int fraction = 0; fraction < 1024; fraction += 7) {
      const float value = exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
      ASSERT_EQ(through_cache(value), value);
      ASSERT_EQ(through_cache(-value), -value);
    }
  }
}

TEST_P(CpuKernels, CacheInEightBitsRoundsToA127thOfTheLargest) {
  constexpr std::array<float, 8> kValues = {-12.7F, 12.66F, 0.04F, 0.06F,
                                            -0.04F, 6.31F,  0.0F,  1.0F};
  constexpr std::array<int, 8> kIntegers = {-127, 127, 0, 1, 0, 63, 0, 10};
  const auto kept = through_cache(kValues, KvForm::kInt8);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_FLOAT_EQ(kept[i], static_cast<float>(kIntegers[i]) * (12.7F / 127.0F)) << i;
  }
}

TEST_P(CpuKernels, CacheInEightBitsKeepsZerosAndTinyValuesFinite) {
  EXPECT_EQ(through_cache(std::array<float, 8>{}, KvForm::kInt8), (std::array<float, 8>{}));
  const auto tiny = through_cache(std::array<float, 8>{1e-38F, -1e-40F}, KvForm::kInt8);
  EXPECT_NEAR(tiny[0], 0.0F, 1e-37F);
}

TEST_P(CpuKernels, CacheInEightBitsDoesNotTakeANanForANumber) {
  for (const float broken :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const auto kept = through_cache({1.0F, 2.0F, broken, 3.0F}, KvForm::kInt8);
    for (const float value : kept) EXPECT_TRUE(std::isnan(value));
  }
}

std::string path_name(const testing::TestParamInfo<CpuPath>& test) {
  constexpr std::array<const char*, 4> kNames = {"portable", "avx2", "avx512", "avx512vnni"};
  return kNames[static_cast<std::size_t>(test.param)];
}

INSTANTIATE_TEST_SUITE_P(Paths, CpuKernels,
                         testing::Values(CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvx512),
                         path_name);

std::vector<std::int32_t> rows_of(const LoraPlan& plan, const LoraPlan::Segment& segment) {
  const auto rows = plan.rows(segment);
  return {rows.begin(), rows.end()};
}

TEST(LoraPlan, GroupsRowsByAdapterInOrderOfFirstUseAndLeavesTheBaseOut) {
  LoraPlan plan(8, 8);
  const MixTerm seven[] = {{7, 1.0F}};
  const MixTerm two[] = {{2, 1.0F}};
  const RowTerms rows[] = {seven, {}, two, seven, two, {}, seven};
  plan.build(rows);
  ASSERT_EQ(plan.segments().size(), 2U);
  EXPECT_EQ(plan.segments()[0].slot, 7);
  EXPECT_EQ(rows_of(plan, plan.segments()[0]), (std::vector<std::int32_t>{0, 3, 6}));
  EXPECT_EQ(plan.segments()[1].slot, 2);
  EXPECT_EQ(rows_of(plan, plan.segments()[1]), (std::vector<std::int32_t>{2, 4}));
  EXPECT_EQ(plan.num_terms(), 1);
}

TEST(LoraPlan, HasAMixedRowInTheSegmentOfEachOfItsTermsAndThoseApart) {
  LoraPlan plan(4, 4);
  const MixTerm first[] = {{5, 0.5F}, {6, 2.0F}};
  const MixTerm second[] = {{6, -1.0F}, {5, 4.0F}};
  const MixTerm alone[] = {{5, 1.0F}};
  const RowTerms rows[] = {first, second, {}, alone};
  plan.build(rows, 10);
  EXPECT_EQ(plan.num_terms(), 2);
  EXPECT_EQ(plan.first_entry(), 10 * kMaxMixTerms);
  ASSERT_EQ(plan.segments().size(), 2U);
  const auto& five = plan.segments()[0];
  const auto& six = plan.segments()[1];
  EXPECT_EQ(rows_of(plan, five), (std::vector<std::int32_t>{10, 13, 11}));
  EXPECT_EQ(rows_of(plan, five.of_term(0)), (std::vector<std::int32_t>{10, 13}));
  EXPECT_EQ(rows_of(plan, five.of_term(1)), (std::vector<std::int32_t>{11}));
  EXPECT_TRUE(rows_of(plan, five.of_term(3)).empty());
  EXPECT_EQ(rows_of(plan, six.of_term(0)), (std::vector<std::int32_t>{11}));
  EXPECT_EQ(rows_of(plan, six.of_term(1)), (std::vector<std::int32_t>{10}));
  const auto weights = plan.weights(five);
  EXPECT_EQ(std::vector<float>(weights.begin(), weights.end()),
            (std::vector<float>{0.5F, 1.0F, 4.0F}));
}

TEST(LoraPlan, OfTheBaseAloneIsEmptyAlsoAfterAnother) {
  LoraPlan plan(2, 2);
  const MixTerm zero[] = {{0, 1.0F}};
  const MixTerm one[] = {{1, 1.0F}};
  const RowTerms adapted[] = {zero, one};
  const RowTerms base[] = {{}, {}};
  plan.build(adapted);
  EXPECT_FALSE(plan.empty());
  plan.build(base);
  EXPECT_TRUE(plan.empty());
}

}  // namespace
}  // namespace tessera

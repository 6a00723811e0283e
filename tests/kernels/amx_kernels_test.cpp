// amx_kernels_test.cpp — the multiplications by AMX's tiles against those by VNNI, bit for bit.
//
// On a machine without AMX the same instructions are emulated (amx_emulator.hpp); on one with it
// they run. What VNNI computes is held against its definition in int16_kernels_test.cpp.
#include <algorithm>
#include <bit>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/amx_format.hpp"
#include "kernels/cpu/amx_support.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/int16_book.hpp"
#include "tests/kernels/amx_emulator.hpp"
#include "tests/kernels/crowd.hpp"

namespace tessera {
namespace {

#if defined(__x86_64__)

bool has_vectors_for_amx() {
  return machine_has(CpuPath::kAvx512Vnni) && __builtin_cpu_supports("avx512vbmi");
}

const KernelTable& vnni_kernels() {
  return kernels_of(CpuPath::kAvx512Vnni);
}

// As kernels_of(CpuPath::kAmx), also where the tiles are emulated.
const KernelTable& amx_kernels() {
  static const KernelTable kTable = [] {
    KernelTable table = vnni_kernels();
    table.name = "cpu-amx";
    table.multiply_nf4 = kAmxKernels.multiply_nf4;
    table.multiply_int8 = kAmxKernels.multiply_int8;
    table.multiply_book16 = kAmxKernels.multiply_book16;
    table.multiply_integers = kAmxKernels.multiply_integers;
    table.split = kAmxKernels.split;
    return table;
  }();
  return kTable;
}

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits(values.size());
  std::ranges::transform(values, bits.begin(),
                         [](float value) { return std::bit_cast<std::uint32_t>(value); });
  return bits;
}

// Owns what its matrix points to.
struct Weights {
  WeightMatrix matrix;
  HeadForm head_form = HeadForm::kBf16;
  Nf4Buffers nf4;
  std::vector<Bf16> bf16;
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
  std::vector<float> offsets;
};

class AmxKernelsTest : public testing::TestWithParam<const char*> {
 protected:
  using Matrix = std::vector<std::vector<float>>;

  void SetUp() override {
    if (!has_vectors_for_amx()) GTEST_SKIP() << "this machine has no AVX-512 with VNNI and VBMI";
    if (is_emulated()) {
      if (machine_has(CpuPath::kAmx)) GTEST_SKIP() << "this machine has AMX: nothing to emulate";
      emulator_ = std::make_unique<AmxEmulator>();
    } else if (!machine_has(CpuPath::kAmx)) {
      GTEST_SKIP() << "this machine has no AMX, or may not use it";
    }
  }
  static bool is_emulated() { return std::string(GetParam()) == "emulated"; }
  // That tiles were multiplied, not something else.
  void expect_products(std::int64_t count) const {
    if (!is_emulated()) return;
    EXPECT_EQ(emulator_->num_products(), count);
  }

  Matrix random_rows(int count, int width) {
    Matrix rows(static_cast<std::size_t>(count));
    for (auto& row : rows) {
      row = normal_values(random_, static_cast<std::size_t>(width), 1.0F);
      row.back() = 300.0F;  // an outlier
    }
    return rows;
  }
  static Weights nf4_of(const std::vector<float>& values, int out, int in) {
    Weights weights;
    weights.nf4 = quantize_nf4(values, out, in);
    weights.matrix = nf4_matrix(weights.nf4.view());
    return weights;
  }
  Weights random_nf4(int out, int in) { return nf4_of(random_values(out, in), out, in); }
  // The bf16 head in 8 bits.
  Weights random_int8(int out, int in) {
    Weights weights;
    for (const float value : random_values(out, in)) weights.bf16.push_back(float_to_bf16(value));
    weights.matrix = bf16_matrix(weights.bf16.data(), out, in);
    weights.head_form = HeadForm::kInt8;
    return weights;
  }
  // Any form there is.
  Weights random_form(WeightForm form, int group, bool has_offsets, int out, int in) {
    Weights weights;
    const std::size_t count = random_values(out, in).size();
    weights.codes.resize(form == WeightForm::kBook16 ? count / 2 : count);
    for (auto& code : weights.codes) code = static_cast<std::uint8_t>(random_());
    const std::size_t groups = count / static_cast<std::size_t>(group);
    weights.scales = normal_values(random_, groups, 0.05F);
    weights.offsets = normal_values(random_, groups, 0.05F);
    weights.matrix = {.rows = out, .cols = in, .form = form};
    weights.matrix.codes = weights.codes.data();
    std::ranges::copy(normal_values(random_, 16, 3.0F), weights.matrix.book.begin());
    weights.matrix.group = group;
    weights.matrix.scales = weights.scales.data();
    weights.matrix.offsets = has_offsets ? weights.offsets.data() : nullptr;
    return weights;
  }

  // y (rows, outputs) by a path's kernel for these weights, their tiles cut at `cut`.
  std::vector<float> multiply(const KernelTable& kernels, const Weights& weights, const Matrix& x,
                              int cut) {
    const TiledMatrix tiled(weights.matrix, weights.head_form, kernels, pool_);
    const int num_rows = static_cast<int>(x.size());
    MultipliedRows rows(num_rows, tiled.in_features(), kernels,
                        {.integers = true, .sums = tiled.has_offsets()});
    for (int i = 0; i < num_rows; ++i) {
      std::ranges::copy(x[static_cast<std::size_t>(i)], rows.row(i));
      rows.quantise(i);
    }
    const std::size_t stride = static_cast<std::size_t>(tiled.tiles()) * kTileFeatures + 16;
    std::vector<float> y(stride * x.size(), -1.0F);
    cut = std::min(cut, tiled.tiles());
    tiled.multiply()(tiled.view(), 0, cut, rows.activations(), num_rows, {y.data(), stride});
    tiled.multiply()(tiled.view(), cut, tiled.tiles(), rows.activations(), num_rows,
                     {y.data(), stride});
    return y;
  }
  void expect_same(const Weights& weights, const Matrix& x, int cut) {
    const auto expected = multiply(vnni_kernels(), weights, x, cut);
    EXPECT_EQ(bits_of(multiply(amx_kernels(), weights, x, cut)), bits_of(expected))
        << x.size() << " rows, " << weights.matrix.cols << " x " << weights.matrix.rows;
  }

  static constexpr std::uint32_t kSeed = 20261121;
  Random random_{kSeed};
  ThreadPool pool_{1};
  std::unique_ptr<AmxEmulator> emulator_;

 private:
  std::vector<float> random_values(int out, int in) {
    return normal_values(random_, static_cast<std::size_t>(out) * static_cast<std::size_t>(in),
                         0.05F);
  }
};

TEST_P(AmxKernelsTest, Nf4IsWhatVnniComesToForEveryNumberOfRows) {
  const Weights weights = random_nf4(52, 576);  // four tiles, the last not full; nine blocks
  const Matrix x = random_rows(70, 576);
  for (int rows = 1; rows <= 70; ++rows) {
    expect_same(weights, {x.begin(), x.begin() + rows}, rows % 5);
  }
}

TEST_P(AmxKernelsTest, Nf4IsWhatVnniComesToForEveryWidth) {
  for (const int in : {64, 128, 192, 256, 320, 512, 896, 1216}) {
    const Weights weights = random_nf4(48, in);
    for (const int rows : {5, 16, 23}) expect_same(weights, random_rows(rows, in), 1);
  }
}

TEST_P(AmxKernelsTest, Nf4IsWhatVnniComesToForAPrefill) {
  const Weights weights = random_nf4(16 * 21, 320);  // panels of 16 tiles and of 5
  for (const int rows : {65, 128, 515}) expect_same(weights, random_rows(rows, 320), 0);
}

TEST_P(AmxKernelsTest, TheHeadInEightBitsIsWhatVnniComesToForEveryNumberOfRows) {
  const Weights weights = random_int8(52, 320);
  const Matrix x = random_rows(70, 320);
  for (int rows = 1; rows <= 70; ++rows) {
    expect_same(weights, {x.begin(), x.begin() + rows}, rows % 5);
  }
}

TEST_P(AmxKernelsTest, EveryFormOfWeightsIsWhatVnniComesTo) {
  for (const WeightForm form : {WeightForm::kBook16, WeightForm::kInt8}) {
    for (const int group : {16, 32, 64, 128}) {
      for (const bool has_offsets : {false, true}) {
        SCOPED_TRACE(std::string(form == WeightForm::kInt8 ? "int8" : "book16") + ", groups of " +
                     std::to_string(group) + (has_offsets ? ", offsets" : ""));
        const Weights weights = random_form(form, group, has_offsets, 48, 384);
        for (const int rows : {3, 6, 21, 66}) expect_same(weights, random_rows(rows, 384), 1);
      }
    }
  }
}

// All activations at the ends of their range and all weights at those of the book's: the largest
// sum of products there is, with both signs.
TEST_P(AmxKernelsTest, ExtremesAreExact) {
  std::vector<float> values(32 * 128);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i / 128 % 2 == 0 ? 1.0F : -1.0F;
  const Weights weights = nf4_of(values, 32, 128);
  Matrix x(6, std::vector<float>(128, 1.0F));
  for (std::size_t k = 0; k < 128; ++k) {
    x[1][k] = -1.0F;
    x[2][k] = k % 2 == 0 ? 1.0F : -1.0F;
    x[3][k] = k % 64 < 32 ? 8128.0F / 8191.0F : 1.0F;  // 128 * 63 + 64: the low digit's least
    x[4][k] = k % 64 < 32 ? -8129.0F / 8191.0F : 1.0F;
    x[5][k] = 0.0F;
  }
  expect_same(weights, x, 1);
  const auto y = multiply(amx_kernels(), weights, x, 1);
  EXPECT_NEAR(y[0], 128.0F, 0.01F);
  EXPECT_NEAR(y[1], -128.0F, 0.01F);
}

TEST_P(AmxKernelsTest, EveryWeightTimesEveryDigitOfAnActivationIsExact) {
  // Outputs hold one code each in all places, rows one integer each of a stride through the range.
  Weights weights;
  Nf4Buffers& nf4 = weights.nf4;
  nf4.rows = 16;
  nf4.cols = 64;
  for (std::size_t code = 0; code < 16; ++code) {
    nf4.codes.insert(nf4.codes.end(), 32, static_cast<std::uint8_t>(17 * code));
  }
  nf4.absmax_codes.assign(16, 255);
  nf4.absmax_scales.assign(1, 1.0F);
  weights.matrix = nf4_matrix(nf4.view());
  Matrix x;
  for (int integer = -8191; integer <= 8191; integer += 29) {
    x.emplace_back(64, static_cast<float>(integer));
    x.back()[63] = 8191.0F;
  }
  expect_same(weights, x, 0);
}

TEST_P(AmxKernelsTest, AnActivationThatIsNotFiniteMakesItsRowNotFiniteAndNoOther) {
  const Weights weights = random_nf4(32, 256);
  Matrix x = random_rows(18, 256);
  x[3][100] = std::nanf("");
  x[4][0] = INFINITY;
  x[17][255] = -INFINITY;
  expect_same(weights, x, 1);
}

TEST_P(AmxKernelsTest, DigitsAreThoseOfTheIntegersInTheOrderOfTheFormat) {
  MultipliedRows rows(20, 192, amx_kernels());
  for (int i = 0; i < 20; ++i) {
    std::ranges::copy(normal_values(random_, 192, 1.0F), rows.row(i));
    rows.quantise(i);
  }
  const Activations x = rows.activations();
  for (std::size_t row = 0; row < 20; ++row) {
    for (std::size_t k = 0; k < 192; ++k) {
      const std::byte* tile = x.split.data + row / kSplitRows * x.split.group_bytes +
                              k / kNf4Block * kSplitBlockBytes + row % kSplitRows * kSplitRowBytes;
      const auto* place = std::ranges::find(kSplitOrder, k % 8);
      const std::size_t at = k % kNf4Block / 8 * 8 + static_cast<std::size_t>(place - kSplitOrder);
      const int high = static_cast<std::int8_t>(tile[at]);
      const int low = static_cast<std::int8_t>(tile[kSplitTileBytes + at]);
      EXPECT_EQ(128 * high + low,
                x.int16.data[row / 4 * x.int16.panel + k / 2 * 8 + row % 4 * 2 + k % 2])
          << row << ", " << k;
      EXPECT_GE(low, -64);
      EXPECT_LT(low, 64);
    }
  }
}

// Four products a block of NF4 and two of 8 bits; few rows leave the tiles alone.
TEST_P(AmxKernelsTest, TilesAreMultipliedFromFiveRowsOn) {
  const Weights nf4 = random_nf4(48, 128);
  multiply(amx_kernels(), nf4, random_rows(4, 128), 1);
  expect_products(0);
  multiply(amx_kernels(), nf4, random_rows(5, 128), 1);
  expect_products(4 * 3 * 2);
  multiply(amx_kernels(), random_int8(48, 128), random_rows(17, 128), 1);
  expect_products(4 * 3 * 2 + 2 * 2 * 3 * 2);
}

TEST_P(AmxKernelsTest, AWholeCrowdHasTheLogitsThatVnniGivesIt) {
  for (std::uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Crowd crowd(seed);
    const auto run = [&](const KernelTable& kernels) {
      BackendLimits limits = crowd.limits(2);
      limits.head_form = HeadForm::kInt8;
      CpuBackend backend(crowd.model().weights(), limits, kernels);
      crowd.add_adapters(backend);
      return crowd.run_together(backend, seed);
    };
    EXPECT_EQ(run(amx_kernels()), run(vnni_kernels()));
  }
  if (is_emulated()) {
    EXPECT_GT(emulator_->num_products(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiles, AmxKernelsTest, testing::Values("emulated", "hardware"),
                         [](const auto& test) { return std::string(test.param); });

// In a process of its own, because a permission once given stays.
TEST(AmxSupportDeathTest, ARefusedPermissionIsNoAmxAndNothingWorse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        // Too small for the state of tiles, so Linux refuses them.
        static char stack[4096];
        stack_t small = {};
        small.ss_sp = stack;
        small.ss_size = sizeof stack;
        if (sigaltstack(&small, nullptr) != 0) std::exit(0);  // it refuses such stacks to all
        std::exit(may_use_amx() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

#endif  // __x86_64__

TEST(AmxPath, IsThereWhereTheTilesAreAndRefusedElsewhere) {
  if (machine_has(CpuPath::kAmx)) {
    EXPECT_TRUE(may_use_amx());
    EXPECT_EQ(choose_cpu_path("amx"), CpuPath::kAmx);
    EXPECT_STREQ(kernels_of(CpuPath::kAmx).name, "cpu-amx");
  } else {
    EXPECT_THROW(choose_cpu_path("amx"), std::invalid_argument);
  }
}

}  // namespace
}  // namespace tessera

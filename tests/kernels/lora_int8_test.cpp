// lora_int8_test.cpp — pages of eight bits: what is made of fp32, what it is said to cost, and what
// that does to logits. adapter_parts_test.cpp has such pages against the reference.
#include "kernels/lora_int8.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/random_adapter.hpp"
#include "tests/kernels/random_model.hpp"
#include "tests/kernels/step_runner.hpp"

namespace tessera {
namespace {

// A module of rank 2, whose other ranks are zero.
class Int8PagesTest : public testing::Test {
 protected:
  static constexpr int kIn = 3;
  static constexpr int kOut = 2;

  void set_a(int rank, std::array<float, kIn> values) {
    for (int k = 0; k < kIn; ++k) {
      a_[k * kRanksPerPage + rank] = values[static_cast<std::size_t>(k)];
    }
  }
  void set_b(int rank, std::array<float, kOut> values) {
    std::copy(values.begin(), values.end(), b_ + rank * kOut);
  }
  PageError quantise() {
    const LoraModule module{.rank = 2,
                            .a = reinterpret_cast<const std::byte*>(a_),
                            .b = reinterpret_cast<const std::byte*>(b_)};
    return quantise_pages(module, {kOut, kIn}, a8_, b8_, scales_);
  }

  float a_[kIn * kRanksPerPage] = {};
  float b_[kOut * kRanksPerPage] = {};
  std::int8_t a8_[kIn * kRanksPerPage];
  std::int8_t b8_[kOut * kRanksPerPage];
  float scales_[kRanksPerPage];
};

TEST_F(Int8PagesTest, DivideEachRankByA127thOfItsLargestAndRoundToNearest) {
  set_a(0, {1.27F, -0.506F, 0.004F});
  set_b(0, {-2.54F, 0.009F});
  set_a(1, {0.0F, -3.0F, 3.0F});
  set_b(1, {4.0F, 4.0F});
  quantise();
  EXPECT_EQ(a8_[0], 127);
  EXPECT_EQ(a8_[1 * kRanksPerPage], -51);
  EXPECT_EQ(a8_[2 * kRanksPerPage], 0);
  EXPECT_EQ(b8_[0], -127);
  EXPECT_EQ(b8_[1], 0);
  EXPECT_FLOAT_EQ(scales_[0], 0.01F * 0.02F);
  EXPECT_EQ(a8_[1 * kRanksPerPage + 1], -127);
  EXPECT_EQ(b8_[kOut], 127);
  EXPECT_FLOAT_EQ(scales_[1], 3.0F * 4.0F / (127.0F * 127.0F));
}

TEST_F(Int8PagesTest, OfZeroRanksAreZeroAndCostNothing) {
  const PageError error = quantise();
  EXPECT_TRUE(std::all_of(std::begin(a8_), std::end(a8_), [](int value) { return value == 0; }));
  EXPECT_TRUE(std::all_of(std::begin(scales_), std::end(scales_),
                          [](float scale) { return scale == 0.0F; }));
  EXPECT_EQ(error.relative(), 0.0);
}

TEST_F(Int8PagesTest, OfARankThatIsNotFiniteAreNoNumbers) {
  for (const float broken : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    set_a(0, {1.0F, broken, 1.0F});
    set_b(0, {1.0F, 1.0F});
    const PageError error = quantise();
    EXPECT_TRUE(std::isnan(scales_[0]));
    EXPECT_EQ(scales_[1], 0.0F);
    EXPECT_TRUE(std::isnan(error.relative()));
  }
}

TEST_F(Int8PagesTest, OfTheTiniestNumbersStayFinite) {
  set_a(0, {1e-40F, -1e-44F, 0.0F});
  set_b(0, {1.0F, 1.0F});
  quantise();
  EXPECT_TRUE(std::isfinite(scales_[0]));
}

// A value's error is even over a 127th of its rank's largest, which of 2048 normal numbers is some
// 3.4 times their deviation: 3.4 / (127 sqrt(12)) = 0.8 % for A, and as much for B.
TEST(Int8Pages, CostAHundredthOfNormalNumbersAndMoreWhereOneStandsOut) {
  Random random(5);
  const LinearShape shape{.out_features = 2048, .in_features = 2048};
  const std::size_t size = 2048 * 16;
  std::vector<float> a = normal_values(random, size, 0.02F);
  std::vector<float> b = normal_values(random, size, 0.1F);
  std::vector<std::int8_t> a8(size);
  std::vector<std::int8_t> b8(size);
  std::vector<float> scales(16);
  const LoraModule module{.rank = 16,
                          .a = reinterpret_cast<const std::byte*>(a.data()),
                          .b = reinterpret_cast<const std::byte*>(b.data())};
  const double normal = quantise_pages(module, shape, a8, b8, scales).relative();
  EXPECT_GT(normal, 0.008);
  EXPECT_LT(normal, 0.016);
  for (std::size_t rank = 0; rank < 16; ++rank) b[rank * 2048] = 2.0F;
  const double outlier = quantise_pages(module, shape, a8, b8, scales).relative();
  EXPECT_GT(outlier, 2.0 * normal);
}

TEST(Int8Pages, OfAWholeAdapterTellTheErrorThatLogitsThenHave) {
  for (const std::uint32_t seed : {1U, 2U, 3U}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const RandomModel model(random, RandomModel::random_llama_spec(random));
    const RandomAdapter adapter(random, model.spec(), 16);
    EXPECT_GT(adapter.int8_error().relative(), 0.002);
    EXPECT_LT(adapter.int8_error().relative(), 0.016);
    const auto backend = make_reference_backend(model.weights(), {.num_blocks = 1});
    const auto run = [&](AdapterSlot slot) {
      TestSequence sequence;
      sequence.tokens = {1, 2, 3, 4, 5, 6, 7, 8};
      sequence.blocks = {0};
      sequence.slot = slot;
      const Chunk whole[] = {{&sequence, sequence.left()}};
      run_step(*backend, model.spec(), whole);
      return sequence.logits.back();
    };
    const Logits base = run(kNoAdapter);
    const Logits exact = run(backend->add_adapter(adapter.view(PageType::kF32)));
    const Logits rounded = run(backend->add_adapter(adapter.view(PageType::kInt8)));
    EXPECT_NE(rounded, exact);
    EXPECT_GT(relative_error(base, exact), 0.1);
    EXPECT_LT(relative_error(rounded, exact), 0.03);
  }
}

}  // namespace
}  // namespace tessera

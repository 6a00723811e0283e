#include "kernels/drawing.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/philox.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Drawing, WeightsAreTheExponentialsToTheFortyFifthBit) {
  for (int i = 0; i <= 40'000; ++i) {
    const auto logit = -static_cast<float>(i) / 1000.0F;
    const double exact = std::exp(static_cast<double>(logit));
    EXPECT_NEAR(weight_of(logit, 0.0, 1.0), exact, exact * 0x1p-45) << logit;
  }
  EXPECT_EQ(weight_of(3.0F, 3.0, 0.7), 1.0);
}

TEST(Drawing, WeightsDoNotGrowAsLogitsFall) {
  std::uint64_t before = mass_of(1.0);
  EXPECT_EQ(before, std::uint64_t{1} << 45);
  for (int i = 1; i < 400'000; ++i) {
    const std::uint64_t mass = mass_of(weight_of(-static_cast<float>(i) * 1e-4F, 0.0, 1.0));
    ASSERT_LE(mass, before) << i;
    before = mass;
  }
}

TEST(Drawing, WhatHasNoProbabilityHasNoMass) {
  for (const float logit : {-kInfinity, -41.0F, -1e30F, std::nanf("")}) {
    EXPECT_EQ(mass_of(weight_of(logit, 0.0, 1.0)), 0U) << logit;
  }
  EXPECT_EQ(mass_of(weight_of(-1.0F, 0.0, 1e-30)), 0U) << "all but the largest, when it is cold";
  EXPECT_EQ(mass_of(weight_of(0.0F, 0.0, 1e-30)), std::uint64_t{1} << 45);
}

TEST(Drawing, ARowsMassesAreThoseOfItsLogits) {
  Random random(4);
  const auto logits = normal_values(random, 1001, 3.0F);
  const float largest = *std::max_element(logits.begin(), logits.end());
  std::vector<std::uint64_t> masses(logits.size());
  fill_masses(logits, largest, 0.8F, masses);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    ASSERT_EQ(masses[i], mass_of(weight_of(logits[i], static_cast<double>(largest),
                                           static_cast<double>(0.8F))));
  }
}

TEST(Drawing, ASharePassesTheTotalNever) {
  constexpr std::uint64_t kAllBits = (std::uint64_t{1} << 53) - 1;
  for (const std::uint64_t total : {std::uint64_t{1}, std::uint64_t{1} << 45, ~std::uint64_t{0}}) {
    EXPECT_EQ(share_of(total, 0), 0U);
    EXPECT_LT(share_of(total, kAllBits), total);
  }
  EXPECT_EQ(share_of(std::uint64_t{1} << 60, std::uint64_t{1} << 52), std::uint64_t{1} << 59);
}

TEST(Drawing, LogProbabilitiesAreLogarithmsOfShares) {
  const std::uint64_t one = mass_of(1.0);
  EXPECT_FLOAT_EQ(log_probability(2.0F, 2.0F, 4 * one), std::log(0.25F));
  EXPECT_FLOAT_EQ(log_probability(1.0F, 2.0F, one), -1.0F);
}

TEST(Drawing, TheLargestVocabularyAddsUpIn64Bits) {
  const double total = static_cast<double>(kMaxDrawnVocab) * kMassOfOne;
  EXPECT_LT(total, 0x1p64 - kMassOfOne);
}

}  // namespace
}  // namespace tessera

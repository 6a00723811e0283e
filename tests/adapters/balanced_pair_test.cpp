#include "adapters/balanced_pair.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "adapters/packed_adapter.hpp"
#include "kernels/bf16.hpp"

namespace tessera {
namespace {

constexpr int kIn = 40;
constexpr int kOut = 24;
constexpr int kRank = 4;

using Matrix = std::vector<float>;

// scale * B A, (out, in)
std::vector<double> product_of(const AdapterModule& module, bool rounded) {
  const auto stored = [&](float value) {
    return double{rounded ? bf16_to_float(float_to_bf16(value)) : value};
  };
  std::vector<double> product(std::size_t{kOut} * kIn);
  const auto rank = static_cast<std::size_t>(module.rank);
  for (std::size_t n = 0; n < kOut; ++n) {
    for (std::size_t k = 0; k < kIn; ++k) {
      for (std::size_t r = 0; r < rank; ++r) {
        product[n * kIn + k] +=
            stored(module.scale * module.b[n * rank + r]) * stored(module.a[r * kIn + k]);
      }
    }
  }
  return product;
}

double distance(const std::vector<double>& one, const std::vector<double>& other) {
  double error = 0.0;
  double whole = 0.0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    error += (one[i] - other[i]) * (one[i] - other[i]);
    whole += other[i] * other[i];
  }
  return std::sqrt(error / whole);
}

AdapterModule random_module(unsigned seed, int rank) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  AdapterModule module{
      .base = {.shape = {.out_features = kOut, .in_features = kIn}}, .rank = rank, .scale = 0.7F};
  module.a.resize(static_cast<std::size_t>(rank * kIn));
  module.b.resize(static_cast<std::size_t>(rank * kOut));
  for (float& value : module.a) value = normal(random);
  for (float& value : module.b) value = normal(random);
  return module;
}

// As PEFT converts PiSSA: the trained pair, and the initial one with its sign turned.
AdapterModule converted(unsigned seed, float moved) {
  const AdapterModule initial = random_module(seed, kRank);
  const AdapterModule step = random_module(seed + 1, kRank);
  AdapterModule module = random_module(seed, 2 * kRank);
  for (std::size_t r = 0; r < kRank; ++r) {
    for (std::size_t k = 0; k < kIn; ++k) {
      module.a[r * kIn + k] = initial.a[r * kIn + k] + moved * step.a[r * kIn + k];
      module.a[(kRank + r) * kIn + k] = initial.a[r * kIn + k];
    }
    for (std::size_t n = 0; n < kOut; ++n) {
      module.b[n * 2 * kRank + r] = initial.b[n * kRank + r] + moved * step.b[n * kRank + r];
      module.b[n * 2 * kRank + kRank + r] = -initial.b[n * kRank + r];
    }
  }
  return module;
}

TEST(BalancedPair, PartsThatCancelAreRoundedAsTheirDifference) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    const AdapterModule module = converted(seed, 0.05F);
    EXPECT_GT(cancellation(module), kMaxCancellation);
    std::uint64_t work = kMaxBalanceWork;
    const auto pair = balanced_pair(module, work);
    ASSERT_TRUE(pair);
    EXPECT_EQ(work, kMaxBalanceWork - std::uint64_t{kIn} * 4 * kRank * kRank);
    const auto exact = product_of(module, false);
    EXPECT_LT(distance(product_of(*pair, false), exact), 1e-5) << "the same product";
    EXPECT_LT(distance(product_of(*pair, true), exact), 0.005);
    EXPECT_GT(distance(product_of(module, true), exact), 0.015);
  }
}

TEST(BalancedPair, OtherPairsStayAsTheyAre) {
  std::uint64_t work = kMaxBalanceWork;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    for (const int rank : {1, 2, 4, 16})
      EXPECT_FALSE(balanced_pair(random_module(seed, rank), work));
  }
  AdapterModule exact = converted(1, 0.05F);
  exact.scale = 2.0F;
  for (float& value : exact.a) value = bf16_to_float(float_to_bf16(value));
  for (float& value : exact.b) value = bf16_to_float(float_to_bf16(value));
  EXPECT_FALSE(balanced_pair(exact, work)) << "pages hold it exactly";
  EXPECT_EQ(work, kMaxBalanceWork);
}

TEST(BalancedPair, MoreWorkThanMayBeIsNotBegun) {
  std::uint64_t work = 10;
  EXPECT_FALSE(balanced_pair(converted(1, 0.05F), work));
  EXPECT_EQ(work, 10U);
}

TEST(BalancedPair, RowsThatDependOnOthersLoseNothing) {
  AdapterModule module = converted(3, 0.0F);  // its second half is its first, exactly
  for (std::size_t n = 0; n < kOut; ++n) module.b[n * 2 * kRank] *= 1.01F;
  std::uint64_t work = kMaxBalanceWork;
  const auto pair = balanced_pair(module, work);
  ASSERT_TRUE(pair);
  EXPECT_LT(distance(product_of(*pair, true), product_of(module, false)), 0.005);
}

TEST(BalancedPair, AnAdapterThatIsNothingIsLeftAlone) {
  AdapterModule module = random_module(1, 4);
  module.b.assign(module.b.size(), 0.0F);
  std::uint64_t work = kMaxBalanceWork;
  EXPECT_FALSE(balanced_pair(module, work));
}

}  // namespace
}  // namespace tessera

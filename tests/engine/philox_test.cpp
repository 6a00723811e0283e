#include "kernels/philox.hpp"

#include <cstdint>

#include <gtest/gtest.h>

namespace tessera {
namespace {

// The known answers that Random123 publishes for philox4x32 with ten rounds.
static_assert(philox4x32({0, 0, 0, 0}, {0, 0}) ==
              PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                         {0xffffffff, 0xffffffff}) ==
              PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                         {0xa4093822, 0x299f31d0}) ==
              PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

TEST(Philox, UniformDependsOnSeedAndPositionOnly) {
  EXPECT_EQ(uniform_at(3, 5), uniform_at(3, 5));
  EXPECT_NE(uniform_at(3, 5), uniform_at(3, 6));
  EXPECT_NE(uniform_at(3, 5), uniform_at(4, 5));
  EXPECT_NE(uniform_at(3, 5), uniform_at(3 | std::uint64_t{1} << 40, 5));
}

TEST(Philox, UniformFillsTheUnitIntervalEvenly) {
  constexpr int kDraws = 100'000;
  constexpr int kBins = 10;
  int counts[kBins] = {};
  for (std::uint32_t i = 0; i < kDraws; ++i) {
    const double u = uniform_at(42, i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++counts[static_cast<int>(u * kBins)];
  }
  double chi_square = 0.0;
  for (const int count : counts) {
    const double off = count - kDraws / kBins;
    chi_square += off * off / (kDraws / kBins);
  }
  EXPECT_LT(chi_square, 27.9);  // 9 degrees of freedom, p = 0.001
}

}  // namespace
}  // namespace tessera

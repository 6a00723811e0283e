#include "adapters/tensor_values.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "adapters/f16.hpp"
#include "kernels/bf16.hpp"

namespace tessera {
namespace {

// What binary16 means, from its definition.
double f16_by_definition(std::uint16_t half) {
  const int exponent = half >> 10 & 0x1F;
  const int fraction = half & 0x3FF;
  const double sign = half & 0x8000 ? -1.0 : 1.0;
  if (exponent == 0x1F) return fraction == 0 ? sign * HUGE_VAL : std::nan("");
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(F16, EveryValueIsExact) {
  for (int bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const double expected = f16_by_definition(half);
    const float got = f16_to_float(half);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(got)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(got), expected) << bits;
      ASSERT_EQ(std::signbit(got), std::signbit(expected)) << bits;
    }
  }
}

StoredTensor tensor_of(Dtype dtype, std::span<const std::byte> bytes) {
  return {.name = "t", .dtype = dtype, .shape = {}, .bytes = bytes};
}

TEST(TensorValues, UnalignedBytesAreReadInEveryDtype) {
  const float value = -1.5F;
  std::byte bytes[5];
  std::memcpy(bytes + 1, &value, 4);
  EXPECT_EQ(read_values(tensor_of(Dtype::kF32, std::span(bytes).subspan(1))),
            std::vector<float>{value});
  const std::uint16_t half = 0xBE00;
  std::memcpy(bytes + 1, &half, 2);
  EXPECT_EQ(read_values(tensor_of(Dtype::kF16, std::span(bytes).subspan(1, 2))),
            std::vector<float>{value});
  const Bf16 bf16 = float_to_bf16(value);
  std::memcpy(bytes + 1, &bf16, 2);
  EXPECT_EQ(read_values(tensor_of(Dtype::kBf16, std::span(bytes).subspan(1, 2))),
            std::vector<float>{value});
}

TEST(TensorValues, StatsSeeNormMagnitudeAndWhatIsNotFinite) {
  const std::vector<float> values = {3.0F, -4.0F};
  EXPECT_EQ(stats_of(values).norm, 5.0);
  EXPECT_EQ(stats_of(values).max_magnitude, 4.0F);
  EXPECT_TRUE(stats_of(values).all_finite);
  const std::vector<float> nan = {0.0F, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_FALSE(stats_of(nan).all_finite);
  const std::vector<float> infinite = {-std::numeric_limits<float>::infinity(), 0.0F};
  EXPECT_FALSE(stats_of(infinite).all_finite);
}

TEST(TensorValues, StatsSeeEveryPlaceOfALongTensor) {
  for (std::size_t place = 0; place < 37; ++place) {
    std::vector<float> values(37, 1.0F);
    values[place] = -8.0F;
    EXPECT_EQ(stats_of(values).norm, 10.0);
    EXPECT_EQ(stats_of(values).max_magnitude, 8.0F);
    EXPECT_TRUE(stats_of(values).all_finite);
    values[place] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_FALSE(stats_of(values).all_finite) << place;
    EXPECT_EQ(stats_of(values).max_magnitude, 1.0F);
  }
}

TEST(TensorValues, ACopyIsRecognisedAcrossDtypesAndOneBitIsSeen) {
  const std::vector<float> values = {1.0F, -0.5F, 3.0F};
  std::vector<Bf16> base;
  for (const float value : values) base.push_back(float_to_bf16(value));
  EXPECT_TRUE(holds_exactly(tensor_of(Dtype::kF32, std::as_bytes(std::span(values))), base));
  EXPECT_TRUE(holds_exactly(tensor_of(Dtype::kBf16, std::as_bytes(std::span(base))), base));
  std::vector<float> other = values;
  other[1] = std::nextafter(other[1], 0.0F);
  EXPECT_FALSE(holds_exactly(tensor_of(Dtype::kF32, std::as_bytes(std::span(other))), base));
  EXPECT_FALSE(
      holds_exactly(tensor_of(Dtype::kF32, std::as_bytes(std::span(values)).first(8)), base));
}

}  // namespace
}  // namespace tessera

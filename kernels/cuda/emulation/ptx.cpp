#include "kernels/cuda/emulation/ptx.hpp"

namespace tessera::emulation {

float half_to_float(std::uint16_t half) {
  const unsigned exponent = half >> 10U & 31U;
  const unsigned mantissa = half & 1023U;
  const float sign = (half & 0x8000U) != 0 ? -1.0F : 1.0F;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  if (exponent == 31) {
    return mantissa != 0 ? std::bit_cast<float>(0x7FC00000U)
                         : sign * std::bit_cast<float>(0x7F800000U);
  }
  return sign * std::ldexp(static_cast<float>(1024U + mantissa), static_cast<int>(exponent) - 25);
}

std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  const float magnitude = std::bit_cast<float>(bits & 0x7FFFFFFFU);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7E00U);
  if (magnitude >= 65520.0F) return static_cast<std::uint16_t>(sign | 0x7C00U);
  if (magnitude < 6.103515625e-05F) {  // 2^-14: subnormal, in units of 2^-24
    return static_cast<std::uint16_t>(
        sign | static_cast<std::uint16_t>(std::nearbyint(std::ldexp(magnitude, 24))));
  }
  const std::uint32_t rounded = (bits & 0x7FFFFFFFU) + 0xFFFU + (bits >> 13 & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112U << 10)));
}

// A is row-major 16 x 32 (rows g and g + 8, columns 4t and 4t + 16), B column-major 32 x 8.
void multiply_16x8x32(Mma8* const* lanes) {
  std::int8_t a[16][32];
  std::int8_t b[32][8];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const unsigned g = lane / 4;
    const unsigned t = lane % 4;
    for (unsigned i = 0; i < 4; ++i) {
      for (unsigned j = 0; j < 4; ++j) {
        a[g + 8 * (i & 1U)][4 * t + 16 * (i >> 1U) + j] =
            static_cast<std::int8_t>(lanes[lane]->a[i] >> (8 * j));
      }
    }
    for (unsigned i = 0; i < 2; ++i) {
      for (unsigned j = 0; j < 4; ++j) {
        b[4 * t + 16 * i + j][g] = static_cast<std::int8_t>(lanes[lane]->b[i] >> (8 * j));
      }
    }
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      std::int32_t sum = lanes[lane]->c[i];
      for (unsigned k = 0; k < 32; ++k) {
        sum += a[lane / 4 + 8 * (i >> 1U)][k] * b[k][lane % 4 * 2 + (i & 1U)];
      }
      lanes[lane]->c[i] = sum;
    }
  }
}

}  // namespace tessera::emulation

// bf16.hpp — bfloat16: the upper half of an fp32.
//
// Used for storage only; arithmetic is in fp32 everywhere.
#pragma once

#include <bit>
#include <cstdint>

namespace tessera {

using Bf16 = std::uint16_t;

constexpr float bf16_to_float(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

// Rounds to nearest, ties to even, as every framework does; a NaN stays a NaN.
constexpr Bf16 float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const bool is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  if (is_nan) return static_cast<Bf16>((bits >> 16) | 0x40U);
  return static_cast<Bf16>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace tessera

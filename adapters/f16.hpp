// f16.hpp — IEEE binary16 to fp32.
#pragma once

#include <bit>
#include <cstdint>

namespace tessera {

// Every value exactly, subnormals and NaNs too. Without branches, so that loops over it vectorise.
constexpr float f16_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7FFFU;
  // As the bits of an fp32 the exponent is 112 too small; the product repairs that, for subnormals
  // as well. Infinities and NaNs get the full exponent instead.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  const std::uint32_t special = magnitude >= 0x7C00U ? 0x7F800000U : 0U;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | special | sign);
}

}  // namespace tessera

// int16_book.hpp — the sixteen values of NF4 as integers, for paths that multiply integers.
//
// value ~ kInt16Book[code] / kBookFactor. The factor is the one below 4096, in steps of 1/64, whose
// rounding costs least: 0.008 % of the book's root mean square.
#pragma once

#include <cstdint>

namespace tessera {

inline constexpr float kBookFactor = 4075.0625F;

// Twice over: a permute of 32 lanes looks at five bits, the fifth of which is the next code's.
inline constexpr std::int16_t kInt16Book[32] = {
    -4075, -2837, -2140, -1609, -1159, -753, -371, 0, 324, 656, 1003, 1377, 1796, 2293, 2946, 4075,
    -4075, -2837, -2140, -1609, -1159, -753, -371, 0, 324, 656, 1003, 1377, 1796, 2293, 2946, 4075};

// Activations are integers up to this, in units of their own for each block of 64, so that a
// block's sum cannot overflow: 64 * 4075 * 8191 < 2^31.
inline constexpr std::int32_t kLargestActivation = 8191;

}  // namespace tessera

// int16_book.hpp — a book of sixteen values as integers, for paths that multiply integers.
//
// value ~ integer / factor. A book of integers is taken as it is, so that GPTQ's and AWQ's codes
// are multiplied exactly; of any other, the largest magnitude becomes at most 4095, and the factor
// is the one, in steps of 1/64 of it, whose rounding costs least. For NF4 that is 0.008 % of the
// book's root mean square.
#pragma once

#include <array>
#include <cstdint>

namespace tessera {

// NF4's, which activations' units are made for (KernelTable::Quantise).
inline constexpr float kBookFactor = 4075.0625F;

// Twice over: a permute of 32 lanes looks at five bits, the fifth of which is the next code's.
inline constexpr std::int16_t kInt16Book[32] = {
    -4075, -2837, -2140, -1609, -1159, -753, -371, 0, 324, 656, 1003, 1377, 1796, 2293, 2946, 4075,
    -4075, -2837, -2140, -1609, -1159, -753, -371, 0, 324, 656, 1003, 1377, 1796, 2293, 2946, 4075};

inline constexpr std::int32_t kLargestInBook = 4095;

// Activations are integers up to this, in units of their own for each block of 64, so that a
// block's sum cannot overflow: 64 * 4095 * 8191 < 2^31.
inline constexpr std::int32_t kLargestActivation = 8191;

struct Int16Book {
  alignas(64) std::array<std::int16_t, 32> integers;  // twice over
  float factor;
};

Int16Book make_int16_book(const std::array<float, 16>& book);

}  // namespace tessera

// amx_digits.hpp — integers cut into two bytes (amx_format.hpp), and activations made into those.
//
// An activation's integer is the one that int16_kernels.hpp makes, by the same operations.
//
// Included by one file that is compiled for AMX (vec.hpp on the one-definition rule).
#pragma once

#include <cstddef>

#include <immintrin.h>

#include "kernels/cpu/amx_format.hpp"
#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/int16_book.hpp"
#include "kernels/nf4.hpp"

namespace tessera::amx {

// Integers below 2^13 as high * 128 + low, -64 <= low < 64: both are bytes with a sign, and so are
// those of an activation.
struct Digits {
  __m512i high;
  __m512i low;
};
TESSERA_ALWAYS_INLINE Digits digits_of(__m512i integers) {
  constexpr int kHalf = 1 << (kDigitBits - 1);
  const __m512i high =
      _mm512_srai_epi32(_mm512_add_epi32(integers, _mm512_set1_epi32(kHalf)), kDigitBits);
  return {high, _mm512_sub_epi32(integers, _mm512_slli_epi32(high, kDigitBits))};
}

// Largest magnitude of 64 values, as int16_kernels.hpp has it.
inline float largest_magnitude(const float* x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  __m512i largest = _mm512_setzero_si512();
  for (int i = 0; i < kNf4Block; i += 16) {
    largest = _mm512_max_epu32(largest, _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude));
  }
  return _mm_cvtss_f32(
      _mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(_mm512_reduce_max_epu32(largest)))));
}

// A quarter of a row's tile: sixteen k, which keep their places but for their order in each eight.
struct QuarterRow {
  __m128i high;
  __m128i low;
};
inline QuarterRow split_quarter(const float* x, float factor) {
  const __m128i order =
      _mm_setr_epi8(kSplitOrder[0], kSplitOrder[1], kSplitOrder[2], kSplitOrder[3], kSplitOrder[4],
                    kSplitOrder[5], kSplitOrder[6], kSplitOrder[7], kSplitOrder[0] + 8,
                    kSplitOrder[1] + 8, kSplitOrder[2] + 8, kSplitOrder[3] + 8, kSplitOrder[4] + 8,
                    kSplitOrder[5] + 8, kSplitOrder[6] + 8, kSplitOrder[7] + 8);
  const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(factor));
  const Digits digits = digits_of(_mm512_cvtps_epi32(scaled));
  return {_mm_shuffle_epi8(_mm512_cvtepi32_epi8(digits.high), order),
          _mm_shuffle_epi8(_mm512_cvtepi32_epi8(digits.low), order)};
}

// KernelTable::split: what is no number has the digits of zero, as its integer is.
inline void split(const float* x, int num_blocks, std::byte* y) {
  constexpr float kLargest = static_cast<float>(kLargestActivation);
  for (int b = 0; b < num_blocks; ++b, y += kSplitBlockBytes) {
    const float largest = largest_magnitude(x);
    const float factor = largest > 0.0F ? kLargest / largest : 0.0F;
    for (std::size_t at = 0; at < kSplitRowBytes; at += 16, x += 16) {
      const QuarterRow quarter = split_quarter(x, factor);
      _mm_store_si128(reinterpret_cast<__m128i*>(y + at), quarter.high);
      _mm_store_si128(reinterpret_cast<__m128i*>(y + kSplitTileBytes + at), quarter.low);
    }
  }
}

}  // namespace tessera::amx

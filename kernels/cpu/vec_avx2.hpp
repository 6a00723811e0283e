// vec_avx2.hpp — sixteen fp32 lanes in two AVX2 registers (with FMA and F16C).
//
// What each operation means is said in vec_portable.hpp. Included only by files that are compiled
// for AVX2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

namespace tessera {

struct VecAvx2 {
  struct Float {
    __m256 low, high;
  };
  struct Word {
    __m256i low, high;
  };
  using Table = Float;

  static constexpr const char* kName = "cpu-avx2";
  static constexpr std::size_t kMaxRows = 4;
  static constexpr std::size_t tiles_for_rows(std::size_t rows) {
    return rows == 1 ? 4 : rows == 2 ? 2 : 1;
  }

  static Float zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Float set(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Float load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Float load_first(const float* p, int count) {
    const Word mask = first_mask(count);
    return {_mm256_maskload_ps(p, mask.low), _mm256_maskload_ps(p + 8, mask.high)};
  }
  static void store(float* p, Float a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
  }
  static void store_first(float* p, Float a, int count) {
    const Word mask = first_mask(count);
    _mm256_maskstore_ps(p, mask.low, a.low);
    _mm256_maskstore_ps(p + 8, mask.high, a.high);
  }

  static Float add(Float a, Float b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  static Float sub(Float a, Float b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  static Float mul(Float a, Float b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static Float div(Float a, Float b) {
    return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
  }
  static Float fma(Float a, Float b, Float c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static Float max(Float a, Float b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
  }
  static Float min(Float a, Float b) {
    return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
  }
  static Float first_of(Float a, Float b, int count) {
    const Float mask = as_float(first_mask(count));
    return {_mm256_blendv_ps(b.low, a.low, mask.low), _mm256_blendv_ps(b.high, a.high, mask.high)};
  }

  static float sum(Float a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float largest(Float a) {
    const __m256 eight = _mm256_max_ps(a.low, a.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static float first(Float a) { return _mm256_cvtss_f32(a.low); }
  static void store_quarter_sums(float* p, Float even, Float odd) {
    const __m128 e = add_quarters(even);
    const __m128 o = add_quarters(odd);
    _mm_storeu_ps(p, _mm_unpacklo_ps(e, o));
    _mm_storeu_ps(p + 4, _mm_unpackhi_ps(e, o));
  }
  static void store_half_sums(float* p, Float a) {
    _mm256_storeu_ps(p, _mm256_add_ps(a.low, a.high));
  }
  static Float set_halves(const float* p) { return {_mm256_set1_ps(p[0]), _mm256_set1_ps(p[1])}; }
  static Float set_quarters(const float* p) {
    const __m256 four = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return {_mm256_permutevar8x32_ps(four, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)),
            _mm256_permutevar8x32_ps(four, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3))};
  }
  static void interleave(Float even, Float odd, Float& first, Float& last) {
    first = interleave_eight(even.low, odd.low);
    last = interleave_eight(even.high, odd.high);
  }

  static Word load_words(const void* p) {
    const auto* words = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
  }
  template <int kBits>
  static Word shift_right(Word a) {
    return {_mm256_srli_epi32(a.low, kBits), _mm256_srli_epi32(a.high, kBits)};
  }
  template <int kBits>
  static Word shift_left(Word a) {
    return {_mm256_slli_epi32(a.low, kBits), _mm256_slli_epi32(a.high, kBits)};
  }
  static Word add_words(Word a, Word b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
  }
  static Word high_halves(Word a) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    return {_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask)};
  }
  static Float as_float(Word a) {
    return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)};
  }
  static Word as_words(Float a) {
    return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)};
  }

  static Table load_table(const float* p) { return load(p); }
  static Float lookup(Table table, Word index) {
    return {lookup_eight(table, index.low), lookup_eight(table, index.high)};
  }

  static Float load_bf16(const std::uint16_t* p) {
    return {widen_bf16(load_eight(p)), widen_bf16(load_eight(p + 8))};
  }
  static Float load_first_bf16(const std::uint16_t* p, int count) {
    std::uint16_t padded[16] = {};
    std::memcpy(padded, p, static_cast<std::size_t>(count) * sizeof(*p));
    return load_bf16(padded);
  }
  static Float load_int8(const std::int8_t* p) { return {widen_int8(p), widen_int8(p + 8)}; }
  static Float load_first_int8(const std::int8_t* p, int count) {
    std::int8_t padded[16] = {};
    std::memcpy(padded, p, static_cast<std::size_t>(count));
    return load_int8(padded);
  }
  static Float load_f16(const std::uint16_t* p) {
    return {_mm256_cvtph_ps(load_eight(p)), _mm256_cvtph_ps(load_eight(p + 8))};
  }
  static void store_f16(std::uint16_t* p, Float a) {
    auto* halves = reinterpret_cast<__m128i*>(p);
    _mm_storeu_si128(halves, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT));
  }

 private:
  static __m128 add_quarters(Float a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
  static Float interleave_eight(__m256 even, __m256 odd) {
    const __m256 low = _mm256_unpacklo_ps(even, odd);   // pairs 0, 1 and 4, 5
    const __m256 high = _mm256_unpackhi_ps(even, odd);  // pairs 2, 3 and 6, 7
    return {_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)};
  }
  static Word first_mask(int count) {
    const __m256i all = _mm256_set1_epi32(count);
    return {_mm256_cmpgt_epi32(all, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            _mm256_cmpgt_epi32(all, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
  }
  // The permute reads three bits of each lane; the fourth, moved to the sign, chooses the half.
  static __m256 lookup_eight(Table table, __m256i index) {
    const __m256 below = _mm256_permutevar8x32_ps(table.low, index);
    const __m256 above = _mm256_permutevar8x32_ps(table.high, index);
    return _mm256_blendv_ps(below, above, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
  }
  static __m128i load_eight(const std::uint16_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static __m256 widen_int8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  }
  static __m256 widen_bf16(__m128i a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(a), 16));
  }
};

}  // namespace tessera

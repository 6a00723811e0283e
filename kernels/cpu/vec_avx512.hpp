// vec_avx512.hpp — sixteen fp32 lanes in one AVX-512 register (F, BW, DQ, VL).
//
// What each operation means is said in vec_portable.hpp. Included only by files that are compiled
// for AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

namespace tessera {

struct VecAvx512 {
  using Float = __m512;
  using Word = __m512i;
  using Table = __m512;

  static constexpr const char* kName = "cpu-avx512";
  static constexpr std::size_t kMaxRows = 8;
  // Enough chains to hide the latency of a fused multiply-add.
  static constexpr std::size_t tiles_for_rows(std::size_t rows) {
    return rows <= 2 ? 4 : rows <= 4 ? 2 : 1;
  }

  static Float zero() { return _mm512_setzero_ps(); }
  static Float set(float value) { return _mm512_set1_ps(value); }
  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static Float load_first(const float* p, int count) {
    return _mm512_maskz_loadu_ps(first_mask(count), p);
  }
  static void store(float* p, Float a) { _mm512_storeu_ps(p, a); }
  static void store_first(float* p, Float a, int count) {
    _mm512_mask_storeu_ps(p, first_mask(count), a);
  }

  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float first_of(Float a, Float b, int count) {
    return _mm512_mask_blend_ps(first_mask(count), b, a);
  }

  static float sum(Float a) {
    const __m256 eight = _mm256_add_ps(low(a), high(a));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float largest(Float a) {
    const __m256 eight = _mm256_max_ps(low(a), high(a));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static float first(Float a) { return _mm512_cvtss_f32(a); }
  static void store_quarter_sums(float* p, Float even, Float odd) {
    const __m128 e = add_quarters(even);
    const __m128 o = add_quarters(odd);
    _mm_storeu_ps(p, _mm_unpacklo_ps(e, o));
    _mm_storeu_ps(p + 4, _mm_unpackhi_ps(e, o));
  }
  static void store_half_sums(float* p, Float a) {
    _mm256_storeu_ps(p, _mm256_add_ps(low(a), high(a)));
  }
  static Float set_halves(const float* p) {
    return _mm512_mask_broadcastss_ps(set(p[0]), 0xFF00, _mm_load_ss(p + 1));
  }
  static Float set_quarters(const float* p) {
    const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(quarter, _mm512_castps128_ps512(_mm_loadu_ps(p)));
  }
  static void interleave(Float even, Float odd, Float& first, Float& last) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high =
        _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    first = _mm512_permutex2var_ps(even, low, odd);
    last = _mm512_permutex2var_ps(even, high, odd);
  }

  static Word load_words(const void* p) { return _mm512_loadu_si512(p); }
  template <int kBits>
  static Word shift_right(Word a) {
    return _mm512_srli_epi32(a, kBits);
  }
  template <int kBits>
  static Word shift_left(Word a) {
    return _mm512_slli_epi32(a, kBits);
  }
  static Word add_words(Word a, Word b) { return _mm512_add_epi32(a, b); }
  static Word high_halves(Word a) {
    return _mm512_and_si512(a, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U)));
  }
  static Float as_float(Word a) { return _mm512_castsi512_ps(a); }
  static Word as_words(Float a) { return _mm512_castps_si512(a); }

  static Table load_table(const float* p) { return load(p); }
  static Float lookup(Table table, Word index) { return _mm512_permutexvar_ps(index, table); }

  static Float load_bf16(const std::uint16_t* p) {
    return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Float load_first_bf16(const std::uint16_t* p, int count) {
    return widen_bf16(_mm256_maskz_loadu_epi16(first_mask(count), p));
  }
  static Float load_int8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
  static Float load_first_int8(const std::int8_t* p, int count) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first_mask(count), p)));
  }
  static Float load_f16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_f16(std::uint16_t* p, Float a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }

 private:
  static __mmask16 first_mask(int count) {
    return static_cast<__mmask16>(count >= 16 ? 0xFFFFU : (1U << count) - 1U);
  }
  static __m128 add_quarters(Float a) {
    const __m256 eight = _mm256_add_ps(low(a), high(a));
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
  static __m256 low(Float a) { return _mm512_castps512_ps256(a); }
  static __m256 high(Float a) { return _mm512_extractf32x8_ps(a, 1); }
  static Float widen_bf16(__m256i a) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16));
  }
};

}  // namespace tessera

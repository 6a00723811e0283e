// vec_portable.hpp — sixteen fp32 lanes in plain C++: correct on every machine, and the definition
// of what the operations of a vec (vec.hpp) mean.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/vec.hpp"

namespace tessera {

struct VecPortable {
  struct Float {
    float lane[kLanes];
  };
  struct Word {  // 16 x 32 bits
    std::uint32_t lane[kLanes];
  };

  static constexpr const char* kName = "cpu-portable";
  static constexpr std::size_t kMaxRows = 4;  // rows of x that one pass over the weights serves
  static constexpr std::size_t tiles_for_rows(std::size_t) { return 1; }

  static Float zero() { return Float{}; }
  static Float set(float value) {
    return each([&](int) { return value; });
  }
  static Float load(const float* p) {
    return each([&](int i) { return p[i]; });
  }
  // The first `count` lanes from memory, zero in the others.
  static Float load_first(const float* p, int count) {
    return each([&](int i) { return i < count ? p[i] : 0.0F; });
  }
  static void store(float* p, Float a) { store_first(p, a, kLanes); }
  static void store_first(float* p, Float a, int count) {
    for (int i = 0; i < count; ++i) p[i] = a.lane[i];
  }

  static Float add(Float a, Float b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Float sub(Float a, Float b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static Float mul(Float a, Float b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static Float div(Float a, Float b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  // a * b + c, rounded once
  static Float fma(Float a, Float b, Float c) {
    return each([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }
  // As x86: the second operand if either is a NaN.
  static Float max(Float a, Float b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Float min(Float a, Float b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  // Lanes [0, count) of a, the others of b.
  static Float first_of(Float a, Float b, int count) {
    return each([&](int i) { return i < count ? a.lane[i] : b.lane[i]; });
  }

  // Across lanes, folding halves: 16 -> 8 -> 4 -> 2 -> 1.
  static float sum(Float a) {
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) a.lane[i] += a.lane[i + half];
    }
    return a.lane[0];
  }
  static float largest(Float a) {
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) {
        a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
      }
    }
    return a.lane[0];
  }
  static float first(Float a) { return a.lane[0]; }
  // p[2 i] = (a[i] + a[i + 8]) + (a[i + 4] + a[i + 12]) of `even`, i < 4; p[2 i + 1] of `odd`
  static void store_quarter_sums(float* p, Float even, Float odd) {
    const auto sum = [](const Float& a, int i) {
      return (a.lane[i] + a.lane[i + 8]) + (a.lane[i + 4] + a.lane[i + 12]);
    };
    for (int i = 0; i < 4; ++i) {
      p[2 * i] = sum(even, i);
      p[2 * i + 1] = sum(odd, i);
    }
  }
  // p[i] = a[i] + a[i + 8], i < 8
  static void store_half_sums(float* p, Float a) {
    for (int i = 0; i < 8; ++i) p[i] = a.lane[i] + a.lane[i + 8];
  }
  // p[0] in lanes 0-7, p[1] in lanes 8-15
  static Float set_halves(const float* p) {
    return each([&](int i) { return p[i / 8]; });
  }
  // p[0] in lanes 0-3, p[1] in lanes 4-7, ...
  static Float set_quarters(const float* p) {
    return each([&](int i) { return p[i / 4]; });
  }
  // first and last: even[0], odd[0], even[1], odd[1], ...
  static void interleave(Float even, Float odd, Float& first, Float& last) {
    for (int i = 0; i < kLanes; ++i) {
      const float value = i % 2 == 0 ? even.lane[i / 2] : odd.lane[i / 2];
      const float later = i % 2 == 0 ? even.lane[8 + i / 2] : odd.lane[8 + i / 2];
      first.lane[i] = value;
      last.lane[i] = later;
    }
  }

  static Word load_words(const void* p) {
    Word words;
    std::memcpy(words.lane, p, sizeof words.lane);
    return words;
  }
  template <int kBits>
  static Word shift_right(Word a) {
    return each_word([&](int i) { return a.lane[i] >> kBits; });
  }
  template <int kBits>
  static Word shift_left(Word a) {
    return each_word([&](int i) { return a.lane[i] << kBits; });
  }
  static Word add_words(Word a, Word b) {
    return each_word([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  // The upper halves where they are, zeros below.
  static Word high_halves(Word a) {
    return each_word([&](int i) { return a.lane[i] & 0xFFFF0000U; });
  }
  static Float as_float(Word a) {
    return each([&](int i) { return std::bit_cast<float>(a.lane[i]); });
  }
  static Word as_words(Float a) {
    return each_word([&](int i) { return std::bit_cast<std::uint32_t>(a.lane[i]); });
  }

  using Table = Float;  // sixteen values
  static Table load_table(const float* p) { return load(p); }
  // The values chosen by the low four bits of each lane.
  static Float lookup(Table table, Word index) {
    return each([&](int i) { return table.lane[index.lane[i] & 15U]; });
  }

  static Float load_bf16(const std::uint16_t* p) { return load_first_bf16(p, kLanes); }
  static Float load_first_bf16(const std::uint16_t* p, int count) {
    return each(
        [&](int i) { return i < count ? std::bit_cast<float>(std::uint32_t{p[i]} << 16) : 0.0F; });
  }
  static Float load_int8(const std::int8_t* p) { return load_first_int8(p, kLanes); }
  static Float load_first_int8(const std::int8_t* p, int count) {
    return each([&](int i) { return i < count ? static_cast<float>(p[i]) : 0.0F; });
  }
  static Float load_f16(const std::uint16_t* p) {
    return each([&](int i) { return f16_to_float(p[i]); });
  }
  // Rounds to nearest even; the caller keeps values within the range of an fp16.
  static void store_f16(std::uint16_t* p, Float a) {
    for (int i = 0; i < kLanes; ++i) p[i] = float_to_f16(a.lane[i]);
  }

 private:
  template <class Function>
  static Float each(Function function) {
    Float result;
    for (int i = 0; i < kLanes; ++i) result.lane[i] = function(i);
    return result;
  }
  template <class Function>
  static Word each_word(Function function) {
    Word result;
    for (int i = 0; i < kLanes; ++i) result.lane[i] = function(i);
    return result;
  }

  // Moves exponent and fraction into place and corrects the bias by a multiplication, which is
  // exact and makes fp16 subnormals normal.
  static float f16_to_float(std::uint16_t half) {
    const std::uint32_t magnitude = std::uint32_t{half} & 0x7FFFU;
    const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
    const std::uint32_t special = magnitude >= 0x7C00U ? 0x7F800000U : 0U;  // infinity or NaN
    const std::uint32_t sign = (std::uint32_t{half} & 0x8000U) << 16;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | special | sign);
  }
  static std::uint16_t float_to_f16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) return static_cast<std::uint16_t>(sign | 0x7E00U);  // NaN
    if (magnitude < 0x38800000U) {
      // Below 2^-14: adding 0.5 lets the adder round to a multiple of 2^-24.
      const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
      return static_cast<std::uint16_t>(sign |
                                        (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U));
    }
    const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
    const std::uint32_t half = (rounded >> 13) - (112U << 10);
    return static_cast<std::uint16_t>(sign | (half < 0x7C00U ? half : 0x7C00U));
  }
};

}  // namespace tessera

// lora_int8_kernels.hpp — pages of eight ranks in eight bits, as lora_kernels.hpp takes them.
//
// Integers are widened to fp32 and multiplied there, on every path: a step reads so little of a
// page for each byte of it that memory decides, not arithmetic. What a rank's integers stand for is
// in one number (lora.hpp), by which z is multiplied between the two products, so neither sees it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/lora_kernels.hpp"
#include "kernels/cpu/vec.hpp"

namespace tessera {

template <class V>
struct Int8Pages {
  using Element = std::int8_t;

  // Sixteen integers are two input features of eight ranks. Sums of four such pairs run side by
  // side, and are added at the end, and then their halves.
  template <std::size_t kRows>
  static void shrink(const std::int8_t* page, int k, ConstRows x, const std::int32_t* rows,
                     Rows z) {
    constexpr std::size_t kChains = 4;
    typename V::Float sum[kRows][kChains];
    const float* x_row[kRows];
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      x_row[r] = x.data + static_cast<std::size_t>(rows[r]) * x.stride;
      TESSERA_UNROLL
      for (std::size_t c = 0; c < kChains; ++c) sum[r][c] = V::zero();
    }
    for (int i = 0; i < k; i += 2 * static_cast<int>(kChains)) {
      const std::int8_t* eight = page + static_cast<std::ptrdiff_t>(i) * kRanksPerPage;
      __builtin_prefetch(eight + kShrinkPrefetch);
      TESSERA_UNROLL
      for (std::size_t c = 0; c < kChains; ++c) {
        const auto two = V::load_int8(eight + c * kLanes);
        TESSERA_UNROLL
        for (std::size_t r = 0; r < kRows; ++r) {
          sum[r][c] = V::fma(two, V::set_halves(x_row[r] + i + 2 * c), sum[r][c]);
        }
      }
    }
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto whole = V::add(V::add(sum[r][0], sum[r][1]), V::add(sum[r][2], sum[r][3]));
      V::store_half_sums(z.data + r * z.stride, whole);
    }
  }

  static void load_pair(const std::int8_t* b, typename V::Float& first, typename V::Float& last) {
    first = V::load_int8(b);
    last = V::load_int8(b + kLanes);
  }
  static void order_pair(typename V::Float one, typename V::Float other, typename V::Float& first,
                         typename V::Float& last) {
    first = one;
    last = other;
  }
  static typename V::Float load_first(const std::int8_t* b, int count) {
    return V::load_first_int8(b, count);
  }
};

}  // namespace tessera

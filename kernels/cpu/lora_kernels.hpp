// lora_kernels.hpp — z = A x (shrink) and y += B z (expand) over pages of eight ranks in bf16.
//
// The rows listed share the adapter, so a page is read from memory once for all of them; each row's
// sums run in the order of k, or of ranks, whoever else is listed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/vec.hpp"
#include "kernels/lora.hpp"

namespace tessera {

// Elements ahead that are asked for: the hardware's prefetchers stop at pages and do not follow the
// ranks of B.
inline constexpr std::size_t kShrinkPrefetch = 2048;
inline constexpr std::size_t kExpandPrefetch = 256;

inline constexpr int kLoraRows = 4;  // rows that share the widening of a page's elements

// Sixteen words are four input features of eight ranks, two ranks a word: the lower halves go to
// one sum, the upper to another, and at the end each sum's four quarters are added.
template <class V, std::size_t kRows>
void shrink_rows(const Bf16* page, int k, ConstRows x, const std::int32_t* rows, Rows z) {
  typename V::Float even[kRows];
  typename V::Float odd[kRows];
  const float* x_row[kRows];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    even[r] = odd[r] = V::zero();
    x_row[r] = x.data + static_cast<std::size_t>(rows[r]) * x.stride;
  }
  for (int i = 0; i < k; i += 4) {
    const Bf16* four = page + static_cast<std::ptrdiff_t>(i) * kRanksPerPage;
    __builtin_prefetch(four + kShrinkPrefetch);
    const auto words = V::load_words(four);
    const auto lower = V::as_float(V::template shift_left<16>(words));
    const auto upper = V::as_float(V::high_halves(words));
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto x_four = V::set_quarters(x_row[r] + i);
      even[r] = V::fma(lower, x_four, even[r]);
      odd[r] = V::fma(upper, x_four, odd[r]);
    }
  }
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    V::store_quarter_sums(z.data + static_cast<std::size_t>(rows[r]) * z.stride, even[r], odd[r]);
  }
}

template <class V>
void lora_shrink(const Bf16* page, int k, ConstRows x, const std::int32_t* rows, int num_rows,
                 Rows z) {
  int row = 0;
  for (; row + kLoraRows <= num_rows; row += kLoraRows) {
    shrink_rows<V, kLoraRows>(page, k, x, rows + row, z);
  }
  for (; row < num_rows; ++row) shrink_rows<V, 1>(page, k, x, rows + row, z);
}

inline constexpr std::size_t kExpandWords = 2;  // sixteen words are 32 columns
inline constexpr int kExpandColumns = 2 * kLanes * static_cast<int>(kExpandWords);

// Columns [n, n + kExpandColumns) of y. So many at a time, because the ranks of B lie so far apart
// that their lines share cache sets and must be used up while they are there.
template <class V, std::size_t kRows>
void expand_rows(const Bf16* b, int ranks, int out_features, ConstRows z, const std::int32_t* rows,
                 int n, Rows y) {
  typename V::Float even[kRows][kExpandWords];
  typename V::Float odd[kRows][kExpandWords];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    TESSERA_UNROLL
    for (std::size_t w = 0; w < kExpandWords; ++w) even[r][w] = odd[r][w] = V::zero();
  }
  const float* z_row[kRows];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    z_row[r] = z.data + static_cast<std::size_t>(rows[r]) * z.stride;
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const Bf16* b_rank = b + static_cast<std::ptrdiff_t>(rank) * out_features + n;
    TESSERA_UNROLL
    for (std::size_t w = 0; w < kExpandWords; ++w) {
      __builtin_prefetch(b_rank + 2 * kLanes * w + kExpandPrefetch);
      const auto words = V::load_words(b_rank + 2 * kLanes * w);
      const auto lower = V::as_float(V::template shift_left<16>(words));
      const auto upper = V::as_float(V::high_halves(words));
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto z_rank = V::set(z_row[r][rank]);
        even[r][w] = V::fma(lower, z_rank, even[r][w]);
        odd[r][w] = V::fma(upper, z_rank, odd[r][w]);
      }
    }
  }
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    float* y_row = y.data + static_cast<std::size_t>(rows[r]) * y.stride + n;
    TESSERA_UNROLL
    for (std::size_t w = 0; w < kExpandWords; ++w, y_row += 2 * kLanes) {
      typename V::Float first;
      typename V::Float last;
      V::interleave(even[r][w], odd[r][w], first, last);
      V::store(y_row, V::add(V::load(y_row), first));
      V::store(y_row + kLanes, V::add(V::load(y_row + kLanes), last));
    }
  }
}

// Columns [n, n + count) of one row, count <= 16: the same sums.
template <class V>
void expand_last(const Bf16* b, int ranks, int out_features, const float* z, int n, int count,
                 float* y) {
  typename V::Float delta = V::zero();
  for (int rank = 0; rank < ranks; ++rank) {
    const Bf16* b_rank = b + static_cast<std::ptrdiff_t>(rank) * out_features + n;
    delta = V::fma(V::load_first_bf16(b_rank, count), V::set(z[rank]), delta);
  }
  V::store_first(y + n, V::add(V::load_first(y + n, count), delta), count);
}

template <class V>
void lora_expand(const Bf16* b, int ranks, int out_features, ConstRows z, const std::int32_t* rows,
                 int num_rows, int begin, int end, Rows y) {
  int n = begin;
  for (; n + kExpandColumns <= end; n += kExpandColumns) {
    int row = 0;
    for (; row + kLoraRows <= num_rows; row += kLoraRows) {
      expand_rows<V, kLoraRows>(b, ranks, out_features, z, rows + row, n, y);
    }
    for (; row < num_rows; ++row) {
      expand_rows<V, 1>(b, ranks, out_features, z, rows + row, n, y);
    }
  }
  for (; n < end; n += kLanes) {
    const int count = end - n < kLanes ? end - n : kLanes;
    for (int row = 0; row < num_rows; ++row) {
      const auto index = static_cast<std::size_t>(rows[row]);
      expand_last<V>(b, ranks, out_features, z.data + index * z.stride, n, count,
                     y.data + index * y.stride);
    }
  }
}

}  // namespace tessera

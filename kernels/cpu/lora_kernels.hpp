// lora_kernels.hpp — z = A x (shrink) and y += B z (expand) over pages of eight ranks.
//
// The rows listed share the adapter, so a page is read from memory once for all of them; each row's
// sums run in the order of k, or of ranks, whoever else is listed. z has a row for each of the
// list. What the elements of a page are is a parameter: Bf16Pages here, Int8Pages in
// lora_int8_kernels.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/vec.hpp"
#include "kernels/lora.hpp"

namespace tessera {

// Bytes ahead that are asked for: the hardware's prefetchers stop at pages and do not follow the
// ranks of B.
inline constexpr std::size_t kShrinkPrefetch = 4096;
inline constexpr std::size_t kExpandPrefetch = 512;

inline constexpr int kLoraRows = 4;  // rows that share the widening of a page's elements

// Columns that an expand takes at a time. So many, because the ranks of B lie so far apart that
// their lines share cache sets and must be used up while they are there.
inline constexpr std::size_t kExpandPairs = 2;
inline constexpr int kExpandColumns = 2 * kLanes * static_cast<int>(kExpandPairs);

template <class V>
struct Bf16Pages {
  using Element = Bf16;

  // Sixteen words are four input features of eight ranks, two ranks a word: the lower halves go to
  // one sum, the upper to another, and at the end each sum's four quarters are added.
  template <std::size_t kRows>
  static void shrink(const Bf16* page, int k, ConstRows x, const std::int32_t* rows, Rows z) {
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
      __builtin_prefetch(four + kShrinkPrefetch / sizeof(Bf16));
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
      V::store_quarter_sums(z.data + r * z.stride, even[r], odd[r]);
    }
  }

  // Even and odd columns of 32 of b.
  static void load_pair(const Bf16* b, typename V::Float& even, typename V::Float& odd) {
    const auto words = V::load_words(b);
    even = V::as_float(V::template shift_left<16>(words));
    odd = V::as_float(V::high_halves(words));
  }
  // The 32 columns in order.
  static void order_pair(typename V::Float even, typename V::Float odd, typename V::Float& first,
                         typename V::Float& last) {
    V::interleave(even, odd, first, last);
  }
  static typename V::Float load_first(const Bf16* b, int count) {
    return V::load_first_bf16(b, count);
  }
};

template <class V, class Pages>
void lora_shrink(const std::byte* page, int k, ConstRows x, const std::int32_t* rows, int num_rows,
                 Rows z) {
  const auto* elements = reinterpret_cast<const typename Pages::Element*>(page);
  int row = 0;
  for (; row + kLoraRows <= num_rows; row += kLoraRows, z.data += kLoraRows * z.stride) {
    Pages::template shrink<kLoraRows>(elements, k, x, rows + row, z);
  }
  for (; row < num_rows; ++row, z.data += z.stride) {
    Pages::template shrink<1>(elements, k, x, rows + row, z);
  }
}

// Columns [n, n + kExpandColumns) of y.
template <class V, class Pages, std::size_t kRows>
void expand_rows(const typename Pages::Element* b, int ranks, int out_features, ConstRows z,
                 const std::int32_t* rows, int n, Rows y) {
  typename V::Float sum[kRows][2 * kExpandPairs];
  const float* z_row[kRows];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    z_row[r] = z.data + r * z.stride;
    TESSERA_UNROLL
    for (std::size_t i = 0; i < 2 * kExpandPairs; ++i) sum[r][i] = V::zero();
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const auto* b_rank = b + static_cast<std::ptrdiff_t>(rank) * out_features + n;
    TESSERA_UNROLL
    for (std::size_t pair = 0; pair < kExpandPairs; ++pair) {
      const auto* columns = b_rank + 2 * kLanes * pair;
      __builtin_prefetch(columns + kExpandPrefetch / sizeof(typename Pages::Element));
      typename V::Float one;
      typename V::Float other;
      Pages::load_pair(columns, one, other);
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto z_rank = V::set(z_row[r][rank]);
        sum[r][2 * pair] = V::fma(one, z_rank, sum[r][2 * pair]);
        sum[r][2 * pair + 1] = V::fma(other, z_rank, sum[r][2 * pair + 1]);
      }
    }
  }
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    float* y_row = y.data + static_cast<std::size_t>(rows[r]) * y.stride + n;
    TESSERA_UNROLL
    for (std::size_t pair = 0; pair < kExpandPairs; ++pair, y_row += 2 * kLanes) {
      typename V::Float first;
      typename V::Float last;
      Pages::order_pair(sum[r][2 * pair], sum[r][2 * pair + 1], first, last);
      V::store(y_row, V::add(V::load(y_row), first));
      V::store(y_row + kLanes, V::add(V::load(y_row + kLanes), last));
    }
  }
}

// Columns [n, n + count) of one row, count <= 16: the same sums.
template <class V, class Pages>
void expand_last(const typename Pages::Element* b, int ranks, int out_features, const float* z,
                 int n, int count, float* y) {
  typename V::Float delta = V::zero();
  for (int rank = 0; rank < ranks; ++rank) {
    const auto* b_rank = b + static_cast<std::ptrdiff_t>(rank) * out_features + n;
    delta = V::fma(Pages::load_first(b_rank, count), V::set(z[rank]), delta);
  }
  V::store_first(y + n, V::add(V::load_first(y + n, count), delta), count);
}

template <class V, class Pages>
void lora_expand(const std::byte* b, int ranks, int out_features, ConstRows z,
                 const std::int32_t* rows, int num_rows, int begin, int end, Rows y) {
  const auto* elements = reinterpret_cast<const typename Pages::Element*>(b);
  int n = begin;
  for (; n + kExpandColumns <= end; n += kExpandColumns) {
    int row = 0;
    ConstRows z_next = z;
    for (; row + kLoraRows <= num_rows; row += kLoraRows, z_next.data += kLoraRows * z.stride) {
      expand_rows<V, Pages, kLoraRows>(elements, ranks, out_features, z_next, rows + row, n, y);
    }
    for (; row < num_rows; ++row, z_next.data += z.stride) {
      expand_rows<V, Pages, 1>(elements, ranks, out_features, z_next, rows + row, n, y);
    }
  }
  for (; n < end; n += kLanes) {
    const int count = end - n < kLanes ? end - n : kLanes;
    for (int row = 0; row < num_rows; ++row) {
      expand_last<V, Pages>(elements, ranks, out_features,
                            z.data + static_cast<std::size_t>(row) * z.stride, n, count,
                            y.data + static_cast<std::size_t>(rows[row]) * y.stride);
    }
  }
}

// y[rows[r]][ids[i]] = w[i] . x[rows[r]] for kOwn rows of w and kRows of x, each sum in the order
// it would have alone.
template <class V, std::size_t kOwn, std::size_t kRows>
void multiply_own(const Bf16* w, int width, const std::int32_t* ids, ConstRows x,
                  const std::int32_t* rows, Rows y) {
  typename V::Float sum[kOwn][kRows];
  const float* x_row[kRows];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    x_row[r] = x.data + static_cast<std::size_t>(rows[r]) * x.stride;
    TESSERA_UNROLL
    for (std::size_t i = 0; i < kOwn; ++i) sum[i][r] = V::zero();
  }
  for (int k = 0; k < width; k += kLanes) {
    TESSERA_UNROLL
    for (std::size_t i = 0; i < kOwn; ++i) {
      const auto weights = V::load_bf16(w + i * static_cast<std::size_t>(width) + k);
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r) {
        sum[i][r] = V::fma(weights, V::load(x_row[r] + k), sum[i][r]);
      }
    }
  }
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    float* y_row = y.data + static_cast<std::size_t>(rows[r]) * y.stride;
    TESSERA_UNROLL
    for (std::size_t i = 0; i < kOwn; ++i) y_row[ids[i]] = V::sum(sum[i][r]);
  }
}

template <class V>
void multiply_own_rows(const Bf16* w, int width, const std::int32_t* ids, int count, ConstRows x,
                       const std::int32_t* rows, int num_rows, Rows y) {
  constexpr int kTogether = 4;
  int i = 0;
  for (; i + kTogether <= count; i += kTogether, w += kTogether * static_cast<std::size_t>(width)) {
    int row = 0;
    for (; row + 2 <= num_rows; row += 2) {
      multiply_own<V, kTogether, 2>(w, width, ids + i, x, rows + row, y);
    }
    for (; row < num_rows; ++row) {
      multiply_own<V, kTogether, 1>(w, width, ids + i, x, rows + row, y);
    }
  }
  for (; i < count; ++i, w += width) {
    for (int row = 0; row < num_rows; ++row) {
      multiply_own<V, 1, 1>(w, width, ids + i, x, rows + row, y);
    }
  }
}

}  // namespace tessera

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

inline constexpr int kLoraRows = 4;  // rows that share the widening of a page's elements

// Two input features of eight ranks fill the sixteen lanes; features 4i, 4i + 1 go to one sum and
// 4i + 2, 4i + 3 to another, and the halves and the two are added at the end.
template <class V, std::size_t kRows>
void shrink_rows(const Bf16* page, int k, ConstRows x, const std::int32_t* rows, Rows z) {
  typename V::Float sums[kRows][2];
  const float* x_row[kRows];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    sums[r][0] = sums[r][1] = V::zero();
    x_row[r] = x.data + static_cast<std::size_t>(rows[r]) * x.stride;
  }
  for (int i = 0; i < k; i += 4) {
    const auto even = V::load_bf16(page + static_cast<std::ptrdiff_t>(i) * kRanksPerPage);
    const auto odd = V::load_bf16(page + static_cast<std::ptrdiff_t>(i + 2) * kRanksPerPage);
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      sums[r][0] = V::fma(even, V::set_halves(x_row[r] + i), sums[r][0]);
      sums[r][1] = V::fma(odd, V::set_halves(x_row[r] + i + 2), sums[r][1]);
    }
  }
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    float* z_row = z.data + static_cast<std::size_t>(rows[r]) * z.stride;
    V::store_half_sums(z_row, V::add(sums[r][0], sums[r][1]));
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

// Columns [n, n + 16 kVectors) of y, or fewer: the last vector has `count` <= 16 of them. Several
// vectors at a time, because the ranks of B lie so far apart that their lines share cache sets and
// must be used up while they are there.
template <class V, std::size_t kRows, std::size_t kVectors>
void expand_rows(const Bf16* b, int ranks, int out_features, ConstRows z, const std::int32_t* rows,
                 int n, int count, Rows y) {
  typename V::Float delta[kRows][kVectors];
  const float* z_row[kRows];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    TESSERA_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v) delta[r][v] = V::zero();
    z_row[r] = z.data + static_cast<std::size_t>(rows[r]) * z.stride;
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const Bf16* b_rank = b + static_cast<std::ptrdiff_t>(rank) * out_features + n;
    TESSERA_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v, b_rank += kLanes) {
      const bool whole = v + 1 < kVectors || count == kLanes;
      const auto weights = whole ? V::load_bf16(b_rank) : V::load_first_bf16(b_rank, count);
      TESSERA_UNROLL
      for (std::size_t r = 0; r < kRows; ++r)
        delta[r][v] = V::fma(weights, V::set(z_row[r][rank]), delta[r][v]);
    }
  }
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    float* y_row = y.data + static_cast<std::size_t>(rows[r]) * y.stride + n;
    TESSERA_UNROLL
    for (std::size_t v = 0; v < kVectors; ++v, y_row += kLanes) {
      const int columns = v + 1 < kVectors ? kLanes : count;
      V::store_first(y_row, V::add(V::load_first(y_row, columns), delta[r][v]), columns);
    }
  }
}

// The rows listed, and columns [n, n + 16 (kVectors - 1) + count).
template <class V, std::size_t kVectors>
void expand_columns(const Bf16* b, int ranks, int out_features, ConstRows z,
                    const std::int32_t* rows, int num_rows, int n, int count, Rows y) {
  int row = 0;
  for (; row + kLoraRows <= num_rows; row += kLoraRows) {
    expand_rows<V, kLoraRows, kVectors>(b, ranks, out_features, z, rows + row, n, count, y);
  }
  for (; row < num_rows; ++row) {
    expand_rows<V, 1, kVectors>(b, ranks, out_features, z, rows + row, n, count, y);
  }
}

template <class V>
void lora_expand(const Bf16* b, int ranks, int out_features, ConstRows z, const std::int32_t* rows,
                 int num_rows, int begin, int end, Rows y) {
  constexpr int kVectors = 4;
  int n = begin;
  for (; n + kVectors * kLanes <= end; n += kVectors * kLanes) {
    expand_columns<V, kVectors>(b, ranks, out_features, z, rows, num_rows, n, kLanes, y);
  }
  for (; n < end; n += kLanes) {
    const int count = end - n < kLanes ? end - n : kLanes;
    expand_columns<V, 1>(b, ranks, out_features, z, rows, num_rows, n, count, y);
  }
}

}  // namespace tessera

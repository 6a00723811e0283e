// row_kernels.hpp — what is done to one row at a time: norms, activations, rotation, exp, routing.
#pragma once

#include <cmath>
#include <cstddef>

#include "kernels/cpu/codegen.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/vec.hpp"

namespace tessera {

// e^x to about one unit in the last place. x = n ln 2 + r with |r| <= ln 2 / 2, then Taylor's
// series to the seventh degree and n added to the exponent. Adding 1.5 * 2^23 rounds to an integer
// and leaves it in the low bits. Clamped to where the result is a normal number.
template <class V>
typename V::Float exponential(typename V::Float x) {
  const auto magic = V::set(12582912.0F);
  x = V::min(V::max(x, V::set(-87.0F)), V::set(88.0F));
  const auto shifted = V::fma(x, V::set(1.44269504F), magic);
  const auto n = V::sub(shifted, magic);
  auto r = V::fma(n, V::set(-0.693359375F), x);  // ln 2, the first nine bits: exact
  r = V::fma(n, V::set(2.12194440e-4F), r);      // and the rest
  auto p = V::set(1.0F / 5040.0F);
  p = V::fma(p, r, V::set(1.0F / 720.0F));
  p = V::fma(p, r, V::set(1.0F / 120.0F));
  p = V::fma(p, r, V::set(1.0F / 24.0F));
  p = V::fma(p, r, V::set(1.0F / 6.0F));
  p = V::fma(p, r, V::set(0.5F));
  p = V::fma(p, r, V::set(1.0F));
  p = V::fma(p, r, V::set(1.0F));
  const auto exponent = V::template shift_left<23>(V::as_words(shifted));
  return V::as_float(V::add_words(V::as_words(p), exponent));
}

// tanh(x) = 1 - 2 / (e^2x + 1), to about 1e-7. A NaN stays one: min and max give the second operand
// if either is.
template <class V>
typename V::Float hyperbolic_tangent(typename V::Float x) {
  x = V::max(V::set(-40.0F), V::min(V::set(40.0F), x));
  const auto e = exponential<V>(V::add(x, x));
  const auto t = V::sub(V::set(1.0F), V::div(V::set(2.0F), V::add(e, V::set(1.0F))));
  return V::fma(x, V::zero(), t);
}

template <class V>
void rms_norm(const float* x, const float* weight, float eps, int width, float* y) {
  const int whole = width / kLanes * kLanes;
  const int rest = width - whole;
  auto squares = V::zero();
  for (int i = 0; i < whole; i += kLanes) squares = V::fma(V::load(x + i), V::load(x + i), squares);
  if (rest > 0) {
    const auto last = V::load_first(x + whole, rest);
    squares = V::fma(last, last, squares);
  }
  const float mean = V::sum(squares) / static_cast<float>(width);
  const auto inverse = V::set(1.0F / std::sqrt(mean + eps));
  for (int i = 0; i < whole; i += kLanes) {
    V::store(y + i, V::mul(V::load(weight + i), V::mul(V::load(x + i), inverse)));
  }
  if (rest > 0) {
    const auto last = V::mul(V::load_first(x + whole, rest), inverse);
    V::store_first(y + whole, V::mul(V::load_first(weight + whole, rest), last), rest);
  }
}

template <class V>
void add_scaled(float* y, const float* x, float scale, int count) {
  const auto factor = V::set(scale);
  for (int i = 0; i < count; i += kLanes) {
    V::store(y + i, V::fma(V::load(x + i), factor, V::load(y + i)));
  }
}

template <class V>
void scale(float* y, float scale, int count) {
  const auto factor = V::set(scale);
  for (int i = 0; i < count; i += kLanes) V::store(y + i, V::mul(V::load(y + i), factor));
}

template <class V>
void softcap(float* y, float cap, int count) {
  const auto inverse = V::set(1.0F / cap);
  for (int i = 0; i < count; i += kLanes) {
    const auto capped = hyperbolic_tangent<V>(V::mul(V::load(y + i), inverse));
    V::store(y + i, V::mul(capped, V::set(cap)));
  }
}

template <class V>
void silu_multiply(float* gate, const float* up, int count) {
  for (int i = 0; i < count; i += kLanes) {
    const auto g = V::load(gate + i);
    const auto e = exponential<V>(V::sub(V::zero(), g));
    const auto silu = V::div(g, V::add(V::set(1.0F), e));
    V::store(gate + i, V::mul(silu, V::load(up + i)));
  }
}

// x / 2 * (1 + tanh(u)) = x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
template <class V>
void gelu_multiply(float* gate, const float* up, int count) {
  for (int i = 0; i < count; i += kLanes) {
    const auto g = V::load(gate + i);
    const auto cubic = V::fma(V::mul(g, g), V::set(0.044715F), V::set(1.0F));
    const auto minus_2u = V::mul(V::mul(g, cubic), V::set(-1.59576912F));
    const auto e = exponential<V>(minus_2u);
    const auto gelu = V::div(g, V::add(V::set(1.0F), e));
    V::store(gate + i, V::mul(gelu, V::load(up + i)));
  }
}

template <class V>
void widen_bf16(const Bf16* source, int count, float* y) {
  for (int i = 0; i < count; i += kLanes) V::store(y + i, V::load_bf16(source + i));
}

// The pairs (head[i], head[i + half]), as rotate_half of Hugging Face's Llama.
template <class V>
void rotate(float* head, const float* cosine, const float* sine, int half) {
  for (int i = 0; i < half; i += kLanes) {
    const int count = half - i < kLanes ? half - i : kLanes;
    const auto c = V::load_first(cosine + i, count);
    const auto s = V::load_first(sine + i, count);
    const auto first = V::load_first(head + i, count);
    const auto second = V::load_first(head + half + i, count);
    V::store_first(head + i, V::sub(V::mul(first, c), V::mul(second, s)), count);
    V::store_first(head + half + i, V::add(V::mul(second, c), V::mul(first, s)), count);
  }
}

// kRows sums side by side, each in the order it would have alone.
template <class V, std::size_t kRows>
void multiply_fp32_rows(const float* w, int width, const float* x, float* y) {
  typename V::Float sum[kRows];
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) sum[r] = V::zero();
  for (int i = 0; i < width; i += kLanes) {
    const auto x_i = V::load(x + i);
    TESSERA_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      sum[r] = V::fma(V::load(w + r * static_cast<std::size_t>(width) + i), x_i, sum[r]);
    }
  }
  TESSERA_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) y[r] = V::sum(sum[r]);
}

template <class V>
void multiply_fp32(const float* w, int rows, int width, const float* x, float* y) {
  constexpr int kTogether = 4;
  int row = 0;
  for (; row + kTogether <= rows; row += kTogether) {
    multiply_fp32_rows<V, kTogether>(w + static_cast<std::ptrdiff_t>(row) * width, width, x,
                                     y + row);
  }
  for (; row < rows; ++row) {
    multiply_fp32_rows<V, 1>(w + static_cast<std::ptrdiff_t>(row) * width, width, x, y + row);
  }
}

}  // namespace tessera

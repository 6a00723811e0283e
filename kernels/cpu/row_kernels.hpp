// row_kernels.hpp — what is done to one row at a time: norms, activations, rotation, exp.
#pragma once

#include <cmath>
#include <cstddef>

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

template <class V>
void rms_norm(const float* x, const float* weight, float eps, int width, float* y) {
  auto squares = V::zero();
  for (int i = 0; i < width; i += kLanes) squares = V::fma(V::load(x + i), V::load(x + i), squares);
  const float mean = V::sum(squares) / static_cast<float>(width);
  const auto inverse = V::set(1.0F / std::sqrt(mean + eps));
  for (int i = 0; i < width; i += kLanes) {
    V::store(y + i, V::mul(V::load(weight + i), V::mul(V::load(x + i), inverse)));
  }
}

template <class V>
void add(float* y, const float* x, int count) {
  for (int i = 0; i < count; i += kLanes) V::store(y + i, V::add(V::load(y + i), V::load(x + i)));
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

template <class V>
void widen_bf16(const Bf16* source, int count, float* y) {
  for (int i = 0; i < count; i += kLanes) V::store(y + i, V::load_bf16(source + i));
}

// The pairs (head[i], head[i + dim / 2]), as rotate_half of Hugging Face's Llama.
template <class V>
void rotate(float* head, const float* cosine, const float* sine, int head_dim) {
  const int half = head_dim / 2;
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

}  // namespace tessera

// kv_kernels.hpp — keys and values into the cache, and its elements out of it (kv_layout.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/kv_layout.hpp"
#include "kernels/cpu/vec.hpp"

namespace tessera {

// How a cache's elements become fp32, for KvForm::kF16 and kInt8. Indices count elements.
template <class V>
struct HalfCache {
  static constexpr bool kHasScales = false;
  static constexpr std::size_t kBytes = 2;
  static typename V::Float load(const std::byte* p) {
    return V::load_f16(reinterpret_cast<const std::uint16_t*>(p));
  }
};
template <class V>
struct IntegerCache {
  static constexpr bool kHasScales = true;
  static constexpr std::size_t kBytes = 1;
  static typename V::Float load(const std::byte* p) {
    return V::load_int8(reinterpret_cast<const std::int8_t*>(p));
  }
};

// Where one position's key, value and their scales are within a head's part of a block. The
// elements of a key are kLanes apart.
template <class V, class Element>
struct KvPlace {
  const KvLayout& layout;
  std::byte* head_block;
  int offset;  // of the position within the block

  Element* key() const {
    return reinterpret_cast<Element*>(head_block) + offset / kLanes * layout.head_dim * kLanes +
           offset % kLanes;
  }
  Element* value() const {
    return reinterpret_cast<Element*>(head_block + layout.values) + offset * layout.value_stride;
  }
  float* key_scale() const {
    return reinterpret_cast<float*>(head_block + layout.key_scales) + offset;
  }
  float* value_scale() const {
    return reinterpret_cast<float*>(head_block + layout.value_scales) + offset;
  }
};

template <class V>
void store_half_kv(const KvLayout& layout, const float* key, const float* value,
                   std::byte* head_block, int offset) {
  const auto largest = V::set(65504.0F);
  const auto smallest = V::set(-65504.0F);
  const KvPlace<V, std::uint16_t> place{layout, head_block, offset};
  std::uint16_t* keys = place.key();
  std::uint16_t* values = place.value();
  for (int i = 0; i < layout.head_dim; i += kLanes) {
    const int count = layout.head_dim - i < kLanes ? layout.head_dim - i : kLanes;
    const auto v = V::load_first(value + i, count);
    V::store_f16(values + i, V::max(smallest, V::min(largest, v)));
    std::uint16_t halves[kLanes];
    const auto k = V::load_first(key + i, count);
    V::store_f16(halves, V::max(smallest, V::min(largest, k)));
    for (int j = 0; j < count; ++j) keys[(i + j) * kLanes] = halves[j];
  }
}

// Writes `count` elements, `stride` apart, as integers of the scale that it returns. A NaN or an
// infinity makes the scale NaN, so that the sequence it belongs to does not take it for a number.
template <class V>
float store_integers(const float* x, int count, std::int8_t* y, int stride) {
  auto largest = V::zero();
  auto not_finite = V::zero();  // or NaN
  for (int i = 0; i < count; i += kLanes) {
    const auto v = V::load_first(x + i, count - i < kLanes ? count - i : kLanes);
    largest = V::max(largest, V::max(v, V::sub(V::zero(), v)));
    not_finite = V::fma(v, V::zero(), not_finite);
  }
  const float magnitude = V::largest(largest);
  const auto factor = V::set(magnitude > 1e-30F ? 127.0F / magnitude : 0.0F);
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low byte.
  const auto magic = V::set(12582912.0F);
  for (int i = 0; i < count; i += kLanes) {
    const int lanes = count - i < kLanes ? count - i : kLanes;
    float rounded[kLanes];
    V::store(rounded, V::fma(V::load_first(x + i, lanes), factor, magic));
    std::uint32_t words[kLanes];
    std::memcpy(words, rounded, sizeof(words));
    for (int j = 0; j < lanes; ++j) y[(i + j) * stride] = static_cast<std::int8_t>(words[j]);
  }
  return magnitude / 127.0F + V::sum(not_finite);
}

template <class V>
void store_kv(const KvLayout& layout, const float* key, const float* value, std::byte* head_block,
              int offset) {
  if (!layout.has_scales) {
    store_half_kv<V>(layout, key, value, head_block, offset);
    return;
  }
  const KvPlace<V, std::int8_t> place{layout, head_block, offset};
  *place.key_scale() = store_integers<V>(key, layout.head_dim, place.key(), kLanes);
  *place.value_scale() = store_integers<V>(value, layout.head_dim, place.value(), 1);
}

}  // namespace tessera

#include "kernels/lora_int8.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <vector>

namespace tessera {
namespace {

constexpr float kLargest = 127.0F;
constexpr int kProbes = 4;
constexpr auto kRanks = static_cast<std::size_t>(kRanksPerPage);

// Elements of one rank: `count` of them, `stride` apart.
template <class T>
struct Rank {
  T* data;
  std::size_t stride;
  std::size_t count;

  T& operator[](std::size_t i) const { return data[i * stride]; }
};

// Returns the scale.
float quantise(Rank<const float> from, Rank<std::int8_t> to) {
  float largest = 0.0F;
  bool finite = true;
  for (std::size_t i = 0; i < from.count; ++i) {
    finite = finite && std::isfinite(from[i]);
    largest = std::max(largest, std::abs(from[i]));
  }
  const float scale = finite ? largest / kLargest : std::nanf("");
  const float inverse = finite && scale > 0.0F ? 1.0F / scale : 0.0F;
  for (std::size_t i = 0; i < from.count; ++i) {
    const float rounded = inverse == 0.0F ? 0.0F : std::nearbyint(from[i] * inverse);
    to[i] = static_cast<std::int8_t>(std::clamp(rounded, -kLargest, kLargest));
  }
  return scale;
}

// -1 or 1, by SplitMix64 (Steele et al., 2014).
float random_sign(std::uint64_t index) {
  std::uint64_t bits = (index + 1) * 0x9E3779B97F4A7C15U;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9U;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBU;
  return (bits >> 63) == 0 ? 1.0F : -1.0F;
}

std::vector<float> random_signs(std::size_t count, int probe) {
  std::vector<float> x(count);
  for (std::size_t k = 0; k < count; ++k) {
    x[k] = random_sign((static_cast<std::uint64_t>(probe) << 32) + k);
  }
  return x;
}

// z[rank] = A x
template <class Element>
std::vector<float> shrink(const Element* a, std::size_t ranks, const std::vector<float>& x) {
  std::vector<float> z(ranks);
  for (std::size_t page = 0; page < ranks / kRanks; ++page) {
    std::array<float, kRanks> sum = {};
    for (const float x_k : x) {
      for (std::size_t j = 0; j < kRanks; ++j) sum[j] += static_cast<float>(a[j]) * x_k;
      a += kRanks;
    }
    std::copy(sum.begin(), sum.end(), z.begin() + static_cast<std::ptrdiff_t>(page * kRanks));
  }
  return z;
}

// y += sign * B z
template <class Element>
void expand(const Element* b, const std::vector<float>& z, float sign, std::vector<float>& y) {
  for (const float z_rank : z) {
    for (float& value : y) value += sign * z_rank * static_cast<float>(*b++);
  }
}

double squares(const std::vector<float>& values) {
  double sum = 0.0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum;
}

}  // namespace

double PageError::relative() const {
  if (error == 0.0) return 0.0;
  return std::sqrt(error / whole);
}

PageError& PageError::operator+=(const PageError& other) {
  error += other.error;
  whole += other.whole;
  return *this;
}

PageError quantise_pages(const LoraModule& module, LinearShape shape, std::span<std::int8_t> a,
                         std::span<std::int8_t> b, std::span<float> scales) {
  const auto in = static_cast<std::size_t>(shape.in_features);
  const auto out = static_cast<std::size_t>(shape.out_features);
  const auto ranks = static_cast<std::size_t>(pages_of_rank(module.rank)) * kRanks;
  assert(a.size() == ranks * in && b.size() == ranks * out && scales.size() == ranks);
  const auto* exact_a = reinterpret_cast<const float*>(module.a);
  const auto* exact_b = reinterpret_cast<const float*>(module.b);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const std::size_t at = rank / kRanks * in * kRanks + rank % kRanks;
    scales[rank] = quantise({exact_a + at, kRanks, in}, {a.data() + at, kRanks, in}) *
                   quantise({exact_b + rank * out, 1, out}, {b.data() + rank * out, 1, out});
  }
  PageError total;
  for (int probe = 0; probe < kProbes; ++probe) {
    const std::vector<float> x = random_signs(in, probe);
    std::vector<float> y(out);
    expand(exact_b, shrink(exact_a, ranks, x), 1.0F, y);
    total.whole += squares(y);
    std::vector<float> z = shrink(a.data(), ranks, x);
    for (std::size_t rank = 0; rank < ranks; ++rank) z[rank] *= scales[rank];
    expand(b.data(), z, -1.0F, y);
    total.error += squares(y);
  }
  return total;
}

}  // namespace tessera

// drawing_math.hpp — how probable a token is, to the bit, on every machine.
//
// Probabilities are added as integers: a token's mass is exp((logit - largest) / temperature) in
// units of 2^-45, so the largest has 2^45, what is less than a 2^46th of it has none, and no order
// of additions changes a sum. The exponential is made of products and sums that IEEE 754 rounds in
// one way, each by itself: a CPU, a GPU and a compiler that likes to fuse come to the same integer.
// Against exact sums a boundary between two tokens moves by 2^-28 of a probability.
//
// Host and device; whoever calls these on a host compiles without contraction of products and sums
// (kernels/drawing.cpp does, for all of us).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#if !defined(TESSERA_HOST_DEVICE)
#if defined(__CUDACC__)
#define TESSERA_HOST_DEVICE __host__ __device__
#else
#define TESSERA_HOST_DEVICE
#endif
#endif

// Part of their caller, so that they become what it is compiled for.
#if defined(__CUDACC__)
#define TESSERA_DRAWING TESSERA_HOST_DEVICE __forceinline__
#else
#define TESSERA_DRAWING [[gnu::always_inline]] inline
#endif

namespace tessera {

inline constexpr double kMassOfOne = 0x1p45;
// Largest vocabulary, so that the masses of one add up in 64 bits, with room for one more.
inline constexpr int kMaxDrawnVocab = 3 << 17;

namespace drawing {

// One rounding each, whatever the compiler would like to fuse.
TESSERA_DRAWING double product(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}
TESSERA_DRAWING double sum(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dadd_rn(a, b);
#else
  return a + b;
#endif
}
TESSERA_DRAWING double quotient(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __ddiv_rn(a, b);
#else
  return a / b;
#endif
}
TESSERA_DRAWING std::uint64_t bits_of(double x) {
#if defined(__CUDA_ARCH__)
  return static_cast<std::uint64_t>(__double_as_longlong(x));
#else
  return std::bit_cast<std::uint64_t>(x);
#endif
}
TESSERA_DRAWING double from_bits(std::uint64_t bits) {
#if defined(__CUDA_ARCH__)
  return __longlong_as_double(static_cast<long long>(bits));
#else
  return std::bit_cast<double>(bits);
#endif
}

// exp(x) for x in [-40, 0], any number for others; by Cody and Waite: a power of two and a
// polynomial on half a ln 2 to either side of 0, within 2^-46 of it.
TESSERA_DRAWING double exponential(double x) {
  constexpr double kRound = 0x1.8p52;  // a sum with it has no bits behind the point
  constexpr double kLn2High = 0x1.62e42fee00000p-1;
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  const double shifted = sum(product(x, 0x1.71547652b82fep0), kRound);
  const double n = sum(shifted, -kRound);
  const double r = sum(sum(x, product(n, -kLn2High)), product(n, -kLn2Low));
  double p = 1.0 / 39916800;
  p = sum(product(p, r), 1.0 / 3628800);
  p = sum(product(p, r), 1.0 / 362880);
  p = sum(product(p, r), 1.0 / 40320);
  p = sum(product(p, r), 1.0 / 5040);
  p = sum(product(p, r), 1.0 / 720);
  p = sum(product(p, r), 1.0 / 120);
  p = sum(product(p, r), 1.0 / 24);
  p = sum(product(p, r), 1.0 / 6);
  p = sum(product(p, r), 0.5);
  p = sum(product(p, r), 1.0);
  p = sum(product(p, r), 1.0);
  // n is an integer in the lowest bits of `shifted`; p's exponent grows by it.
  return from_bits(bits_of(p) + (bits_of(shifted) << 52));
}

}  // namespace drawing

// exp((logit - largest) / temperature), of a logit that is no larger; 0 where that is below e^-40,
// and of a NaN.
TESSERA_DRAWING double weight_of(float logit, double largest, double temperature) {
  const double x =
      drawing::quotient(drawing::sum(static_cast<double>(logit), -largest), temperature);
  // Without a branch, so that a loop of these is vector instructions.
  const std::uint64_t kept = 0 - static_cast<std::uint64_t>(x >= -40.0);
  return drawing::from_bits(drawing::bits_of(drawing::exponential(x)) & kept);
}

// A weight of at most 1 in units of 2^-45, to the nearest. What has less than min_p's is dropped.
TESSERA_DRAWING std::uint64_t mass_of(double weight) {
  constexpr double kShift = 0x1p52;
  return drawing::bits_of(drawing::sum(drawing::product(weight, kMassOfOne), kShift)) -
         drawing::bits_of(kShift);
}

// The mass that the most likely tokens must reach to be `top_p` of `total`; 1 at least.
TESSERA_DRAWING std::uint64_t mass_to_reach(float top_p, std::uint64_t total) {
  const double share =
      std::ceil(drawing::product(static_cast<double>(top_p), static_cast<double>(total)));
  return share < 1.0 ? 1 : static_cast<std::uint64_t>(share);
}

// total * bits / 2^53, rounded down.
TESSERA_DRAWING std::uint64_t share_of(std::uint64_t total, std::uint64_t bits) {
  const std::uint64_t low = (total & 0xFFFFFFFFU) * (bits & 0xFFFFFFFFU);
  const std::uint64_t middle1 = (total >> 32) * (bits & 0xFFFFFFFFU);
  const std::uint64_t middle2 = (total & 0xFFFFFFFFU) * (bits >> 32);
  const std::uint64_t high = (total >> 32) * (bits >> 32);
  const std::uint64_t carried = (low >> 32) + (middle1 & 0xFFFFFFFFU) + (middle2 & 0xFFFFFFFFU);
  const std::uint64_t upper = high + (middle1 >> 32) + (middle2 >> 32) + (carried >> 32);
  const std::uint64_t lower = carried << 32 | (low & 0xFFFFFFFFU);
  return upper << 11 | lower >> 53;
}

}  // namespace tessera

// modular.hpp — remainders of numbers read digit by digit.
#pragma once

#include <cstdint>

namespace tessera::guided {

__extension__ using Wide = unsigned __int128;

// a b mod modulus.
inline std::uint64_t multiply_modulo(std::uint64_t a, std::uint64_t b, std::uint64_t modulus) {
  return static_cast<std::uint64_t>(Wide{a} * b % modulus);
}

// The remainder of a number once `digit` ('0' to '9') is written behind it. modulus < 2^63.
inline std::uint64_t append_modulo(std::uint64_t rest, char digit, std::uint64_t modulus) {
  return (multiply_modulo(rest, 10, modulus) + static_cast<std::uint64_t>(digit - '0')) % modulus;
}

inline std::uint64_t power_of_ten_modulo(std::int64_t exponent, std::uint64_t modulus) {
  std::uint64_t result = 1 % modulus;
  std::uint64_t square = 10 % modulus;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 != 0) result = multiply_modulo(result, square, modulus);
    square = multiply_modulo(square, square, modulus);
  }
  return result;
}

}  // namespace tessera::guided

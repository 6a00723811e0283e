// philox.hpp — random numbers as a function of a key and a counter, with no state between calls.
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). A sample is
// keyed by the request's seed and counted by the token's position, so it depends on these alone and
// never on what else the server was doing (promise P2).
#pragma once

#include <array>
#include <cstdint>

namespace tessera {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

constexpr PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  constexpr int kRounds = 10;
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr PhiloxKey kWeyl = {0x9E3779B9, 0xBB67AE85};
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key = {key[0] + kWeyl[0], key[1] + kWeyl[1]};
  }
  return counter;
}

// 53 random bits for the token at `position` of the request with `seed`.
constexpr std::uint64_t uniform_bits(std::uint64_t seed, std::uint32_t position) {
  const auto words = philox4x32({position, 0, 0, 0}, {static_cast<std::uint32_t>(seed),
                                                      static_cast<std::uint32_t>(seed >> 32)});
  return (std::uint64_t{words[0]} << 32 | words[1]) >> 11;
}
// The same as a number in [0, 1).
constexpr double uniform_at(std::uint64_t seed, std::uint32_t position) {
  return static_cast<double>(uniform_bits(seed, position)) * 0x1p-53;
}

}  // namespace tessera

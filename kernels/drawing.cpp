#include "kernels/drawing.hpp"

#include <cassert>
#include <cmath>
#include <cstddef>

// The same sums and products in wider registers; none of them fused (CMakeLists.txt).
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define TESSERA_WIDEST __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define TESSERA_WIDEST
#endif

namespace tessera {

TESSERA_WIDEST
void fill_masses(std::span<const float> logits, float largest, float temperature,
                 std::span<std::uint64_t> masses) {
  assert(masses.size() == logits.size());
  const auto shift = static_cast<double>(largest);
  const auto divisor = static_cast<double>(temperature);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    masses[i] = mass_of(weight_of(logits[i], shift, divisor));
  }
}

float log_probability(float logit, float largest, std::uint64_t total) {
  const double log_total = std::log(static_cast<double>(total) / kMassOfOne);
  return static_cast<float>(static_cast<double>(logit) - static_cast<double>(largest) - log_total);
}

}  // namespace tessera

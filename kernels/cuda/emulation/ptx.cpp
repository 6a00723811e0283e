#include "kernels/cuda/emulation/ptx.hpp"

namespace tessera::emulation {

// A is row-major 16 x 32 (rows g and g + 8, columns 4t and 4t + 16), B column-major 32 x 8.
void multiply_16x8x32(Mma8* const* lanes) {
  std::int8_t a[16][32];
  std::int8_t b[32][8];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const unsigned g = lane / 4;
    const unsigned t = lane % 4;
    for (unsigned i = 0; i < 4; ++i) {
      for (unsigned j = 0; j < 4; ++j) {
        a[g + 8 * (i & 1U)][4 * t + 16 * (i >> 1U) + j] =
            static_cast<std::int8_t>(lanes[lane]->a[i] >> (8 * j));
      }
    }
    for (unsigned i = 0; i < 2; ++i) {
      for (unsigned j = 0; j < 4; ++j) {
        b[4 * t + 16 * i + j][g] = static_cast<std::int8_t>(lanes[lane]->b[i] >> (8 * j));
      }
    }
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      std::int32_t sum = lanes[lane]->c[i];
      for (unsigned k = 0; k < 32; ++k) {
        sum += a[lane / 4 + 8 * (i >> 1U)][k] * b[k][lane % 4 * 2 + (i & 1U)];
      }
      lanes[lane]->c[i] = sum;
    }
  }
}

}  // namespace tessera::emulation

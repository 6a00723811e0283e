// ptx.hpp — the instructions of ptx.cuh on the emulated machine, by the fragment maps that the PTX
// manual gives ("Matrix Fragments for mma.m16n8k16", "ldmatrix").
//
// A product of an mma is summed in fp64 and rounded once to fp32. A tensor core adds in an order
// and with an alignment of its own, so a device's last bits differ.
#pragma once

#include "kernels/bf16.hpp"
#include "kernels/cuda/emulation/simt.hpp"
#include "kernels/cuda/half.hpp"

namespace tessera {

// ---- Numbers of sixteen bits.

namespace emulation {

inline float low_bf16(std::uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
inline float high_bf16(std::uint32_t pair) {
  return std::bit_cast<float>(pair & 0xFFFF0000U);
}
inline float low_half(std::uint32_t pair) {
  return float_from_half(static_cast<std::uint16_t>(pair & 0xFFFFU));
}
inline float high_half(std::uint32_t pair) {
  return float_from_half(static_cast<std::uint16_t>(pair >> 16));
}

}  // namespace emulation

inline std::uint32_t pack_bf16(float low, float high) {
  return float_to_bf16(low) | static_cast<std::uint32_t>(float_to_bf16(high)) << 16;
}
inline std::uint32_t pack_half(float low, float high) {
  return half_from_float(low) | static_cast<std::uint32_t>(half_from_float(high)) << 16;
}
inline float2 unpack_bf16(std::uint32_t pair) {
  return {emulation::low_bf16(pair), emulation::high_bf16(pair)};
}
inline float2 unpack_half(std::uint32_t pair) {
  return {emulation::low_half(pair), emulation::high_half(pair)};
}
inline std::uint16_t to_half(float value) {
  return half_from_float(value);
}
inline float from_half(std::uint16_t half) {
  return float_from_half(half);
}
inline std::uint32_t add_half2(std::uint32_t a, std::uint32_t b) {
  const float2 x = unpack_half(a);
  const float2 y = unpack_half(b);
  return pack_half(x.x + y.x, x.y + y.y);
}
inline std::uint32_t multiply_half2(std::uint32_t a, std::uint32_t b) {
  const float2 x = unpack_half(a);
  const float2 y = unpack_half(b);
  return pack_half(x.x * y.x, x.y * y.y);
}

// ---- Shared memory by 32-bit address.

inline std::uint32_t shared_address(const void* pointer) {
  return emulation::shared_address(pointer);
}
namespace emulation {
template <class T>
T load_shared(std::uint32_t address) {
  T value;
  std::memcpy(&value, at_shared(address, sizeof value), sizeof value);
  return value;
}
}  // namespace emulation
inline std::uint32_t load_shared_u32(std::uint32_t address) {
  return emulation::load_shared<std::uint32_t>(address);
}
inline uint4 load_shared_u128(std::uint32_t address) {
  return emulation::load_shared<uint4>(address);
}

// ---- Global memory, read once.

template <class T>
T* keep(T* pointer) {
  return pointer;
}

inline uint4 load_global(const uint4* at) {
  if (reinterpret_cast<std::uintptr_t>(at) % 16 != 0) emulation::fail("a misaligned load");
  return *at;
}
inline uint4 load_stream(const uint4* at) {
  if (reinterpret_cast<std::uintptr_t>(at) % 16 != 0) emulation::fail("a misaligned load");
  return *at;
}

// ---- Copies that run beside the thread.

inline void copy_async_16(void* shared, const void* global) {
  emulation::copy_async(shared, global, 16);
}
inline void copy_async_4(void* shared, const void* global) {
  emulation::copy_async(shared, global, 4);
}
inline void copy_async_8(void* shared, const void* global) {
  emulation::copy_async(shared, global, 8);
}
inline void commit_copies() {
  emulation::commit_copies();
}
template <int kPending>
void wait_copies() {
  emulation::wait_copies(kPending);
}

// ---- Matrices.

namespace emulation {

struct LoadMatrix {
  const void* row;
  std::uint32_t registers[4];
};

template <int kCount, bool kTransposed>
void load_matrices(LoadMatrix* const* lanes) {
  for (unsigned matrix = 0; matrix < kCount; ++matrix) {
    std::uint16_t elements[8][8];
    for (unsigned row = 0; row < 8; ++row) {
      const std::uint32_t address = shared_address(lanes[8 * matrix + row]->row);
      std::memcpy(elements[row], at_shared(address, 16), 16);
    }
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      const unsigned row = lane / 4;
      const unsigned col = lane % 4 * 2;
      const std::uint32_t low = kTransposed ? elements[col][row] : elements[row][col];
      const std::uint32_t high = kTransposed ? elements[col + 1][row] : elements[row][col + 1];
      lanes[lane]->registers[matrix] = low | high << 16;
    }
  }
}

template <int kCount, bool kTransposed>
void load_matrix(std::uint32_t* registers, const void* row, const std::source_location& where) {
  LoadMatrix mine{row, {}};
  exchange(
      0xFFFFFFFFU, kTransposed ? "ldmatrix.trans" : "ldmatrix", mine,
      [](LoadMatrix* const* lanes, unsigned) { load_matrices<kCount, kTransposed>(lanes); }, where);
  std::copy_n(mine.registers, kCount, registers);
}

struct Mma16 {
  float* c;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

// A is row-major 16 x 16 (rows g and g + 8, columns 2t and 2t + 8), B column-major 16 x 8.
template <float (*kLow)(std::uint32_t), float (*kHigh)(std::uint32_t)>
void multiply_16x8x16(Mma16* const* lanes) {
  float a[16][16];
  float b[16][8];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const unsigned g = lane / 4;
    const unsigned t = lane % 4;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = g + 8 * (i & 1U);
      const unsigned col = 2 * t + 8 * (i >> 1U);
      a[row][col] = kLow(lanes[lane]->a[i]);
      a[row][col + 1] = kHigh(lanes[lane]->a[i]);
    }
    for (unsigned i = 0; i < 2; ++i) {
      b[2 * t + 8 * i][g] = kLow(lanes[lane]->b[i]);
      b[2 * t + 8 * i + 1][g] = kHigh(lanes[lane]->b[i]);
    }
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + 8 * (i >> 1U);
      const unsigned col = lane % 4 * 2 + (i & 1U);
      double sum = static_cast<double>(lanes[lane]->c[i]);
      for (unsigned k = 0; k < 16; ++k) {
        sum += static_cast<double>(a[row][k]) * static_cast<double>(b[k][col]);
      }
      lanes[lane]->c[i] = static_cast<float>(sum);
    }
  }
}

struct Mma8 {
  std::int32_t* c;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

void multiply_16x8x32(Mma8* const* lanes);

}  // namespace emulation

// Registers i of lane l: elements (l/4, 2(l%4)) and the next of the i-th 8 x 8 matrix of 16-bit
// elements, whose rows' addresses (16 bytes each, in shared memory) lanes 8i .. 8i + 7 give.
inline void load_matrix_x4(std::uint32_t (&registers)[4], const void* row,
                           const std::source_location& where = std::source_location::current()) {
  emulation::load_matrix<4, false>(registers, row, where);
}
inline void load_matrix_x2(std::uint32_t (&registers)[2], const void* row,
                           const std::source_location& where = std::source_location::current()) {
  // The addresses of lanes 16 and on are not used.
  emulation::load_matrix<2, false>(registers, row, where);
}
inline void load_matrix_x4_transposed(
    std::uint32_t (&registers)[4], const void* row,
    const std::source_location& where = std::source_location::current()) {
  emulation::load_matrix<4, true>(registers, row, where);
}
inline void load_matrix_x2_transposed(
    std::uint32_t (&registers)[2], const void* row,
    const std::source_location& where = std::source_location::current()) {
  emulation::load_matrix<2, true>(registers, row, where);
}

inline void mma_bf16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     const std::source_location& where = std::source_location::current()) {
  emulation::Mma16 mine{c, a, b};
  emulation::exchange(
      0xFFFFFFFFU, "mma.m16n8k16.bf16", mine,
      [](emulation::Mma16* const* lanes, unsigned) {
        emulation::multiply_16x8x16<emulation::low_bf16, emulation::high_bf16>(lanes);
      },
      where);
}
inline void mma_half(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     const std::source_location& where = std::source_location::current()) {
  emulation::Mma16 mine{c, a, b};
  emulation::exchange(
      0xFFFFFFFFU, "mma.m16n8k16.f16", mine,
      [](emulation::Mma16* const* lanes, unsigned) {
        emulation::multiply_16x8x16<emulation::low_half, emulation::high_half>(lanes);
      },
      where);
}
inline void mma_int8(std::int32_t (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                     const std::source_location& where = std::source_location::current()) {
  emulation::Mma8 mine{c, a, b};
  emulation::exchange(
      0xFFFFFFFFU, "mma.m16n8k32.s8", mine,
      [](emulation::Mma8* const* lanes, unsigned) { emulation::multiply_16x8x32(lanes); }, where);
}

}  // namespace tessera

// nf4.hpp — 4-bit NormalFloat with double quantisation, exactly as bitsandbytes defines it.
//
// A block is 64 consecutive weights of the row-major matrix. Each weight is the index of one of 16
// fixed values in [-1, 1]; a block's scale is its largest magnitude (absmax). The absmax values are
// themselves quantised to 8 bits: their mean (`offset`) is subtracted, and blocks of 256 of them
// share one fp32 scale, with a 256-entry dynamic code book. (Dettmers et al., QLoRA, 2023;
// bitsandbytes `quantize_4bit(..., quant_type="nf4", compress_statistics=True)`.)
//
//   w[i] = kNf4Values[code[i]] * absmax[i / 64]
//   absmax[b] = kDynamicMap[absmax_code[b]] * absmax_scale[b / 256] + offset
//
// Codes are packed two a byte, the earlier weight in the high four bits. in_features is a multiple
// of 64 in every model we accept, so a block never crosses a row.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

inline constexpr int kNf4Block = 64;
inline constexpr int kAbsmaxBlock = 256;

extern const std::array<float, 16> kNf4Values;
extern const std::array<float, 256> kDynamicMap;  // signed dynamic 8-bit code book, ascending

// A quantised matrix (rows, cols), row-major; a view.
struct Nf4Matrix {
  int rows = 0;
  int cols = 0;                                // multiple of 64
  const std::uint8_t* codes = nullptr;         // (rows * cols / 2,)
  const std::uint8_t* absmax_codes = nullptr;  // (rows * cols / 64,)
  const float* absmax_scales = nullptr;        // (ceil(rows * cols / 64 / 256),)
  float offset = 0.0F;
};

// The same, owning its memory.
struct Nf4Buffers {
  int rows = 0;
  int cols = 0;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint8_t> absmax_codes;
  std::vector<float> absmax_scales;
  float offset = 0.0F;

  Nf4Matrix view() const;
};

// The first half of that: codes (n / 2,) and absmax (n / 64,) of n weights, a multiple of 64.
void quantize_nf4_blocks(std::span<const float> weights, std::span<std::uint8_t> codes,
                         std::span<float> absmax);

// The second: a matrix's absmax values in 8 bits.
struct NestedAbsmax {
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
  float offset = 0.0F;
};
NestedAbsmax nest_absmax(std::span<const float> absmax);

// Quantises `weights` (rows, cols), row-major fp32. Bit-equal to bitsandbytes.
Nf4Buffers quantize_nf4(std::span<const float> weights, int rows, int cols);

// The fp32 scale of each block: (rows * cols / 64,). Bit-equal to bitsandbytes.
void decode_absmax(const Nf4Matrix& matrix, std::span<float> absmax);

// The fp32 weights: (rows * cols,).
void dequantize_nf4(const Nf4Matrix& matrix, std::span<float> weights);

}  // namespace tessera

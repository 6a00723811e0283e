// quantisers.hpp — fp32 weights to the forms that `tessera quantize` makes, a few rows at a time.
//
//   bf16       rounded to nearest even
//   nf4        NF4 in blocks of 64, the scales in 8 bits (nf4.hpp): QLoRA's form
//   nf4-plain  the same codes with fp32 scales
//   fp4        the 4-bit float of bitsandbytes in blocks of 64, fp32 scales
//   int8       codes -127 … 127 of an fp32 scale for each row
//
// NF4 and FP4 are bit-equal with bitsandbytes' quantiser on the CPU.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/weight_buffers.hpp"

namespace tessera {

enum class QuantForm : std::uint8_t { kBf16, kNf4, kNf4Plain, kFp4, kInt8 };

std::string_view to_string(QuantForm form);  // "nf4-plain"
std::optional<QuantForm> quant_form_named(std::string_view name);

// The values of FP4's codes: sign, two bits of exponent, one of mantissa; the largest is 1.
extern const std::array<float, 16> kFp4Values;

// Integer codes: GPTQ, AWQ and GGUF keep zero at 8 where they are symmetric.
extern const std::array<float, 16> kSignedInt4Values;  // -8 … 7
extern const std::array<float, 16> kInt4Values;        // 0 … 15

// Rows come in order; memory is the result's and, for nf4, the fp32 scales'. Not thread-safe.
class MatrixQuantizer {
 public:
  // cols is a multiple of 64.
  MatrixQuantizer(QuantForm form, int rows, int cols);

  // Whole rows: (n, cols). Values must be finite.
  void add_rows(std::span<const float> weights);

  // Once, after all rows.
  WeightBuffers finish();

 private:
  void add_blocks(std::span<const float> weights);
  void add_int8_row(std::span<const float> weights);

  QuantForm form_;
  WeightBuffers out_;
  int rows_ = 0;  // that out_ shall have
};

WeightBuffers quantize_matrix(QuantForm form, std::span<const float> weights, int rows, int cols);

}  // namespace tessera

// fp8_source.hpp — weights of 8-bit floats (e4m3) with scales: read, and always requantised.
//
//   "X.weight" F8_E4M3 (out, in), and one of
//   "X.weight_scale"      one number; or (out,) or (out, 1), one a row; or one a block
//   "X.weight_scale_inv"  one a block of `block_rows` by `block_cols` (DeepSeek's name; it too is
//                         multiplied)
//
//   w = e4m3(code) * scale
#pragma once

#include <string>

#include "engine/model/raw_tensors.hpp"
#include "engine/model/tensor_source.hpp"

namespace tessera {

struct Fp8Blocks {
  std::int64_t rows = 128;
  std::int64_t cols = 128;
};

// Errors: kCorrupt naming a tensor that is missing or does not fit.
Result<TensorSourcePtr> make_fp8_source(const RawTensors& tensors, const std::string& module,
                                        const Fp8Blocks& blocks);

// e4m3 in the form without infinities (OCP's, "fn"): 0x7F and 0xFF are not numbers.
float e4m3_to_float(std::uint8_t code);

}  // namespace tessera

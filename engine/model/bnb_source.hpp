// bnb_source.hpp — bitsandbytes' 4-bit weights, NF4 and FP4, with plain or nested scales.
//
// Beside "X.weight" (the codes, two a byte, in whatever dtype they were stored) lie
//
//   X.weight.quant_state.bitsandbytes__nf4 (or __fp4)  U8, JSON: quant_type, blocksize, shape, and
//                                                      nested_blocksize, nested_offset if nested
//   X.weight.absmax            (blocks,) F32, or U8 if nested
//   X.weight.quant_map         (16,) F32, the values of the codes
//   X.weight.nested_absmax     F32, X.weight.nested_quant_map (256,) F32, if nested
//
// Blocks are of the flattened matrix. Where they divide its rows, codes are taken as they are, and
// so are nested scales in bitsandbytes' usual blocks of 256; others become plain ones.
// (bitsandbytes, functional.py, QuantState.as_dict.)
#pragma once

#include <string>

#include "engine/model/raw_tensors.hpp"
#include "engine/model/tensor_source.hpp"

namespace tessera {

// Whether `weight` ("….q_proj.weight") has a quantisation state beside it.
bool is_bnb_weight(const RawTensors& tensors, const std::string& weight);

// Errors: kCorrupt naming the tensor that is missing, damaged or does not fit.
Result<TensorSourcePtr> make_bnb_source(const RawTensors& tensors, const std::string& weight);

}  // namespace tessera

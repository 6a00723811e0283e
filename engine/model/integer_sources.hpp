// integer_sources.hpp — checkpoints of integer codes in safetensors: GPTQ, AWQ, compressed-tensors.
//
// Each factory is given a module ("model.layers.0.self_attn.q_proj") and finds its tensors:
//
//   GPTQ   qweight I32 (in * bits / 32, out), packed along the inputs; qzeros I32 (groups,
//          out * bits / 32); scales (groups, out); g_idx I32 (in,), the group of each input. Zero
//          points are stored less one, except in "gptq_v2". 4 and 8 bits.
//   AWQ    qweight I32 (in, out / 8), qzeros I32 (groups, out / 8), scales (groups, out); a word
//          holds outputs 0, 2, 4, 6, 1, 3, 5, 7 from its lowest bits on ("gemm").
//   compressed-tensors
//          weight_packed I32 (out, in * bits / 32), weight_scale (out, groups), weight_zero_point
//          I32 (out * bits / 32, groups) unless symmetric, weight_g_idx I32 (in,), codes raised by
//          the middle of their range ("pack-quantized"); or weight I8 (out, in) with weight_scale
//          (out, 1) ("int-quantized").
//
// (Layouts: AutoGPTQ and GPTQModel, AutoAWQ, compressed-tensors.)
// Errors: kCorrupt for tensors that are missing or do not fit each other, kUnsupportedModel for a
// number of bits other than 4 and 8; the message names the tensor.
#pragma once

#include <string>

#include "engine/model/raw_tensors.hpp"
#include "engine/model/tensor_source.hpp"

namespace tessera {

Result<TensorSourcePtr> make_gptq_source(const RawTensors& tensors, const std::string& module,
                                         bool zeros_less_one);

Result<TensorSourcePtr> make_awq_source(const RawTensors& tensors, const std::string& module);

Result<TensorSourcePtr> make_packed_source(const RawTensors& tensors, const std::string& module);

Result<TensorSourcePtr> make_int8_source(const RawTensors& tensors, const std::string& module);

}  // namespace tessera

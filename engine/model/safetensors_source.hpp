// safetensors_source.hpp — the tensors of a safetensors checkpoint, plain or quantised, by their
// Hugging Face names.
//
// How a checkpoint is quantised is said by config.json's quantization_config (or GPTQ's own
// quantize_config.json), which modules are, by the tensors that are there: a module whose weight is
// stored plainly was left out by the tool that quantised the rest and stays as it is.
#pragma once

#include <functional>
#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/model/fp8_source.hpp"
#include "engine/model/raw_tensors.hpp"
#include "engine/model/tensor_source.hpp"
#include "storage/result.hpp"

namespace tessera {

struct CheckpointForm {
  std::string name = "safetensors";  // "bitsandbytes", "gptq", "awq", "compressed-tensors", "fp8"
  bool zeros_less_one = true;        // GPTQ's first format
  Fp8Blocks blocks = {};
};

// Reads a quantization_config. Errors: kUnsupportedModel, param naming the field.
Result<CheckpointForm> parse_checkpoint_form(const nlohmann::ordered_json& config);

// Errors: kCorrupt, kUnsupportedModel, naming the tensor.
Result<std::map<std::string, TensorSourcePtr, std::less<>>> make_safetensors_sources(
    const RawTensors& tensors, const CheckpointForm& form);

}  // namespace tessera

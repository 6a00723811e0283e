// gguf_model.hpp — what a GGUF file says of its model, as Hugging Face says it: config.json, the
// texts of the tokenizer, and each tensor under its Hugging Face name.
//
// Known architectures: llama (with experts: Mixtral), qwen2, qwen3, qwen3moe, gemma2, gemma3, phi3,
// granite, olmo2, smollm3. What llama.cpp changes when it converts a model is undone here or told:
// the rows of queries and keys that it reorders (RowOrder), Gemma's norms that have their 1 already
// (norms_are_whole), Llama 3's frequency factors, which are a tensor there (rope_factors). What its
// metadata leaves out and llama.cpp knows by the size of the model, is known here too: Gemma's
// scale of the queries, its local rotary base, SmolLM3's layers without positions.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/model/gguf_file.hpp"
#include "engine/model/packed_model.hpp"
#include "engine/model/tensor_source.hpp"
#include "storage/result.hpp"

namespace tessera {

struct GgufModel {
  ModelInfo info;  // config, tokenizer and tokenizer_config made from the metadata
  bool norms_are_whole = false;
  std::vector<float> rope_factors;  // of each pair's wavelength; empty: none
  std::map<std::string, TensorSourcePtr, std::less<>> tensors;
};

// Errors: kUnsupportedModel, naming the key or the tensor; kCorrupt.
Result<GgufModel> read_gguf_model(const GgufFile& file);

}  // namespace tessera

// tiny_checkpoint.hpp — a tiny random Llama as its owner would have it: a Hugging Face directory or
// a GGUF file of the same weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "adapters/safetensors.hpp"
#include "engine/model/gguf_file.hpp"
#include "tests/support/gguf_writer.hpp"

namespace tessera {

struct PlainTensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // exact in bf16
};
using PlainTensors = std::map<std::string, PlainTensor>;

// Two layers, hidden and intermediate of 256, two heads of 128 with one for keys and values, 96
// tokens, an untied head.
PlainTensors tiny_llama(std::uint64_t seed);
nlohmann::ordered_json tiny_llama_config();

// config.json and model.safetensors in `dtype`, F32 or BF16.
void write_directory(const std::filesystem::path& directory, const PlainTensors& tensors,
                     const nlohmann::ordered_json& config, Dtype dtype = Dtype::kBf16);

// The GGUF file, as llama.cpp's converter writes it: rows of queries and keys in pairs. `type_of`
// is asked for each matrix by its name in the file; vectors are F32.
using TypeOf = std::function<GgmlType(const std::string&)>;
std::string tiny_gguf(const PlainTensors& tensors, const TypeOf& type_of);

// The metadata of the file above, for tests that change it.
void add_tiny_metadata(testing_gguf::Writer& writer);

}  // namespace tessera

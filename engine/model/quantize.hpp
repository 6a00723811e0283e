// quantize.hpp — a Hugging Face model directory to one packed file, a tensor at a time.
//
// Reads config.json, model.safetensors (or the shards of model.safetensors.index.json),
// tokenizer.json, tokenizer_config.json or chat_template.jinja, and generation_config.json. The
// seven linears of each layer become NF4 with double quantisation, embedding and head bf16, norms
// fp32. Memory: the tensor at hand as stored, in fp32 and quantised. The result appears under its
// name only when it is complete and synced.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "engine/model/packed_model.hpp"

namespace tessera {

struct QuantizeProgress {
  std::string_view tensor;  // the one just written
  int done = 0;             // tensors written
  int total = 0;
};

struct QuantizeOptions {
  std::string name = {};  // served model name; empty: the source directory's name
};

struct QuantizeSummary {
  BaseDigest digest;
  std::uintmax_t source_bytes = 0;  // of the weights read
  std::uintmax_t packed_bytes = 0;  // of the file written
};

// Errors: kNotFound if a file is missing; kInvalidJson, kCorrupt or kUnsupportedModel naming the
// file, field or tensor; kIo, kStorageFull. On an error nothing is left at `destination`.
Result<QuantizeSummary> quantize_model(
    const std::filesystem::path& source_directory, const std::filesystem::path& destination,
    const QuantizeOptions& options = {},
    const std::function<void(const QuantizeProgress&)>& progress = {});

}  // namespace tessera

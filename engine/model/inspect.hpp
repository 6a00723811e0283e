// inspect.hpp — what a packed file, a GGUF file or a model directory holds, without serving it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/model/packed_model.hpp"
#include "storage/result.hpp"

namespace tessera {

// Tensors that are kept alike.
struct FormCount {
  std::string form;  // "BF16", "Q4_K", "nf4 (double-quantised)"
  int tensors = 0;
  std::uintmax_t weights = 0;
  std::uintmax_t bytes = 0;
};

struct Inspection {
  std::string kind;  // "packed model", "GGUF file", "model directory"
  ModelSpec spec;
  ModelInfo info;
  std::vector<FormCount> forms;  // the largest first
  std::uintmax_t bytes = 0;      // of all tensors
  std::string digest;            // of a packed model, in hex
};

// Checks what quantising or serving would check, but not the weights themselves. Errors: as
// ModelSource::open and PackedModel::open, one line.
Result<Inspection> inspect_model(const std::filesystem::path& path);

// SHA-256 of the tokenizer's text in hex; empty if there is none.
std::string tokenizer_digest(const ModelInfo& info);

}  // namespace tessera

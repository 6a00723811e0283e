// gguf_config.hpp — config.json of a GGUF file (gguf_model.hpp).
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "engine/model/gguf_file.hpp"
#include "storage/result.hpp"

namespace tessera {

struct GgufFamily {
  std::string_view name;          // general.architecture
  std::string_view architecture;  // Hugging Face's
  std::string_view model_type;
  bool pairs_rows = false;       // llama.cpp has reordered the rows of queries and keys
  bool norms_are_whole = false;  // and folded the 1 into Gemma's norms
  bool post_norms = false;       // names as in models with norms after attention and MLP
};

// Errors: kUnsupportedModel, naming general.architecture.
Result<const GgufFamily*> gguf_family(const GgufFile& file);

// Errors: kUnsupportedModel, naming the key that is missing or not supported.
Result<nlohmann::ordered_json> gguf_config(const GgufFile& file, const GgufFamily& family);

}  // namespace tessera

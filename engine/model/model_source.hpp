// model_source.hpp — a Hugging Face model directory, opened: its texts read, its tensors mapped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/safetensors.hpp"
#include "engine/model/mapped_file.hpp"
#include "engine/model/packed_model.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable. The tensors point into the mapped files, which this owns.
class ModelSource {
 public:
  // Reads config.json, the weights' headers (model.safetensors, or the shards that
  // model.safetensors.index.json names) and the optional texts. A tokenizer.json and a chat
  // template that are there must be ones we can run. Errors: kNotFound, kIo, kInvalidJson,
  // kCorrupt, kUnsupportedModel; each names the file.
  static Result<ModelSource> open(const std::filesystem::path& directory);

  const ModelSpec& spec() const { return spec_; }
  const ModelInfo& info() const { return info_; }
  std::uintmax_t weight_bytes() const { return weight_bytes_; }

  // The tensor of that name and shape, in one of F32, F16 and BF16.
  // Errors: kCorrupt if it is missing or has another shape; kUnsupportedModel for another dtype.
  Result<const StoredTensor*> tensor(const std::string& name,
                                     const std::vector<std::int64_t>& shape) const;

  // All tensors' names, ascending.
  std::vector<std::string_view> tensor_names() const;

 private:
  Result<void> read_texts(const std::filesystem::path& directory);
  Result<void> read_weights(const std::filesystem::path& directory);
  Result<void> add_shard(const std::filesystem::path& file);

  ModelSpec spec_;
  ModelInfo info_;
  std::vector<MappedFile> shards_;
  std::map<std::string, StoredTensor> tensors_;
  std::uintmax_t weight_bytes_ = 0;
};

}  // namespace tessera

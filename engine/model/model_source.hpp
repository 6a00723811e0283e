// model_source.hpp — a model as its owner has it, opened: a Hugging Face directory or a GGUF file;
// its texts read, its tensors mapped and found by their Hugging Face names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/mapped_file.hpp"
#include "engine/model/packed_model.hpp"
#include "engine/model/tensor_source.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable. The tensors point into the mapped files, which this owns.
class ModelSource {
 public:
  using Tensors = std::map<std::string, TensorSourcePtr, std::less<>>;

  // A directory: reads config.json, the weights' headers (model.safetensors, or the shards that
  // model.safetensors.index.json names) and the optional texts. A file: GGUF. A tokenizer and a
  // chat template that are there must be ones we can run. Errors: kNotFound, kIo, kInvalidJson,
  // kCorrupt, kUnsupportedModel; one line that names the file and the field or tensor.
  static Result<ModelSource> open(const std::filesystem::path& path);

  const ModelSpec& spec() const { return spec_; }
  const ModelInfo& info() const { return info_; }  // `quantization` is not known yet
  std::uintmax_t weight_bytes() const { return weight_bytes_; }

  // Gemma's norms have their 1, which Hugging Face's lack.
  bool norms_are_whole() const { return norms_are_whole_; }

  // Of the files' names, sizes and times: equal ones are taken to be the same model.
  const std::string& fingerprint() const { return fingerprint_; }

  const Tensors& tensors() const { return tensors_; }
  const TensorSource* find(std::string_view name) const;

  // Lets go of the memory that reading `tensor` has filled.
  void release(const TensorSource& tensor) const;

 private:
  Result<void> open_directory(const std::filesystem::path& directory);
  Result<void> open_gguf(const std::filesystem::path& file);
  Result<void> read_texts(const std::filesystem::path& directory);
  Result<void> read_weights(const std::filesystem::path& directory);
  Result<void> read_spec(std::string_view config);
  Result<void> check_texts() const;
  Result<const MappedFile*> map_file(const std::filesystem::path& path);

  ModelSpec spec_;
  ModelInfo info_;
  bool norms_are_whole_ = false;
  std::vector<MappedFile> files_;
  Tensors tensors_;
  std::uintmax_t weight_bytes_ = 0;
  std::string fingerprint_;
};

}  // namespace tessera

// packed_model.hpp — a quantised base model in one file, used where it lies.
//
// `tessera quantize` writes the file once; the server maps it and computes from the mapping.
// Format, version 2, all numbers little-endian:
//
//   offset 0   prologue, 64 bytes
//                8  magic "TESSERA\x02" (the last byte is the version)
//                8  header offset   u64
//                8  header bytes    u64
//                8  file bytes      u64, the whole file's
//               32  SHA-256 of the header
//   offset 64  sections, each beginning on a multiple of 64 bytes, in the order in which the header
//              lists them, zeros in between
//   then       header, JSON: "spec" (the shape), "info" (ModelInfo, texts as they were),
//              "digest" (hex), "formats" and "matrix_formats" (the form of each matrix),
//              "sections":
//              [{"name", "offset", "bytes", "sha256"}]
//
// The header comes last because a section's digest is known only once it is written, so that
// quantising streams. A matrix "layers.3.q_proj" may be in any form of kernels/weight_matrix.hpp;
// its header entry says which ("book" of sixteen values, "group", whether its scales are "nested",
// whether it has "offsets" and an "order" of columns), and it has the sections that this calls for:
//
//   bf16    one section of the matrix's name
//   others  ".codes", then ".scales" or, nested, ".absmax_codes", ".absmax_scales" and
//           ".absmax_offset", then ".offsets" and ".order" where it has them
//
// Norms, biases and routers are fp32 sections. With tied embeddings there is no "head".
//
// The base's identity (BaseDigest) is the SHA-256 over the spec, the matrices' forms and every
// section's name and SHA-256. Opening checks magic, sizes, header digest, spec, forms, every
// section's place and length, that orders are permutations, and recomputes the identity from the
// header; kContents also reads and hashes every section.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/mapped_file.hpp"
#include "kernels/weights.hpp"
#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera {

// What a model directory says besides its weights.
struct ModelInfo {
  std::string name = {};           // the served model name
  std::string architecture = {};   // "LlamaForCausalLM", config.json's
  std::string source_format = {};  // "safetensors", "bitsandbytes", "gptq", "awq", "gguf" …
  std::string quantization = {};   // "nf4 (double-quantised), embeddings bf16"
  std::string config = {};         // texts of the files, empty where there was none
  std::string generation_config = {};
  std::string tokenizer = {};  // tokenizer.json
  std::string tokenizer_config = {};
  std::string chat_template = {};  // Jinja source; empty: the model has none
  std::string bos_token = {};      // texts of the tokens, for the chat template
  std::string eos_token = {};
  std::vector<TokenId> eos_ids = {};  // a generated token among them ends the answer
};

enum class Verify : std::uint8_t { kHeader, kContents };

struct OpenOptions {
  Verify verify = Verify::kHeader;
  bool prefault = false;       // read the whole file into the page cache before open() returns
  ReadProgress progress = {};  // told of what prefaulting or, with kContents, checking has read
};

// Immutable and thread-safe. Owns the mapping: whoever uses weights() must not outlive this.
class PackedModel {
 public:
  // Errors: kNotFound; kIo; kCorrupt, one line saying what is wrong with the file.
  static Result<std::unique_ptr<PackedModel>> open(const std::filesystem::path& path,
                                                   const OpenOptions& options = {});

  const ModelWeights& weights() const { return weights_; }
  const ModelSpec& spec() const { return weights_.spec; }
  const ModelInfo& info() const { return info_; }
  const BaseDigest& digest() const { return digest_; }
  // Where each part of the file lies, for those who tell about it: name, form and bytes.
  struct PartInfo {
    std::string name;  // "layers.3.q_proj"
    std::string form;  // "int4, groups of 128, zero points"; "fp32"
    int rows = 1;
    int cols = 0;
    std::size_t bytes = 0;
  };
  const std::vector<PartInfo>& parts() const { return parts_; }
  std::size_t file_bytes() const { return file_.bytes().size(); }

 private:
  explicit PackedModel(MappedFile file) : file_(std::move(file)) {}

  MappedFile file_;
  ModelWeights weights_;
  ModelInfo info_;
  BaseDigest digest_;
  std::vector<PartInfo> parts_;
};

}  // namespace tessera

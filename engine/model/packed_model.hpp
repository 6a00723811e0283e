// packed_model.hpp — a quantised base model in one file, used where it lies.
//
// `tessera quantize` writes the file once; the server maps it and computes from the mapping.
// Format, version 1, all numbers little-endian:
//
//   offset 0   prologue, 64 bytes
//                8  magic "TESSERA\x01" (the last byte is the version)
//                8  header offset   u64
//                8  header bytes    u64
//                8  file bytes      u64, the whole file's
//               32  SHA-256 of the header
//   offset 64  sections, each beginning on a multiple of 64 bytes, in the order in which the header
//              lists them, zeros in between
//   then       header, JSON: "spec" (the shape), "info" (ModelInfo, texts as they were),
//              "digest" (hex), "sections": [{"name", "offset", "bytes", "sha256"}]
//
// The header comes last because a section's digest is known only once it is written, so that
// quantising streams. Sections of a matrix "layers.3.q_proj" are its ".codes", ".absmax_codes",
// ".absmax_scales" and ".absmax_offset" (kernels/nf4.hpp); "embedding" and "head" are bf16, the
// norms fp32. With tied embeddings there is no "head".
//
// The base's identity (BaseDigest) is the SHA-256 over the spec and every section's name and
// SHA-256. Opening checks magic, sizes, header digest, spec, every section's place and length, and
// recomputes the identity from the header; kContents also reads and hashes every section.
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
  std::string name = {};    // the served model name
  std::string config = {};  // texts of the files, empty where there was none
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
  bool prefault = false;  // read the whole file into the page cache before open() returns
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
  std::size_t file_bytes() const { return file_.bytes().size(); }

 private:
  explicit PackedModel(MappedFile file) : file_(std::move(file)) {}

  MappedFile file_;
  ModelWeights weights_;
  ModelInfo info_;
  BaseDigest digest_;
};

}  // namespace tessera

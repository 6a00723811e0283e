// tokenizer.hpp — text to token ids and back, exactly as Hugging Face `tokenizers` does it.
//
// A tokenizer.json is a pipeline, and each stage is a file of its own:
//
//   added_tokens   cuts the text at special and other added tokens
//   normalizer     rewrites what lies between them
//   pre_tokenizer  cuts that into words
//   bpe_model, unigram_model, wordpiece_model: one of them turns each word into ids
//   post_processor the ids that stand before and after a whole text
//   decoder        the way back
//
// Anything in the file that would change an id and has no meaning here is refused when it is
// loaded, naming the field; nothing is ignored silently. A GGUF file's vocabulary is written as the
// equivalent tokenizer.json first (gguf_vocabulary.hpp).
//
// Input that is not UTF-8 is made so first: each maximal invalid sequence becomes U+FFFD.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/decoder.hpp"
#include "engine/text/gguf_vocabulary.hpp"
#include "kernels/model_spec.hpp"
#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera {

struct TokenizerDigestTag {};
// Of a tokenizer: its vocabulary, merges, added tokens and pipeline.
using TokenizerDigest = Digest<TokenizerDigestTag>;

struct EncodeOptions {
  bool parse_special = true;  // "<|end|>" in the text is that token; false: it is plain text
  bool add_special = false;   // add what the post-processor puts around a text (BOS, EOS)
};

// Immutable and thread-safe.
class Tokenizer {
 public:
  // Reads the text of a tokenizer.json.
  // Errors: kInvalidJson; kUnsupportedModel, with param naming the field that is not supported.
  static Result<std::unique_ptr<Tokenizer>> from_json(std::string_view json);

  // The same, of a file that has been parsed. Errors: kUnsupportedModel.
  static Result<std::unique_ptr<Tokenizer>> from_tree(const nlohmann::ordered_json& file);

  // The tokenizer that a GGUF file carries. Errors: those of to_tokenizer_json() and from_tree().
  static Result<std::unique_ptr<Tokenizer>> from_gguf(const GgufVocabulary& vocabulary);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;

  // The text of `ids`; bytes that are not UTF-8 come out as U+FFFD, unknown ids as nothing.
  std::string decode(std::span<const TokenId> ids, bool skip_special = true) const;

  // The bytes that a token adds in the middle of a text, which need not be whole code points. Empty
  // if there is no such token. The view lives as long as the tokenizer.
  std::string_view token_bytes(TokenId id) const;

  // Special tokens are added tokens flagged so: control tokens such as BOS and end of turn.
  bool is_special(TokenId id) const;

  // One more than the largest id; ids in between may be unused.
  int vocab_size() const;

  // A token's text as it stands in tokenizer.json; empty if there is no such token. The view lives
  // as long as the tokenizer.
  std::string_view token_text(TokenId id) const;

  // How texts are made of tokens. Lives as long as the tokenizer.
  const Decoder& decoder() const;

  // Equal for two files that say the same, however they are written: the order of their members,
  // white space, the two ways to write a merge, and members that are null do not matter.
  const TokenizerDigest& digest() const;

  // The id of a token by its text as it stands in tokenizer.json ("<|end|>", "Ġthe").
  std::optional<TokenId> id_of(std::string_view token_text) const;

 private:
  struct Stages;
  explicit Tokenizer(std::unique_ptr<const Stages> stages);

  std::unique_ptr<const Stages> stages_;
};

}  // namespace tessera

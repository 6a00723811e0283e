// tokenizer.hpp — text to token ids and back, exactly as Hugging Face `tokenizers` does it.
//
// A tokenizer.json is a pipeline, and each stage is a file of its own:
//
//   added_tokens   cuts the text at special and other added tokens
//   normalizer     rewrites what lies between them (nothing, or a Unicode normal form)
//   pre_tokenizer  cuts that into words by regular expressions
//   bpe_model      turns the bytes of each word into ids by merging pairs
//   post_processor the ids that stand before and after a whole text
//
// Today the byte-level BPE family is read (GPT-2, Llama 3, Qwen). Anything else in the file that
// would change an id is refused when it is loaded, naming the field; nothing is ignored silently.
//
// Input that is not UTF-8 is made so first: each maximal invalid sequence becomes U+FFFD.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

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

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;

  // The text of `ids`; bytes that are not UTF-8 come out as U+FFFD, unknown ids as nothing.
  std::string decode(std::span<const TokenId> ids, bool skip_special = true) const;

  // The bytes that a token adds to a text, which need not be whole code points. Empty if there is
  // no such token. The view lives as long as the tokenizer.
  std::string_view token_bytes(TokenId id) const;

  // Special tokens are added tokens flagged so: control tokens such as BOS and end of turn.
  bool is_special(TokenId id) const;

  // One more than the largest id; ids in between may be unused.
  int vocab_size() const;

  // The id of a token by its text as it stands in tokenizer.json ("<|end|>", "Ġthe").
  std::optional<TokenId> id_of(std::string_view token_text) const;

 private:
  struct Stages;
  explicit Tokenizer(std::unique_ptr<const Stages> stages);

  std::unique_ptr<const Stages> stages_;
};

}  // namespace tessera

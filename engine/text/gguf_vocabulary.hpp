// gguf_vocabulary.hpp — the tokenizer that a GGUF file carries, as its metadata says it.
//
// GGUF has no pipeline as tokenizer.json has: it names a kind of model and, for byte-level ones,
// the pre-tokeniser, and the rest is known to those who know the name. to_tokenizer_json() writes
// that knowledge out: the equivalent tokenizer.json, which Tokenizer::from_json then reads like any
// other, so there is one tokenizer and one set of rules. Kinds:
//
//   gpt2   byte-level BPE with merges; `pre` names the pattern that cuts words
//   llama  SentencePiece: pairs are joined by the score of what they make. With byte tokens it is
//          BPE with byte fallback, the merges being every split of a token ordered by its score
//   bert   WordPiece, in the form where "▁" begins a word
//   t5     SentencePiece's Unigram, by the scores
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// The metadata under "tokenizer.ggml.", by the last part of each key. Whoever reads the file fills
// it: what is absent there stays empty here.
struct GgufVocabulary {
  std::string model;                     // "gpt2", "llama", "bert", "t5"
  std::string pre;                       // "llama-bpe", "qwen2", ...; of gpt2 only
  std::vector<std::string> tokens;       // texts by id
  std::vector<float> scores;             // by id; empty or as many as tokens
  std::vector<std::int32_t> token_type;  // by id; 1 normal, 2 unknown, 3 control, 4 user defined,
                                         // 5 unused, 6 byte; empty or as many as tokens
  std::vector<std::string> merges;       // "left right", best first; of gpt2 only
  std::optional<std::int64_t> bos_token_id;
  std::optional<std::int64_t> eos_token_id;
  std::optional<std::int64_t> unknown_token_id;
  std::optional<std::int64_t> separator_token_id;  // "seperator_token_id" in older files
  std::optional<std::int64_t> padding_token_id;
  std::optional<std::int64_t> cls_token_id;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<bool> add_sep_token;
  std::optional<bool> add_space_prefix;            // of llama and t5; true if absent
  std::optional<bool> remove_extra_whitespaces;    // of t5
  std::vector<std::uint8_t> precompiled_charsmap;  // of t5: the normaliser's table
};

// The equivalent tokenizer.json. Errors: kUnsupportedModel, param is the metadata's key
// ("tokenizer.ggml.pre"), if the model or the pre-tokeniser is one whose rules are not known here;
// kCorrupt if lists have different lengths or an id lies outside of them.
Result<nlohmann::ordered_json> to_tokenizer_json(const GgufVocabulary& vocabulary);

}  // namespace tessera

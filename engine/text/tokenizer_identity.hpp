// tokenizer_identity.hpp — whether two tokenizers are the same, whatever their files look like.
//
// The same tokenizer is written in many ways: spread out or not, merges as texts or pairs, with
// fields that newer versions add. What makes it the same is that equal texts become equal ids, and
// an adapter depends on just that: the tokens and their ids, the merges in their order (or the
// scores), and the added tokens. The digest is over these alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer.hpp"
#include "storage/result.hpp"

namespace tessera {

// Immutable and thread-safe.
class TokenizerIdentity {
 public:
  // `json` is the text of a tokenizer.json. Errors: kInvalidJson; kInvalidValue if it has no
  // vocabulary.
  static Result<TokenizerIdentity> from_json(std::string_view json);

  // SHA-256, in hex.
  const std::string& digest() const { return digest_; }

  // Whether `json` is a file of the same tokenizer; what differs, if it is not.
  std::optional<std::string> difference(std::string_view json) const;

 private:
  std::string digest_;
  std::vector<std::uint8_t> file_sha256_;  // of `json`: an equal file need not be read
};

// What is different in a file that came with an adapter ("tokenizer.json", "tokenizer_config.json",
// "special_tokens_map.json", "added_tokens.json") from the base's tokenizer: nothing if every token
// that it names is the base's, under the same id.
std::optional<std::string> tokenizer_file_difference(const TokenizerIdentity& base,
                                                     const Tokenizer& tokenizer,
                                                     std::string_view file_name,
                                                     std::string_view content);

}  // namespace tessera

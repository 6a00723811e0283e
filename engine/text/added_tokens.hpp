// added_tokens.hpp — tokens that stand in the text as they are, such as "<|end|>".
//
// They are found before anything else looks at the text: the leftmost first, the longest where
// several begin. Those flagged `normalized` are looked for after normalisation, in what is left.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/normalizer.hpp"
#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  std::string text;  // what it is decoded as: `content`, normalised if that is asked for
  bool special = false;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // is looked for in the normalised text
};

// A stretch of text, or the token that stood there.
struct TextPiece {
  std::string_view text;
  std::optional<TokenId> token;
};

// Immutable and thread-safe.
class AddedTokens {
 public:
  // `node` is tokenizer.json's "added_tokens". Errors: kUnsupportedModel, param is the field's
  // path.
  static Result<AddedTokens> from_json(const nlohmann::ordered_json& node, const std::string& path,
                                       const Normalizer& normalizer);

  const std::vector<AddedToken>& tokens() const { return tokens_; }

  // Cuts `text` at the tokens that are looked for before (`normalized` false) or after
  // normalisation. With `parse_special` false, special tokens are text like any other.
  std::vector<TextPiece> cut(std::string_view text, bool normalized, bool parse_special) const;

 private:
  // A trie over bytes.
  class Finder {
   public:
    void add(std::string_view content, std::size_t token_index);

    struct Match {
      std::size_t begin;
      std::size_t end;
      std::size_t token_index;
    };
    std::optional<Match> find(std::string_view text, std::size_t from) const;

   private:
    static constexpr std::size_t kNoToken = ~std::size_t{0};
    struct Node {
      std::vector<std::pair<char, std::size_t>> children;
      std::size_t token_index = kNoToken;
    };

    const std::size_t* child(std::size_t node, char byte) const;

    std::vector<Node> nodes_ = std::vector<Node>(1);
    std::array<bool, 256> begins_{};  // some token begins with this byte
  };

  std::vector<AddedToken> tokens_;
  Finder before_;  // finds in the text as given
  Finder after_;   // finds in the normalised text
};

}  // namespace tessera

#include "engine/guided/tokenizer_vocabulary.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "engine/text/detokenizer.hpp"

namespace tessera::guided {
namespace {

constexpr EncodeOptions kPlain{.parse_special = false, .add_special = false};

std::string bytes_of(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string bytes;
  for (const TokenId id : ids) bytes += tokenizer.token_bytes(id);
  return bytes;
}

// Whether the detokenizer drops the space that the first token of a text begins with.
bool drops_first_space(const Tokenizer& tokenizer) {
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (tokenizer.is_special(id) || bytes.size() < 2 || bytes[0] != ' ') continue;
    if (bytes[1] < 'a' || bytes[1] > 'z') continue;
    Detokenizer detokenizer(tokenizer);
    std::string text = detokenizer.push(id);
    text += detokenizer.flush();
    return !text.starts_with(' ');
  }
  return false;
}

// The ids of `text` in the middle of a longer one. Some tokenizers put a space before any text:
// then it is encoded behind a line of its own, whose ids are taken off again.
std::vector<TokenId> encode_within(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<TokenId> ids = tokenizer.encode(text, kPlain);
  if (bytes_of(tokenizer, ids) == text) return ids;
  constexpr std::string_view kAnchor = "\n";
  const std::vector<TokenId> anchor = tokenizer.encode(kAnchor, kPlain);
  ids = tokenizer.encode(std::string(kAnchor) + std::string(text), kPlain);
  if (ids.size() < anchor.size() || !std::equal(anchor.begin(), anchor.end(), ids.begin())) {
    return {};
  }
  ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(anchor.size()));
  return bytes_of(tokenizer, ids) == text ? ids : std::vector<TokenId>{};
}

}  // namespace

VocabularyTokens vocabulary_of(std::shared_ptr<const Tokenizer> tokenizer,
                               std::span<const TokenId> end_tokens, int vocab_size) {
  VocabularyTokens tokens;
  tokens.vocab_size = vocab_size;
  tokens.end_tokens.assign(end_tokens.begin(), end_tokens.end());
  const TokenId count = std::min(tokenizer->vocab_size(), vocab_size);
  tokens.bytes.reserve(static_cast<std::size_t>(count));
  tokens.special.reserve(static_cast<std::size_t>(count));
  for (TokenId id = 0; id < count; ++id) {
    const bool special = tokenizer->is_special(id);
    tokens.special.push_back(special);
    tokens.bytes.emplace_back(special ? std::string_view() : tokenizer->token_bytes(id));
  }
  // An end token ends the text and is no part of it, whether the file calls it special or not.
  for (const TokenId id : end_tokens) {
    if (id < 0 || id >= count) continue;
    tokens.special[static_cast<std::size_t>(id)] = true;
    tokens.bytes[static_cast<std::size_t>(id)].clear();
  }
  tokens.drops_first_space = drops_first_space(*tokenizer);
  tokens.encode = [tokenizer = std::move(tokenizer)](std::string_view text) {
    return encode_within(*tokenizer, text);
  };
  return tokens;
}

}  // namespace tessera::guided

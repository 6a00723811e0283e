#include "gateway/inference/guided_vocabulary.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/guided/tokenizer_vocabulary.hpp"

namespace tessera {
namespace {

// The way from text to ids on which each mark is one token wherever its text stands.
class MarkedEncoder {
 public:
  using Encode = std::function<std::vector<TokenId>(std::string_view)>;

  MarkedEncoder(Encode plain, const Tokenizer& tokenizer, std::span<const TokenId> marks)
      : plain_(std::move(plain)) {
    for (const TokenId id : marks) marks_.emplace_back(id, tokenizer.token_bytes(id));
  }

  std::vector<TokenId> operator()(std::string_view text) const {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      const auto [id, at, size] = first_mark(text);
      if (at > 0) {
        const std::vector<TokenId> plain = plain_(text.substr(0, at));
        if (plain.empty()) return {};
        ids.insert(ids.end(), plain.begin(), plain.end());
      }
      if (size > 0) ids.push_back(id);
      text.remove_prefix(at + size);
    }
    return ids;
  }

 private:
  struct Found {
    TokenId id = 0;
    std::size_t at = 0;
    std::size_t size = 0;  // 0: there is none, and `at` is the end
  };

  Found first_mark(std::string_view text) const {
    Found found{.at = text.size()};
    for (const auto& [id, mark] : marks_) {
      const std::size_t at = text.find(mark);
      if (at < found.at) found = {id, at, mark.size()};
    }
    return found;
  }

  Encode plain_;
  std::vector<std::pair<TokenId, std::string>> marks_;
};

// Whether the decoder only joins bytes (but for the space that a text may begin with), tried on
// what JSON and prose have in them.
bool joins_bytes(const Tokenizer& tokenizer) {
  constexpr std::array<std::string_view, 4> kTexts = {
      R"({"a b": [1, -2.5e3, "it's , not . ?", null], "Größe": "\n é"})", " two  spaces ",
      "line\n\n\tindent", "日本語 🙂 don't ##x"};
  return std::ranges::all_of(kTexts, [&](std::string_view text) {
    const std::vector<TokenId> ids = tokenizer.encode(text, {.parse_special = false});
    std::string bytes;
    for (const TokenId id : ids) bytes += tokenizer.token_bytes(id);
    const std::string shown = tokenizer.decode(ids, /*skip_special=*/false);
    return shown == bytes || " " + shown == bytes;
  });
}

}  // namespace

Result<std::shared_ptr<const guided::Vocabulary>> make_guided_vocabulary(
    const Tokenizer& tokenizer, int vocab_size, std::span<const TokenId> end_tokens,
    std::span<const TokenId> marks) {
  if (!joins_bytes(tokenizer)) {
    return Error{Code::kUnsupportedParameter,
                 "This model's tokenizer changes text when it joins tokens, so its answers cannot "
                 "be constrained."};
  }
  const std::shared_ptr<const Tokenizer> unowned(std::shared_ptr<const void>(), &tokenizer);
  guided::VocabularyTokens tokens = guided::vocabulary_of(unowned, end_tokens, vocab_size);
  for (const TokenId id : marks) {
    if (std::ranges::find(end_tokens, id) != end_tokens.end()) continue;
    tokens.special.at(static_cast<std::size_t>(id)) = false;
    tokens.bytes.at(static_cast<std::size_t>(id)) = tokenizer.token_bytes(id);
  }
  if (!marks.empty()) {
    tokens.encode = MarkedEncoder(std::move(tokens.encode), tokenizer, marks);
  }
  return std::shared_ptr<const guided::Vocabulary>(
      std::make_shared<guided::Vocabulary>(std::move(tokens)));
}

}  // namespace tessera

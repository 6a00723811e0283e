#include "engine/guided/forced_text.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

namespace tessera::guided {
namespace {

// How much of what was generated stands before the forced text when it is cut into tokens: enough
// for the tokenizer's rules about words to see what they look at.
constexpr std::size_t kContextTokens = 12;
constexpr std::size_t kContextBytes = 48;

std::string bytes_of(std::span<const TokenId> tokens, const Vocabulary& vocabulary) {
  std::string bytes;
  for (const TokenId token : tokens) bytes += vocabulary.bytes(token);
  return bytes;
}

// The last tokens, back to the last special one.
std::span<const TokenId> context_of(std::span<const TokenId> generated,
                                    const Vocabulary& vocabulary) {
  std::size_t count = 0;
  std::size_t bytes = 0;
  while (count < generated.size() && count < kContextTokens && bytes < kContextBytes) {
    const std::string_view text = vocabulary.bytes(generated[generated.size() - 1 - count]);
    if (text.empty()) break;
    bytes += text.size();
    ++count;
  }
  return generated.last(count);
}

std::size_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(end - a.begin());
}

bool is_space(char byte) {
  return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

bool starts_with(std::span<const TokenId> ids, std::span<const TokenId> prefix) {
  return ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
}

}  // namespace

std::vector<TokenId> forced_tokens(ConstraintEpoch& epoch, const TokenState& state,
                                   std::span<const TokenId> generated,
                                   const Vocabulary& vocabulary) {
  const ForcedBytes& forced = epoch.forced(state);
  if (forced.bytes.empty()) return {};
  std::span<const TokenId> context = context_of(generated, vocabulary);
  std::string before = bytes_of(context, vocabulary);
  std::vector<TokenId> ids = vocabulary.encode(before + forced.bytes);
  if (!starts_with(ids, context)) {
    // What was generated is no beginning of the canonical tokens: then those of the rest alone.
    context = {};
    before.clear();
    ids = vocabulary.encode(forced.bytes);
  }
  if (bytes_of(ids, vocabulary) != before + forced.bytes) return {};

  std::size_t certain = ids.size();
  const std::string_view text = forced.bytes;
  const std::size_t reach = std::min(text.size(), vocabulary.longest_token() - 1);
  bool in_space = true;
  for (std::size_t back = 1; back <= reach && !forced.ends; ++back) {
    const std::size_t begin = text.size() - back;
    // Rules about words look ahead at white space ("a space that is not the last one").
    in_space = in_space && is_space(text[begin]);
    if (!in_space && !epoch.continues(forced.end, text.substr(begin))) continue;
    const auto shorter = vocabulary.encode(before + std::string(text.substr(0, begin)));
    certain = std::min(certain, common_prefix(ids, shorter));
    if (certain <= context.size()) return {};
  }
  ids.resize(certain);
  ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(context.size()));
  return ids;
}

std::vector<TokenId> tokens_of(std::string_view text, const Vocabulary& vocabulary) {
  std::vector<TokenId> ids = vocabulary.encode(text);
  if (bytes_of(ids, vocabulary) == text) return ids;
  ids.clear();
  const RankedTrie& trie = vocabulary.trie();
  while (!text.empty()) {
    const RankedTrie::Node* node = &trie[RankedTrie::kRoot];
    std::size_t longest = 0;
    TokenId id = -1;
    for (std::size_t depth = 0; depth < text.size(); ++depth) {
      const auto children = trie.children(*node);
      const auto child = std::find_if(children.begin(), children.end(), [&](const auto& c) {
        return c.byte == static_cast<std::uint8_t>(text[depth]);
      });
      if (child == children.end()) break;
      node = &*child;
      if (trie.own_end(*node) == node->rank) continue;
      longest = depth + 1;
      id = vocabulary.ids()[node->rank];
    }
    if (longest == 0) return {};
    ids.push_back(id);
    text.remove_prefix(longest);
  }
  return ids;
}

}  // namespace tessera::guided

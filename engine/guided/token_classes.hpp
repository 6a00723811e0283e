// token_classes.hpp — the vocabulary as an automaton sees it that tells code points apart by class
// only.
//
// Where a text is read by an automaton with few classes of code points (words and blanks, letters
// and digits and dots), most tokens look like many others: 128,000 tokens are some thousand
// sequences of classes. They are a trie of their own, in which a position is stepped once for each
// sequence instead of once for each beginning of a token:
//
//   nodes  a sequence of classes; in preorder, so that what lies below a dead node is skipped at
//          once, and so are its tokens, which lie side by side
//   exits  tokens that go on with what is of no class: the quote that ends a JSON string, an
//          escape, a code point of which only the first bytes are in the token. They are read byte
//          by byte from their node, those that begin alike once
//
// Tokens with anything else (bytes that are not UTF-8, raw control characters in a JSON string) are
// left out: they are never alive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/guided/code_point_partition.hpp"
#include "engine/guided/token_mask.hpp"

namespace tessera::guided {

class Vocabulary;

// Immutable and thread-safe.
class TokenClasses {
 public:
  struct Node {
    std::uint32_t parent = 0;
    std::uint32_t end = 0;    // one past the last node below
    std::uint32_t ids = 0;    // first of its own tokens, in ids()
    std::uint32_t exits = 0;  // first of its exits
    std::uint32_t of = 0;     // the class that leads here
  };
  struct Exit {
    std::string_view rest;    // of the vocabulary's
    std::uint32_t alike = 0;  // bytes in common with the exit before, of the same node
    TokenId id = 0;
  };

  // `quoted`: of texts between the quotes of a JSON string. The vocabulary must outlive it.
  TokenClasses(const Vocabulary& vocabulary, const Partition& classes, bool quoted);

  bool is(const Partition& classes, bool quoted) const;
  // Whether there are far fewer sequences than beginnings of tokens: if not, the rest is empty.
  bool pays() const { return !nodes_.empty(); }
  // The first is the root; one more at the end, that has only `ids` and `exits`.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const TokenId> ids() const { return ids_; }
  std::span<const Exit> exits() const { return exits_; }
  // A code point of the class as UTF-8.
  std::string_view sample(std::uint32_t of) const { return samples_[of]; }
  // Of all classes; empty where no token has one of the class.
  std::span<const std::string> samples() const { return samples_; }
  const TokenMask& all() const { return *all_; }  // ids() as a mask
  std::size_t bytes() const;

 private:
  class Builder;

  Partition classes_;
  bool quoted_;
  std::vector<Node> nodes_;
  std::vector<TokenId> ids_;
  std::vector<Exit> exits_;
  std::vector<std::string> samples_;
  const TokenMask* all_;  // the vocabulary's
};

}  // namespace tessera::guided

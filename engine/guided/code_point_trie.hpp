// code_point_trie.hpp — the tokens of a vocabulary as sequences of code points.
//
// Made once per vocabulary; what reads tokens class by class (token_classes.hpp) is folded from it,
// in time for one look at each node. Nodes lie in the order of their depth, the children of one
// beside each other: where a node is folded to depends on its parent only, so that those of a level
// do not wait for one another.
//
//   ids    tokens that are whole code points: they end in a node
//   exits  tokens that go on from a node with something else: with the quote or the backslash of a
//          JSON string, or with a code point of which only the first bytes are in the token
//
// Tokens with anything else (bytes that are not UTF-8, raw control characters in a JSON string) are
// in no node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/guided/token_mask.hpp"

namespace tessera::guided {

class Vocabulary;

// Immutable and thread-safe.
class CodePointTrie {
 public:
  struct Node {
    std::uint32_t parent = 0;
    std::uint32_t symbol = 0;  // the code point that leads here, as an index of symbols()
  };
  struct Exit {
    std::string_view rest;   // behind the node; of the vocabulary's
    std::uint32_t node = 0;  // whose code points come before
    TokenId id = 0;
  };

  // `quoted`: of texts between the quotes of a JSON string. The vocabulary must outlive it.
  CodePointTrie(const Vocabulary& vocabulary, bool quoted);

  std::span<const Node> nodes() const { return nodes_; }          // [0] is the root
  std::span<const char32_t> symbols() const { return symbols_; }  // sorted
  // Tokens that end in a node, and where: sorted by node.
  std::span<const TokenId> ids() const { return ids_; }
  std::span<const std::uint32_t> nodes_of_ids() const { return nodes_of_ids_; }
  const TokenMask& all() const { return all_; }           // ids() as a mask
  std::span<const Exit> exits() const { return exits_; }  // sorted by `rest`

 private:
  class Reader;

  std::vector<Node> nodes_;
  std::vector<char32_t> symbols_;
  std::vector<TokenId> ids_;
  std::vector<std::uint32_t> nodes_of_ids_;
  std::vector<Exit> exits_;
  TokenMask all_;
};

}  // namespace tessera::guided

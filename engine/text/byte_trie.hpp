// byte_trie.hpp — all tokens that a text begins with, in one walk.
//
// The edges of all nodes lie in one hash table, so a step is one probe, however many children a
// node has. Filled once, then read by any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/model_spec.hpp"

namespace tessera {

class ByteTrie {
 public:
  // `bytes`: of all texts that will be added, at most.
  explicit ByteTrie(std::size_t bytes = 0);

  // An empty text is not added; one that is there already gets the new id.
  void add(std::string_view text, TokenId id);

  // Calls `visit(length, id)` for every token that `text` begins with, shortest first.
  template <class Visit>
  void for_each_prefix(std::string_view text, Visit visit) const {
    std::uint32_t node = kRoot;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<std::uint8_t>(text[i]));
      if (node == kRoot) return;
      if (ids_[node] != kNoId) visit(i + 1, ids_[node]);
    }
  }

 private:
  static constexpr std::uint32_t kRoot = 0;  // and, as a child: none
  static constexpr TokenId kNoId = -1;

  struct Edge {
    std::uint32_t key = 0;  // node * 256 + byte + 1; 0: the slot is free
    std::uint32_t child = kRoot;
  };

  std::size_t slot_of(std::uint32_t node, std::uint8_t byte) const {
    const std::uint32_t key = (node << 8U | byte) + 1;
    const std::size_t mask = edges_.size() - 1;
    std::size_t at = (key * 0x9E3779B1U >> 7U) & mask;
    while (edges_[at].key != 0 && edges_[at].key != key) at = (at + 1) & mask;
    return at;
  }
  std::uint32_t child(std::uint32_t node, std::uint8_t byte) const {
    return edges_[slot_of(node, byte)].child;
  }
  void grow();

  std::vector<Edge> edges_;  // a power of two, at most half full
  std::vector<TokenId> ids_ = {kNoId};
};

}  // namespace tessera

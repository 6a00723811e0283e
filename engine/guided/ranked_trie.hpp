// ranked_trie.hpp — sorted byte strings as a trie whose siblings lie side by side.
//
// Strings are numbered in the order of their bytes (their rank), so the strings below a node are a
// range of ranks, those that end in the node itself first. The children of a node are neighbours in
// the one array of nodes: a walk reads memory forwards, and what it skips it never touches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace tessera::guided {

// Immutable and thread-safe.
class RankedTrie {
 public:
  struct Node {
    std::uint32_t children = 0;      // index of the first
    std::uint32_t rank = 0;          // of the first string in or below this node
    std::uint32_t rank_end = 0;      // one past the last
    std::uint16_t num_children = 0;  // 0 to 256
    std::uint8_t byte = 0;           // that leads here
  };
  static constexpr std::uint32_t kRoot = 0;

  // `sorted`: as std::string_view compares; equal strings are allowed.
  explicit RankedTrie(std::span<const std::string_view> sorted);

  const Node& operator[](std::uint32_t node) const { return nodes_[node]; }
  std::span<const Node> children(const Node& node) const {
    return {nodes_.data() + node.children, node.num_children};
  }
  std::uint32_t index(const Node& node) const {
    return static_cast<std::uint32_t>(&node - nodes_.data());
  }
  // One past the last string that ends in `node` itself.
  std::uint32_t own_end(const Node& node) const {
    return node.num_children == 0 ? node.rank_end : nodes_[node.children].rank;
  }
  std::size_t depth(std::uint32_t node) const;
  std::size_t num_nodes() const { return nodes_.size(); }
  std::size_t bytes() const { return nodes_.capacity() * sizeof(Node); }

 private:
  void add_children(std::span<const std::string_view> sorted, std::uint32_t node,
                    std::size_t depth);

  std::vector<Node> nodes_;
};

}  // namespace tessera::guided

#include "engine/guided/ranked_trie.hpp"

#include <utility>

namespace tessera::guided {

RankedTrie::RankedTrie(std::span<const std::string_view> sorted) {
  nodes_.reserve(1 + 5 * sorted.size() / 2);
  nodes_.push_back({.rank_end = static_cast<std::uint32_t>(sorted.size())});
  std::vector<std::pair<std::uint32_t, std::size_t>> open = {{kRoot, 0}};  // node, its depth
  while (!open.empty()) {
    const auto [node, depth] = open.back();
    open.pop_back();
    add_children(sorted, node, depth);
    // Last first, so that subtrees lie in the order of their ranks.
    for (std::uint32_t i = nodes_[node].num_children; i-- > 0;) {
      open.emplace_back(nodes_[node].children + i, depth + 1);
    }
  }
  nodes_.shrink_to_fit();
}

void RankedTrie::add_children(std::span<const std::string_view> sorted, std::uint32_t node,
                              std::size_t depth) {
  const std::uint32_t end = nodes_[node].rank_end;
  std::uint32_t rank = nodes_[node].rank;
  while (rank < end && sorted[rank].size() == depth) ++rank;
  const auto children = static_cast<std::uint32_t>(nodes_.size());
  while (rank < end) {
    const char byte = sorted[rank][depth];
    const std::uint32_t begin = rank;
    while (rank < end && sorted[rank][depth] == byte) ++rank;
    nodes_.push_back({.rank = begin, .rank_end = rank, .byte = static_cast<std::uint8_t>(byte)});
  }
  nodes_[node].children = children;
  nodes_[node].num_children = static_cast<std::uint16_t>(nodes_.size() - children);
}

std::size_t RankedTrie::depth(std::uint32_t node) const {
  std::size_t depth = 0;
  std::uint32_t at = kRoot;
  for (; at != node; ++depth) {
    at = nodes_[at].children;
    while (nodes_[at].rank_end <= nodes_[node].rank) ++at;
  }
  return depth;
}

}  // namespace tessera::guided

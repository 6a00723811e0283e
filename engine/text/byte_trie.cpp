#include "engine/text/byte_trie.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <utility>

namespace tessera {

ByteTrie::ByteTrie(std::size_t bytes) : edges_(std::bit_ceil(std::max<std::size_t>(bytes, 16))) {}

void ByteTrie::add(std::string_view text, TokenId id) {
  std::uint32_t node = kRoot;
  for (const char c : text) {
    if (2 * ids_.size() > edges_.size()) grow();
    const auto byte = static_cast<std::uint8_t>(c);
    Edge& edge = edges_[slot_of(node, byte)];
    if (edge.key == 0) {
      assert(ids_.size() < (std::size_t{1} << 24U) - 1);
      edge = {(node << 8U | byte) + 1, static_cast<std::uint32_t>(ids_.size())};
      ids_.push_back(kNoId);
    }
    node = edge.child;
  }
  if (node != kRoot) ids_[node] = id;
}

void ByteTrie::grow() {
  const std::vector<Edge> old = std::exchange(edges_, std::vector<Edge>(2 * edges_.size()));
  for (const Edge& edge : old) {
    if (edge.key == 0) continue;
    const std::uint32_t node = (edge.key - 1) >> 8U;
    edges_[slot_of(node, static_cast<std::uint8_t>(edge.key - 1))] = edge;
  }
}

}  // namespace tessera

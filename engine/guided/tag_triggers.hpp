// tag_triggers.hpp — where in free text a tag begins.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/code_point_set.hpp"

namespace tessera::guided {

// Finds any of some texts in a stream of bytes (Aho and Corasick 1975). A state is the longest end
// of what was read that could still become one of them. Immutable once made.
class TagTriggers {
 public:
  using State = std::uint32_t;
  static constexpr State kRoot = 0;

  TagTriggers() : TagTriggers(std::vector<std::string>{}) {}
  explicit TagTriggers(const std::vector<std::string>& triggers);  // none of them empty

  State step(State state, std::uint8_t byte) const { return nodes_[state].next[byte]; }
  // The triggers that end here.
  std::span<const std::uint32_t> found(State state) const { return nodes_[state].found; }
  // How much of a trigger has been read.
  std::size_t depth(State state) const { return nodes_[state].depth; }
  // Code points after which kRoot is still kRoot.
  const CodePointSet& harmless() const { return harmless_; }
  std::size_t bytes() const { return nodes_.capacity() * sizeof(Node); }

 private:
  struct Node {
    std::array<State, 256> next{};
    State fail = kRoot;
    std::uint32_t depth = 0;
    std::vector<std::uint32_t> found;
  };

  void add(std::string_view trigger, std::uint32_t index);
  void link();
  void find_harmless();

  std::vector<Node> nodes_;
  CodePointSet harmless_;
};

}  // namespace tessera::guided

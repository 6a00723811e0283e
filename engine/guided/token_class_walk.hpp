// token_class_walk.hpp — the walk over tokens as sequences of classes of code points.
//
// A position is stepped once for each sequence (token_classes.hpp); each on the way is checked to
// take the classes. What is dead is skipped with all below it, and where the classes are too coarse
// for a few tokens, those are read byte by byte; for many, finer classes are asked for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/guided/recognizer.hpp"
#include "engine/guided/token_classes.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

// A part of TokenWalk. Not thread-safe; may be left by an exception at any point.
template <class R>
class ClassWalk {
 public:
  // Before each mask.
  void begin(const Vocabulary& vocabulary) {
    if (vocabulary_ != &vocabulary) classes_.clear();
    vocabulary_ = &vocabulary;
  }

  // Sets the bits of the tokens that are alive; `mask` is all clear. False, and nothing done, if
  // there are no classes here, they are not made yet, or few tokens are alive.
  bool fill(R& recognizer, Position position, TokenMask& mask) {
    if (!is_alive_often(recognizer, position)) return false;
    TextClasses classes = recognizer.text_classes(position);
    Making making = Making::kSecondTime;
    for (int i = 0; classes.classes && i < kMaxRefinements; ++i) {
      std::shared_ptr<const TokenClasses> tokens = classes_of(classes, Making::kNever);
      if (!tokens) {
        tokens = classes_of(classes, making);
        making = Making::kNever;  // one mask does not pay for several
      }
      if (!tokens || !tokens->pays()) return false;
      const Position coarse = walk(recognizer, position, classes, *tokens);
      if (coarse.dead()) {
        set(recognizer, position, *tokens, mask);
        return true;
      }
      classes = recognizer.refine_classes(position, coarse);
    }
    return false;
  }

  std::size_t bytes() const { return at_.capacity() * sizeof(Position); }

 private:
  using Node = RankedTrie::Node;

  static constexpr std::size_t kMaxClasses = 64;
  static constexpr std::uint32_t kClassesFrom = 8'192;  // tokens alive
  static constexpr std::uint32_t kMostCoarse = 1'024;   // tokens where classes are too coarse
  static constexpr std::uint32_t kMostCoarseInAll = 8'192;
  static constexpr int kMaxRefinements = 4;
  static constexpr std::uint32_t kFreeFrom = 32;  // nodes below

  struct Gap {  // nodes of a trie of classes that were not walked
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    bool dead = false;
  };
  struct KnownClasses {
    const Partition* classes = nullptr;
    bool quoted = false;
    std::shared_ptr<const TokenClasses> tokens;
  };
  // Whether much of the vocabulary is alive, as far as its first two bytes tell.
  bool is_alive_often(R& recognizer, Position position) const {
    const RankedTrie& trie = vocabulary_->trie();
    std::uint32_t alive = 0;  // tokens
    for (const Node& first : trie.children(trie[RankedTrie::kRoot])) {
      const Position at = recognizer.step(position, first.byte);
      if (at.dead()) continue;
      for (const Node& second : trie.children(first)) {
        if (recognizer.step(at, second.byte).dead()) continue;
        alive += second.rank_end - second.rank;
        if (alive >= kClassesFrom) return true;
      }
    }
    return false;
  }

  // The positions behind the sequences: at_. What is dead, and what classes are too coarse for, is
  // skipped: gaps_. Too much of the latter: the position that is in the way.
  Position walk(R& recognizer, Position position, const TextClasses& classes,
                const TokenClasses& tokens) {
    const std::span<const TokenClasses::Node> nodes = tokens.nodes();
    at_.resize(nodes.size());
    gaps_.clear();
    free_ = {};
    std::uint32_t at = 0;
    std::uint32_t too_coarse = 0;  // tokens
    while (at + 1 < nodes.size()) {
      const TokenClasses::Node& node = nodes[at];
      Position reached = at == 0 ? position : at_[node.parent];
      if (at != 0) {
        for (const char byte : tokens.sample(node.of)) {
          reached = recognizer.step(reached, static_cast<std::uint8_t>(byte));
        }
      }
      if (reached.dead()) {
        gaps_.push_back({at, node.end, true});
        at = node.end;
        continue;
      }
      at_[at] = reached;
      if (node.end > at + 1 && !recognizer.takes_classes(reached, classes)) {
        const std::uint32_t below = nodes[node.end].ids - nodes[at + 1].ids;
        too_coarse += below;
        if (below > kMostCoarse || too_coarse > kMostCoarseInAll) return reached;
        gaps_.push_back({at + 1, node.end, false});
        at = node.end;
      } else if (node.end > at + kFreeFrom && is_free(recognizer, reached, tokens)) {
        std::fill(at_.begin() + at, at_.begin() + node.end, reached);
        at = node.end;
      } else {
        ++at;
      }
    }
    return {};
  }

  // Whether any class leads from the position, which takes them, to itself: then so does all that
  // lies below a node.
  bool is_free(R& recognizer, Position position, const TokenClasses& tokens) {
    if (position == free_) return true;
    for (const std::string& sample : tokens.samples()) {
      Position next = position;
      for (const char byte : sample) next = recognizer.step(next, static_cast<std::uint8_t>(byte));
      if (!(next == position)) return false;
    }
    free_ = position;
    return true;
  }

  void set(R& recognizer, Position position, const TokenClasses& tokens, TokenMask& mask) {
    const std::span<const TokenClasses::Node> nodes = tokens.nodes();
    const auto num_nodes = static_cast<std::uint32_t>(nodes.size() - 1);
    std::size_t skipped = 0;
    for (const Gap& gap : gaps_) skipped += nodes[gap.end].ids - nodes[gap.begin].ids;
    const bool most = 2 * skipped < tokens.ids().size();
    if (most) mask |= tokens.all();
    gaps_.push_back({num_nodes, num_nodes, true});
    std::uint32_t begin = 0;  // of the nodes that were walked
    for (const Gap& gap : gaps_) {
      if (!most) {
        for (std::uint32_t i = nodes[begin].ids; i < nodes[gap.begin].ids; ++i)
          mask.set(tokens.ids()[i]);
      }
      for (; begin < gap.begin; ++begin) set_exits(recognizer, tokens, begin, mask);
      for (std::uint32_t i = nodes[gap.begin].ids; most && i < nodes[gap.end].ids; ++i)
        mask.clear(tokens.ids()[i]);
      if (!gap.dead) try_below(recognizer, position, tokens, gap, mask);
      begin = gap.end;
    }
  }

  // The tokens of a node that go on with something else. Of those that begin alike, what is alike
  // is read once.
  void set_exits(R& recognizer, const TokenClasses& tokens, std::uint32_t node, TokenMask& mask) {
    const std::span<const TokenClasses::Node> nodes = tokens.nodes();
    exit_at_.assign(1, at_[node]);       // [i]: after i bytes, as far as they are alive
    std::size_t dead = ~std::size_t{0};  // the bytes of the exit before up to its first dead one
    for (std::uint32_t i = nodes[node].exits; i < nodes[node + 1].exits; ++i) {
      const TokenClasses::Exit& exit = tokens.exits()[i];
      if (exit.alike >= dead) continue;
      dead = ~std::size_t{0};
      exit_at_.resize(exit.alike + 1);
      for (const char byte : exit.rest.substr(exit.alike)) {
        const Position next = recognizer.step(exit_at_.back(), static_cast<std::uint8_t>(byte));
        if (next.dead()) {
          dead = exit_at_.size();
          break;
        }
        exit_at_.push_back(next);
      }
      if (dead > exit.rest.size()) mask.set(exit.id);
    }
  }

  // Tokens one by one, where the classes are too coarse.
  void try_below(R& recognizer, Position from, const TokenClasses& tokens, const Gap& gap,
                 TokenMask& mask) {
    const std::span<const TokenClasses::Node> nodes = tokens.nodes();
    const auto try_token = [&](TokenId id) {
      Position position = from;
      for (const char byte : vocabulary_->bytes(id)) {
        position = recognizer.step(position, static_cast<std::uint8_t>(byte));
        if (position.dead()) return;
      }
      mask.set(id);
    };
    for (std::uint32_t i = nodes[gap.begin].ids; i < nodes[gap.end].ids; ++i)
      try_token(tokens.ids()[i]);
    for (std::uint32_t i = nodes[gap.begin].exits; i < nodes[gap.end].exits; ++i)
      try_token(tokens.exits()[i].id);
  }

  // nullptr where they would have to be made but need not be now.
  std::shared_ptr<const TokenClasses> classes_of(const TextClasses& of, Making making) {
    for (const auto& [classes, quoted, tokens] : classes_) {
      if (classes == of.classes && quoted == of.quoted) return tokens;
    }
    if (classes_.size() >= kMaxClasses) classes_.clear();
    auto tokens = vocabulary_->classes(*of.classes, of.quoted, making);
    if (tokens) classes_.push_back({of.classes, of.quoted, tokens});
    return tokens;
  }

  const Vocabulary* vocabulary_ = nullptr;
  std::vector<KnownClasses> classes_;
  std::vector<Position> at_;  // by node of a trie of classes
  Position free_;             // one that any of this mask's classes leads back to, if not dead
  std::vector<Gap> gaps_;
  std::vector<Position> exit_at_;
};

}  // namespace tessera::guided

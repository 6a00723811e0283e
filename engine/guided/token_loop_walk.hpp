// token_loop_walk.hpp — the tokens of a loop: which stay in it, and which leave it alive.
//
// Where positions in a loop differ by their number of code points alone, a slice of the vocabulary
// (token_slice.hpp) has all tokens that stay, by that number; the others leave it at some byte, and
// of those only the texts behind that byte are walked, once for each run of equal positions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/guided/recognizer.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/token_slice.hpp"
#include "engine/guided/utf8_pending.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

inline bool is_loop(const ByteLoop& loop) {
  return loop.set && loop.remaining > 0 && !loop.set->empty();
}

// Whether it matters only how many code points were read.
inline bool is_counted(const ByteLoop& loop) {
  return loop.same == loop.set;
}

// Whether a loop is worth a slice, which is not made for less than a few characters that may come
// again, or many that come once.
inline bool pays(const ByteLoop& loop) {
  if (!is_loop(loop)) return false;
  const std::uint32_t few = loop.remaining == 1 ? 64 : 8;
  std::uint32_t count = 0;
  for (const CodePointSet::Range& range : loop.set->ranges()) {
    count += range.end - range.begin;
    if (count >= few) return true;
  }
  return false;
}

// A part of TokenWalk. Not thread-safe; may be left by an exception at any point.
template <class R>
class LoopWalk {
 public:
  // Before each mask.
  void begin(const Vocabulary& vocabulary) { vocabulary_ = &vocabulary; }

  // Whether so much of the vocabulary may leave the loop by a letter or a digit, here or behind one
  // of its code points, that its suffixes are most of it: then a plain walk is the shorter way.
  bool leaves_often(R& recognizer, Position position, const ByteLoop& loop) const {
    Position inside = position;
    for (const char byte : Utf8Pending().rest_of(loop.set->ranges().front().begin)) {
      inside = recognizer.step(inside, static_cast<std::uint8_t>(byte));
    }
    std::size_t leaving = 0;  // tokens
    for (std::uint8_t byte = '0'; byte <= 'z'; ++byte) {
      const bool word = byte <= '9' || byte >= 'a' || (byte >= 'A' && byte <= 'Z');
      if (!word || loop.set->contains(byte)) continue;
      if (recognizer.step(position, byte).dead() && recognizer.step(inside, byte).dead()) continue;
      leaving += vocabulary_->containing(byte).size();
      if (leaving > kMostLeaving) return true;
    }
    return false;
  }

  // Sets the bits of what lies below the slice's node, but for what is apart(), if it matters for
  // positions in the loop only how many code points were read. False, and nothing done, if it
  // matters which.
  bool fill(R& recognizer, const TokenSlice& tokens, Position position, ByteLoop loop,
            TokenMask& mask) {
    const Extent extent = find_runs(recognizer, position, loop, tokens);
    if (!extent.known) return false;
    tokens.add_members(extent.limit, mask);
    if (!extent.ends) try_members(recognizer, position, tokens, extent.limit, mask);
    for (const Run& run : runs_) {
      for (const std::uint8_t byte : tokens.breaks()) {
        if (tokens.max_prefix(byte) < run.begin) continue;
        const Position out = recognizer.step(run.position, byte);
        if (!out.dead()) fill_suffixes(recognizer, tokens.suffixes(byte), out, run, mask);
      }
    }
    return true;
  }

 private:
  using Node = RankedTrie::Node;

  static constexpr std::size_t kMostLeaving = 16'384;  // tokens
  // So few long members are tried one by one.
  static constexpr std::size_t kFewMembers = 64;

  struct Open {  // siblings still to be walked
    std::uint32_t next = 0;
    std::uint32_t end = 0;
    Position parent;
  };
  struct Run {  // positions after begin, begin + 1, ... code points of a loop: one position
    Position position;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };

  // How far a loop goes.
  struct Extent {
    bool known = false;       // the runs are all there is to know
    std::uint32_t limit = 0;  // members of up to so many code points are alive,
    bool ends = false;        // and no longer ones
  };

  // The positions that the loop's code points lead to, one after the other, as far as tokens go:
  // runs_.
  Extent find_runs(R& recognizer, Position position, ByteLoop loop, const TokenSlice& tokens) {
    const CodePointSet* const set = loop.set;
    std::uint32_t deepest = tokens.deepest_prefix();
    if (tokens.members_beyond(loop.remaining).size() > kFewMembers) {
      deepest = std::max(deepest, tokens.deepest_member());
    }
    const std::uint32_t limit = std::max(loop.remaining, deepest);
    runs_.assign(1, {position, 0, 1});
    for (std::uint32_t count = 0; count < deepest; ++count) {
      if (!is_loop(loop) || loop.set != set || !is_counted(loop)) {
        // The loop ends here: nothing longer is alive, if none of its code points may follow.
        const bool ends = !enters(recognizer, position, tokens);
        return {ends, count, ends};
      }
      for (const char byte : tokens.sample()) {
        position = recognizer.step(position, static_cast<std::uint8_t>(byte));
      }
      if (position == runs_.back().position) {
        runs_.back().end = TokenSlice::kUnlimited;
        return {true, TokenSlice::kUnlimited, true};
      }
      runs_.push_back({position, count + 1, count + 2});
      loop = recognizer.loop(position);
    }
    return {true, limit, false};
  }

  // Members that are longer than the loop is known to go on.
  void try_members(R& recognizer, Position from, const TokenSlice& tokens, std::uint32_t limit,
                   TokenMask& mask) {
    for (const TokenId id : tokens.members_beyond(limit)) {
      Position position = from;
      for (const char byte : vocabulary_->bytes(id).substr(tokens.depth())) {
        position = recognizer.step(position, static_cast<std::uint8_t>(byte));
        if (position.dead()) break;
      }
      if (!position.dead()) mask.set(id);
    }
  }

  // Whether a code point of the slice's set may follow (or, beyond ASCII, might).
  static bool enters(R& recognizer, Position position, const TokenSlice& tokens) {
    const unsigned end = tokens.set().ranges().back().end > 0x80 ? 0xF5U : 0x80U;
    for (unsigned byte = 0; byte < end; ++byte) {
      if (byte < 0x80 && !tokens.set().contains(byte)) continue;
      if (!recognizer.step(position, static_cast<std::uint8_t>(byte)).dead()) return true;
    }
    return false;
  }

  void fill_suffixes(R& recognizer, const TokenSuffixes& suffixes, Position position,
                     const Run& run, TokenMask& mask) {
    const Node& root = suffixes.trie[RankedTrie::kRoot];
    set_suffixes(suffixes, root, run, mask);
    open_.assign(1, {root.children, root.children + root.num_children, position});
    while (!open_.empty()) {
      Open& siblings = open_.back();
      if (siblings.next == siblings.end) {
        open_.pop_back();
        continue;
      }
      const std::uint32_t index = siblings.next++;
      const TokenSuffixes::Span span = suffixes.spans[index];
      if (span.max_prefix < run.begin || span.min_prefix >= run.end) continue;
      const Node& node = suffixes.trie[index];
      const Position next = recognizer.step(siblings.parent, node.byte);
      if (next.dead()) continue;
      set_suffixes(suffixes, node, run, mask);
      open_.push_back({node.children, node.children + node.num_children, next});
    }
  }

  static void set_suffixes(const TokenSuffixes& suffixes, const Node& node, const Run& run,
                           TokenMask& mask) {
    const std::uint32_t end = suffixes.trie.own_end(node);
    for (std::uint32_t rank = node.rank; rank < end; ++rank) {
      const TokenSuffixes::Token& token = suffixes.tokens[rank];
      if (token.prefix >= run.begin && token.prefix < run.end) mask.set(token.id);
    }
  }

  const Vocabulary* vocabulary_ = nullptr;
  std::vector<Open> open_;
  std::vector<Run> runs_;
};

}  // namespace tessera::guided

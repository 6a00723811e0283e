// token_walk.hpp — from a position to the tokens that may follow: the walk over the vocabulary.
//
// A depth-first walk over the trie of tokens, one step of the recognizer for each byte that is not
// behind a dead one. Three things keep it short:
//
//   loops    where any code points of a set may follow, a slice of the vocabulary says at once
//            which tokens are alive, and only the texts with which tokens leave the loop are walked
//            (token_loop_walk.hpp)
//   merging  at the start of a key nearly every byte leads to one and the same loop (a name that is
//            none of the declared ones): its mask is the base, and only where the two readings
//            differ is anything walked
//   likeness the same within a key, where the recognizer says which other position it is like and
//            by which bytes the two differ: the base's mask is kept, and only those are looked at
//   classes  in a text that an automaton reads, tokens of the same classes of code points go
//            together (token_class_walk.hpp); where they have too little in common, or are asked
//            for the first time, code points are read level by level (token_text_walk.hpp)
//   memory   siblings lie side by side, and buffers are kept from mask to mask
//
// A template over the recognizer, so that its step() is inlined: each recognizer keeps a TokenWalk
// and calls fill() from its own fill(), with its own (final) type.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/guided/recognizer.hpp"
#include "engine/guided/token_class_walk.hpp"
#include "engine/guided/token_loop_walk.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/token_slice.hpp"
#include "engine/guided/token_text_walk.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

// Not thread-safe; a member of its recognizer. May be left by an exception at any point.
template <class R>
class TokenWalk {
 public:
  // Sets the bits of all tokens whose bytes are live from `position`; `mask` is all clear.
  void fill(R& recognizer, Position position, const Vocabulary& vocabulary, TokenMask& mask) {
    begin(vocabulary);
    const Likeness like = recognizer.likeness(position);
    if (like.apart) {
      fill_like(recognizer, position, like, mask);
    } else {
      fill_anything(recognizer, position, mask);
    }
  }

  // The same for what lies below `node` only, as if the bytes up to it had not been read.
  void fill_below(R& recognizer, std::uint32_t node, Position position,
                  const Vocabulary& vocabulary, TokenMask& mask) {
    begin(vocabulary);
    walk(recognizer, whole(), whole().trie[node], position, mask, true);
  }

  std::size_t bytes() const {
    std::size_t total = classes_.bytes();
    for (const Base& base : bases_) total += sizeof base + base.mask.words().size_bytes();
    return total;
  }

 private:
  using Node = RankedTrie::Node;

  // Masks kept of positions that others are like: those of one object's names, mostly.
  static constexpr std::size_t kMaxBases = 4;
  // Subtrees with fewer tokens are walked even where they are in a loop.
  static constexpr std::uint32_t kLoopFrom = 256;
  // Tokens below the nodes that one mask makes slices for, if they are several.
  static constexpr std::uint32_t kMostSliced = 16'384;
  // Steps of a walk that is tried before a long one, or before slices are made.
  static constexpr std::uint32_t kShortWalk = 4'096;
  // Merging pays if one token in so many begins with a byte that leads to the same loop.
  static constexpr std::uint32_t kMergeShare = 64;
  static constexpr std::uint32_t kMergeFrom = 256;    // tokens
  static constexpr std::uint32_t kMergeBelow = 2048;  // tokens below a node within the trie
  static constexpr std::size_t kMaxSlices = 64;

  struct Tokens {  // all, or a part
    const RankedTrie& trie;
    std::span<const TokenId> ids;  // by rank
  };
  struct Open {  // siblings still to be walked
    std::uint32_t next = 0;
    std::uint32_t end = 0;
    Position parent;
  };
  struct MergeOpen {
    std::uint32_t next = 0;
    std::uint32_t end = 0;
    Position parent;
    Position base;                   // the same bytes read from the base's position
    const ByteSet* apart = nullptr;  // the only ones that matter, if known
  };
  struct Base {
    Position position;
    TokenMask mask;
  };
  struct SliceKey {
    std::uint32_t node = 0;
    const CodePointSet* set = nullptr;
    std::optional<Escapes> escapes;

    bool operator==(const SliceKey&) const = default;
  };
  struct SliceKeyHash {
    std::size_t operator()(const SliceKey& key) const {
      return std::hash<const void*>()(key.set) * 31 + key.node;
    }
  };

  void begin(const Vocabulary& vocabulary) {
    if (vocabulary_ != &vocabulary) {
      slices_.clear();
      bases_.clear();
    }
    vocabulary_ = &vocabulary;
    sliced_ = 0;
    classes_.begin(vocabulary);
    loops_.begin(vocabulary);
    open_.clear();
    merge_open_.clear();
  }

  Tokens whole() const { return {vocabulary_->trie(), vocabulary_->ids()}; }

  static void set_own(const Tokens& tokens, const Node& node, TokenMask& mask) {
    const std::uint32_t end = tokens.trie.own_end(node);
    for (std::uint32_t rank = node.rank; rank < end; ++rank) mask.set(tokens.ids[rank]);
  }

  static void clear_below(const Tokens& tokens, const Node& node, TokenMask& mask) {
    for (std::uint32_t rank = node.rank; rank < node.rank_end; ++rank) {
      mask.clear(tokens.ids[rank]);
    }
  }

  // What lies below `node`, whose position is `position`. `slices`: loops are looked for (in the
  // whole vocabulary only).
  void walk(R& recognizer, const Tokens& tokens, const Node& node, Position position,
            TokenMask& mask, bool slices) {
    const std::size_t below = open_.size();  // slices are filled from within a walk
    open_.push_back({node.children, node.children + node.num_children, position});
    while (open_.size() > below) {
      Open& siblings = open_.back();
      if (siblings.next == siblings.end) {
        open_.pop_back();
        continue;
      }
      const Node& child = tokens.trie[siblings.next++];
      const Position at = recognizer.step(siblings.parent, child.byte);
      if (at.dead()) continue;
      set_own(tokens, child, mask);
      if (child.num_children == 0) continue;
      if (slices && fill_if_loop(recognizer, child, at, mask)) continue;
      if (slices && fill_if_merged(recognizer, child, at, mask)) continue;
      open_.push_back({child.children, child.children + child.num_children, at});
    }
  }

  bool fill_if_loop(R& recognizer, const Node& node, Position position, TokenMask& mask) {
    if (node.rank_end - node.rank < kLoopFrom) return false;
    const ByteLoop loop = recognizer.loop(position);
    if (!pays(loop) || !is_counted(loop) || loops_.leaves_often(recognizer, position, loop))
      return false;
    const auto tokens = slice_below(node, loop);
    return tokens && fill_counted(recognizer, *tokens, position, loop, mask);
  }

  // merge() below a node of the whole vocabulary: a blank, behind which any name may begin. What is
  // apart from the loop's slice is not the base's, but filled anew.
  bool fill_if_merged(R& recognizer, const Node& node, Position position, TokenMask& mask);

  // `mask` is all clear.
  void fill_anything(R& recognizer, Position position, TokenMask& mask) {
    const ByteLoop loop = recognizer.loop(position);
    if (recognizer.has_classes(position)) {
      fill_text(recognizer, position, loop, mask);
    } else if (pays(loop)) {
      if (!slice(RankedTrie::kRoot, loop, Making::kNever) &&
          fill_shortly(recognizer, position, mask)) {
        return;
      }
      fill_loop(recognizer, RankedTrie::kRoot, position, loop, mask, true);
    } else {
      fill_all(recognizer, whole(), position, mask);
    }
  }

  // In a text: by the slice of its loop if there is one, or by classes; else by a walk over the
  // text, which takes less time than making a slice.
  void fill_text(R& recognizer, Position position, ByteLoop loop, TokenMask& mask) {
    if (pays(loop) && is_counted(loop) && !loops_.leaves_often(recognizer, position, loop)) {
      const auto tokens = slice(RankedTrie::kRoot, loop, Making::kNever);
      if (tokens && fill_counted(recognizer, *tokens, position, loop, mask)) return;
    }
    if (classes_.fill(recognizer, position, mask)) return;
    if (fill_shortly(recognizer, position, mask)) return;
    texts_.fill(recognizer, position, *vocabulary_, mask);
  }

  // By a plain walk, if that is short: before something is made that takes as long as a long one.
  // False, and nothing done, if it is not.
  bool fill_shortly(R& recognizer, Position position, TokenMask& mask) {
    const Node& root = whole().trie[RankedTrie::kRoot];
    const std::size_t below = open_.size();
    std::uint32_t steps = 0;
    open_.push_back({root.children, root.children + root.num_children, position});
    while (open_.size() > below) {
      Open& siblings = open_.back();
      if (siblings.next == siblings.end) {
        open_.pop_back();
        continue;
      }
      const Node& child = whole().trie[siblings.next++];
      if (++steps > kShortWalk) {
        open_.resize(below);
        mask.clear();
        return false;
      }
      const Position at = recognizer.step(siblings.parent, child.byte);
      if (at.dead()) continue;
      set_own(whole(), child, mask);
      if (child.num_children == 0) continue;
      open_.push_back({child.children, child.children + child.num_children, at});
    }
    return true;
  }

  // The mask of the base, made right where the position is not like it.
  void fill_like(R& recognizer, Position position, const Likeness& like, TokenMask& mask);

  const TokenMask& mask_of_base(R& recognizer, Position position);

  // All of `tokens`.
  void fill_all(R& recognizer, const Tokens& tokens, Position position, TokenMask& mask) {
    const bool is_whole = &tokens.trie == &vocabulary_->trie();
    const std::span<const Node> children = tokens.trie.children(tokens.trie[RankedTrie::kRoot]);
    std::uint32_t alive = 0;
    for (std::size_t i = 0; i < children.size(); ++i) {
      first_[i] = recognizer.step(position, children[i].byte);
      if (!first_[i].dead()) alive += children[i].rank_end - children[i].rank;
    }
    if (is_whole && fill_if_merged(recognizer, whole().trie[RankedTrie::kRoot], position, mask))
      return;
    if (!is_whole && alive >= kMergeFrom && alive >= tokens.ids.size() / kMergeShare &&
        merge(recognizer, tokens, mask)) {
      return;
    }
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (first_[i].dead()) continue;
      set_own(tokens, children[i], mask);
      if (children[i].num_children == 0) continue;
      if (is_whole && fill_if_loop(recognizer, children[i], first_[i], mask)) continue;
      if (is_whole && fill_if_merged(recognizer, children[i], first_[i], mask)) continue;
      walk(recognizer, tokens, children[i], first_[i], mask, is_whole);
    }
  }

  // The loop that most tokens are in after their first byte: dead if there is none worth while.
  // `first`: the positions behind `children`, of which there are `size` tokens in all.
  Position most_common_loop(R& recognizer, std::span<const Node> children,
                            std::span<const Position> first, std::size_t size);

  // Fills the mask of the most common loop, then mends it where the readings differ. False, and
  // nothing done, if there is no such loop.
  bool merge(R& recognizer, const Tokens& tokens, TokenMask& mask);

  // The mask is right for `base`; it becomes right for `position`.
  void mend(R& recognizer, const Tokens& tokens, const Node& node, Position position, Position base,
            TokenMask& mask);

  // Where nothing is set yet, or another loop is, mending is no shorter than filling.
  bool fill_anew(R& recognizer, const Node& node, Position position, Position base,
                 TokenMask& mask);

  // One of the siblings and what lies below it. Called again from within, by way of fill_anew().
  void mend_all(R& recognizer, const Tokens& tokens, const Node& node, Position position,
                Position base, TokenMask& mask);

  std::shared_ptr<const TokenSlice> slice(std::uint32_t node, const ByteLoop& loop,
                                          Making making = Making::kNow) {
    const SliceKey key{node, loop.set, loop.escapes};
    const auto found = slices_.find(key);
    if (found != slices_.end()) return found->second;
    if (slices_.size() >= kMaxSlices) slices_.clear();
    auto made = vocabulary_->slice(node, *loop.set, loop.escapes, making);
    if (made) slices_[key] = made;
    return made;
  }

  // That of a subtree: nullptr where it is not there and this mask has made enough of them, so that
  // no one mask pays for all that later ones gain by.
  std::shared_ptr<const TokenSlice> slice_below(const Node& node, const ByteLoop& loop) {
    const std::uint32_t index = vocabulary_->trie().index(node);
    if (auto known = slice(index, loop, Making::kNever)) return known;
    const std::uint32_t size = node.rank_end - node.rank;
    if (sliced_ > 0 && sliced_ + size > kMostSliced) return nullptr;
    sliced_ += size;
    return slice(index, loop, Making::kNow);
  }

  // What lies below `node`, where `position` is in a loop.
  void fill_loop(R& recognizer, std::uint32_t node, Position position, ByteLoop loop,
                 TokenMask& mask, bool may_merge) {
    if (is_counted(loop) && loops_.leaves_often(recognizer, position, loop)) {
      walk(recognizer, whole(), whole().trie[node], position, mask, false);
      return;
    }
    const std::shared_ptr<const TokenSlice> tokens = slice(node, loop);
    if (is_counted(loop) && fill_counted(recognizer, *tokens, position, loop, mask)) return;
    if (loop.remaining < tokens->deepest_member() || !tokens->residual_is_small()) {
      if (may_merge && node == RankedTrie::kRoot) {
        fill_all(recognizer, whole(), position, mask);
      } else {
        walk(recognizer, whole(), whole().trie[node], position, mask, false);
      }
      return;
    }
    tokens->add_members(loop.remaining, mask);
    const Tokens rest{tokens->residual().trie, tokens->residual().ids};
    if (may_merge) {
      fill_all(recognizer, rest, position, mask);
    } else {
      walk(recognizer, rest, rest.trie[RankedTrie::kRoot], position, mask, false);
    }
  }

  // Fills what lies below the slice's node if it matters for positions in the loop only how many
  // code points were read. False, and nothing done, if it matters which.
  bool fill_counted(R& recognizer, const TokenSlice& tokens, Position position, ByteLoop loop,
                    TokenMask& mask, bool with_apart = true) {
    if (!loops_.fill(recognizer, tokens, position, loop, mask)) return false;
    if (!with_apart) return true;
    for (const std::uint32_t child : tokens.apart()) {
      const Node& node = vocabulary_->trie()[child];
      const Position out = recognizer.step(position, node.byte);
      if (out.dead()) continue;
      set_own(whole(), node, mask);
      if (fill_if_loop(recognizer, node, out, mask)) continue;
      if (fill_if_merged(recognizer, node, out, mask)) continue;
      walk(recognizer, whole(), node, out, mask, true);
    }
    return true;
  }

  const Vocabulary* vocabulary_ = nullptr;
  std::unordered_map<SliceKey, std::shared_ptr<const TokenSlice>, SliceKeyHash> slices_;
  std::uint32_t sliced_ = 0;           // tokens, for this mask
  std::array<Position, 256> first_{};  // behind the first byte of tokens
  std::vector<Open> open_;
  std::vector<MergeOpen> merge_open_;
  TextWalk<R> texts_;
  ClassWalk<R> classes_;
  LoopWalk<R> loops_;
  std::vector<Base> bases_;
  std::size_t next_base_ = 0;  // the last that made room
};

}  // namespace tessera::guided

#include "engine/guided/token_merge_walk.hpp"

// token_merge_walk.hpp — the part of the walk that mends one position's mask for another's.
//
// Where two positions lead to one for most bytes, the mask of one is a base for the other's, and
// only where the two readings differ is anything walked, both side by side (token_walk.hpp:
// merging, likeness).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "engine/guided/token_walk.hpp"

namespace tessera::guided {

template <class R>
bool TokenWalk<R>::fill_if_merged(R& recognizer, const Node& node, Position position,
                                  TokenMask& mask) {
  const std::uint32_t size = node.rank_end - node.rank;
  if (size < kMergeBelow) return false;
  const std::span<const Node> children = vocabulary_->trie().children(node);
  std::array<Position, 256> first;
  for (std::size_t i = 0; i < children.size(); ++i)
    first[i] = recognizer.step(position, children[i].byte);
  const Position base = most_common_loop(recognizer, children, first, size);
  if (base.dead()) return false;
  const ByteLoop loop = recognizer.loop(base);
  const auto tokens = slice_below(node, loop);
  if (!tokens || !fill_counted(recognizer, *tokens, base, loop, mask, false)) return false;
  for (std::size_t i = 0; i < children.size(); ++i) {
    const bool apart = std::ranges::count(tokens->apart(), node.children + i) != 0;
    const Position other = apart ? Position{} : recognizer.step(base, children[i].byte);
    mend_all(recognizer, whole(), children[i], first[i], other, mask);
  }
  return true;
}

template <class R>
void TokenWalk<R>::fill_like(R& recognizer, Position position, const Likeness& like,
                             TokenMask& mask) {
  if (!like.base.dead()) mask = mask_of_base(recognizer, like.base);
  for (const Node& child : whole().trie.children(whole().trie[RankedTrie::kRoot])) {
    if (!like.apart->contains(child.byte)) continue;
    const Position base = like.base.dead() ? Position{} : recognizer.step(like.base, child.byte);
    mend_all(recognizer, whole(), child, recognizer.step(position, child.byte), base, mask);
  }
}

template <class R>
const TokenMask& TokenWalk<R>::mask_of_base(R& recognizer, Position position) {
  for (const Base& base : bases_) {
    if (base.position == position) return base.mask;
  }
  TokenMask mask(vocabulary_->vocab_size());
  fill_anything(recognizer, position, mask);
  if (bases_.size() < kMaxBases) {
    bases_.push_back({position, std::move(mask)});
    return bases_.back().mask;
  }
  next_base_ = (next_base_ + 1) % kMaxBases;
  bases_[next_base_] = {position, std::move(mask)};
  return bases_[next_base_].mask;
}

template <class R>
Position TokenWalk<R>::most_common_loop(R& recognizer, std::span<const Node> children,
                                        std::span<const Position> first, std::size_t size) {
  struct Candidate {
    Position position;
    std::uint32_t weight = 0;  // tokens
    bool loops = false;
  };
  std::array<Candidate, 64> candidates{};
  std::size_t count = 0;
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (first[i].dead()) continue;
    std::size_t k = 0;
    while (k < count && !(candidates[k].position == first[i])) ++k;
    if (k == candidates.size()) continue;
    if (k == count) {
      const ByteLoop loop = recognizer.loop(first[i]);
      candidates[count++] = {first[i], 0, pays(loop) && is_counted(loop)};
    }
    if (candidates[k].loops) candidates[k].weight += children[i].rank_end - children[i].rank;
  }
  const Candidate& best =
      *std::max_element(candidates.begin(), candidates.end(),
                        [](const Candidate& a, const Candidate& b) { return a.weight < b.weight; });
  return best.weight >= size / kMergeShare ? best.position : Position{};
}

template <class R>
bool TokenWalk<R>::merge(R& recognizer, const Tokens& tokens, TokenMask& mask) {
  const Position base = most_common_loop(
      recognizer, tokens.trie.children(tokens.trie[RankedTrie::kRoot]), first_, tokens.ids.size());
  if (base.dead()) return false;
  fill_loop(recognizer, RankedTrie::kRoot, base, recognizer.loop(base), mask, false);
  for (const Node& child : tokens.trie.children(tokens.trie[RankedTrie::kRoot])) {
    const auto i = tokens.trie.index(child) - tokens.trie[RankedTrie::kRoot].children;
    mend_all(recognizer, tokens, child, first_[i], recognizer.step(base, child.byte), mask);
  }
  return true;
}

template <class R>
void TokenWalk<R>::mend(R& recognizer, const Tokens& tokens, const Node& node, Position position,
                        Position base, TokenMask& mask) {
  if (position == base) return;
  if (position.dead()) {
    if (!base.dead()) clear_below(tokens, node, mask);
    return;
  }
  set_own(tokens, node, mask);
  if (node.num_children == 0) return;
  const bool is_whole = &tokens.trie == &vocabulary_->trie();
  const Likeness like = recognizer.likeness(position);
  if (like.apart && like.base == base) {
    merge_open_.push_back(
        {node.children, node.children + node.num_children, position, base, like.apart});
    return;
  }
  if (is_whole && node.rank_end - node.rank >= kLoopFrom &&
      fill_anew(recognizer, node, position, base, mask)) {
    return;
  }
  merge_open_.push_back(
      {node.children, node.children + node.num_children, position, base, nullptr});
}

template <class R>
bool TokenWalk<R>::fill_anew(R& recognizer, const Node& node, Position position, Position base,
                             TokenMask& mask) {
  if (!base.dead()) {
    const ByteLoop loop = recognizer.loop(position);
    if (!pays(loop) || !is_counted(loop)) return false;
    clear_below(whole(), node, mask);
    set_own(whole(), node, mask);
  }
  if (!fill_if_loop(recognizer, node, position, mask) &&
      !fill_if_merged(recognizer, node, position, mask)) {
    walk(recognizer, whole(), node, position, mask, true);
  }
  return true;
}

template <class R>
void TokenWalk<R>::mend_all(R& recognizer, const Tokens& tokens, const Node& node,
                            Position position, Position base, TokenMask& mask) {
  const std::size_t below = merge_open_.size();
  mend(recognizer, tokens, node, position, base, mask);
  while (merge_open_.size() > below) {
    MergeOpen& siblings = merge_open_.back();
    if (siblings.next == siblings.end) {
      merge_open_.pop_back();
      continue;
    }
    const Node& child = tokens.trie[siblings.next++];
    if (siblings.apart && !siblings.apart->contains(child.byte)) continue;
    const Position at = recognizer.step(siblings.parent, child.byte);
    const Position base_at =
        siblings.base.dead() ? Position{} : recognizer.step(siblings.base, child.byte);
    if (at.dead() && base_at.dead()) continue;
    mend(recognizer, tokens, child, at, base_at, mask);
  }
}

}  // namespace tessera::guided

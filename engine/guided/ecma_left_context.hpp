// ecma_left_context.hpp — what a pattern's assertions ask of the text before a position.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "engine/guided/regex_terms.hpp"

namespace tessera::guided {

// What an assertion may ask of the text to its left (is there none, does it end in a word
// character, does it end so that a lookbehind holds) as a small automaton that reads the text from
// its beginning. Its states are what a position can know of its left.
class LeftContext {
 public:
  explicit LeftContext(RegexPool::Impl& pool) : pool_(pool) {}

  // A language of left texts whose truth is wanted; returns its number.
  std::size_t add(RegexId left_language) {
    const auto known = std::find(start_.begin(), start_.end(), left_language);
    if (known != start_.end()) return static_cast<std::size_t>(known - start_.begin());
    start_.push_back(left_language);
    return start_.size() - 1;
  }

  // Finds the states. False if there are too many.
  bool build() {
    constexpr std::size_t kMostStates = 64;
    states_.push_back(start_);
    for (std::size_t q = 0; q < states_.size(); ++q) {
      PartitionTable::Index product = PartitionTable::kWhole;
      for (const RegexId term : states_[q]) {
        product = pool_.partitions.product(product, pool_.partition(term));
      }
      partitions_.push_back(product);
      std::vector<std::size_t> targets;
      const std::vector<char32_t> by = pool_.partitions[product].representative;
      for (const char32_t c : by) targets.push_back(target(states_[q], c));
      next_.push_back(std::move(targets));
      if (states_.size() > kMostStates) return false;
    }
    return true;
  }

  std::size_t size() const { return states_.size(); }
  bool holds(std::size_t state, std::size_t language) const {
    return pool_[states_[state][language]].nullable;
  }
  // Of how many parts of the alphabet split() makes its answer.
  std::size_t num_parts(std::size_t state) const { return next_[state].size(); }
  // The part of `set` that leads from `state` to each state.
  std::vector<CodePointSet> split(const CodePointSet& set, std::size_t state) const {
    std::vector<CodePointSet> parts(size());
    const auto& members = pool_.partitions.members(partitions_[state]).sets;
    for (std::size_t i = 0; i < members.size(); ++i) {
      parts[next_[state][i]].add(set.intersection(members[i]));
    }
    return parts;
  }

 private:
  std::size_t target(const std::vector<RegexId>& from, char32_t c) {
    std::vector<RegexId> to;
    for (const RegexId term : from) to.push_back(pool_.derivative(term, c));
    const auto known = std::find(states_.begin(), states_.end(), to);
    if (known != states_.end()) return static_cast<std::size_t>(known - states_.begin());
    states_.push_back(std::move(to));
    return states_.size() - 1;
  }

  RegexPool::Impl& pool_;
  std::vector<RegexId> start_;
  std::vector<std::vector<RegexId>> states_;
  std::vector<PartitionTable::Index> partitions_;
  std::vector<std::vector<std::size_t>> next_;
};

}  // namespace tessera::guided

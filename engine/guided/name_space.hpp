// name_space.hpp — the property names of one place: those its schemas know, and classes of the
// others.
//
// Known names are numbered by their text, so that those with a common prefix are a range; a set of
// them is a row of bits. The others are told apart only by which pattern languages they are in.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/guided/obligations.hpp"

namespace tessera::guided {

// A key of a name space: a known name (below num_names()), or a class of other names.
using KeyIndex = std::uint32_t;

// Immutable but for what it asks of the regex pool.
class NameSpace {
 public:
  // Of objects that owe `objects` (formulas of objects, unfolded from `places`).
  NameSpace(Obligations& obligations, std::span<const Literal> places,
            std::span<const Literal> objects);

  std::uint32_t num_names() const { return static_cast<std::uint32_t>(names_.size()); }
  std::uint32_t num_declared() const { return num_declared_; }
  NameId name(KeyIndex index) const { return names_[index]; }
  // Place in the order written; undeclared names come last.
  std::uint32_t rank(KeyIndex index) const { return ranks_[index]; }
  KeyIndex at_rank(std::uint32_t rank) const { return by_rank_[rank]; }
  // The index of a known name, or num_names().
  KeyIndex find(NameId name) const;
  const std::vector<NameClass>& classes() const { return classes_; }
  std::uint32_t num_keys() const {
    return num_names() + static_cast<std::uint32_t>(classes_.size());
  }
  PropertyName key(KeyIndex index) const {
    if (index < num_names()) return {names_[index], nullptr};
    return {kNoName, &classes_[index - num_names()]};
  }
  // The class of a name that is not known.
  KeyIndex class_of(NameId name) const;
  // Whether all classes together are every string: nothing needs to be lexed, any prefix goes on.
  bool free() const { return classes_.size() == 1 && classes_[0].patterns.empty(); }
  // The names of a class and known names that its patterns take as well: a simpler language, and
  // the same one for texts that no known name begins with.
  RegexId loose_class(std::size_t of) const { return loose_[of]; }
  // None of the known names.
  RegexId unknown_names() const { return unknown_; }
  std::uint32_t num_words() const { return (num_names() + 31) / 32; }
  std::size_t bytes() const;

 private:
  void number_names(const Obligations::KnownNames& known);
  void make_classes(std::span<const Literal> objects);
  void split(RegexId pattern);

  Obligations& obligations_;
  std::vector<NameId> names_;  // sorted by text
  std::vector<std::uint32_t> ranks_;
  std::vector<KeyIndex> by_rank_;
  std::uint32_t num_declared_ = 0;
  std::unordered_map<NameId, KeyIndex> index_;
  std::vector<RegexId> patterns_;
  RegexId unknown_ = RegexPool::kAnything;  // where there are patterns: without the known names
  std::vector<NameClass> classes_;
  std::vector<RegexId> loose_;  // by class
};

}  // namespace tessera::guided

// regex_terms.hpp — inside RegexPool: the terms, their smart constructors, derivatives, searches.
//
// A term's facts are computed when it is made, from its children's: whether it has the empty
// string, and bounds on the lengths of its strings. A term is `dense` if the bounds are exact and
// every length between them occurs; that decides most questions about intersections with lengths
// without any search.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/guided/code_point_partition.hpp"
#include "engine/guided/hash_index.hpp"
#include "engine/guided/literal_table.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

enum class RegexKind : std::uint8_t {
  kNothing,
  kEmpty,
  kSet,         // a: index of the set
  kLiterals,    // a: table; b, c, d: its state
  kAutomaton,   // a: automaton; b, c: its state, high and low half
  kConcat,      // a: a term that is no concat; b: the rest
  kRepeat,      // a: what; b, c: how often
  kEither,      // a: first child in lists; b: number of children
  kBoth,        // likewise
  kComplement,  // a: of what
  kFixpoint,    // a: index of the equation
};

struct RegexNode {
  RegexKind kind = RegexKind::kNothing;
  bool nullable = false;
  bool positive = true;  // no both, complement or fixpoint within: not empty unless kNothing
  bool dense = false;
  enum class Alive : std::uint8_t { kUnknown, kYes, kNo } alive = Alive::kUnknown;
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  std::uint32_t min_length = 0;                 // no string is shorter
  std::uint32_t max_length = 0;                 // no string is longer; kUnbounded: perhaps
  std::uint32_t partition = ~std::uint32_t{0};  // index, once it is known
  bool opens_behind = false;  // its strings stay in it whatever is put behind them
  // It has a string that stays in it whatever is put before and behind: any "contains" has. Such
  // languages always have a string in common, one's behind the other's.
  bool has_kernel = false;

  bool same_content(const RegexNode& other) const {
    return kind == other.kind && a == other.a && b == other.b && c == other.c && d == other.d;
  }
};

struct RegexPool::Impl {
  static constexpr std::uint32_t kUnbounded = RegexPool::kUnbounded;
  static constexpr RegexId kAnySet = 3;

  Impl(Fuel& fuel, const GuidedLimits& limits);

  // Constructors (regex_terms.cpp).
  RegexId set(const CodePointSet& of);
  RegexId literal(std::string_view utf8);
  RegexId any_of_literals(std::span<const std::string_view> strings);
  RegexId literals_at(std::uint32_t table, LiteralTable::State state);
  RegexId add_automaton(std::shared_ptr<const Automaton> automaton);
  RegexId automaton_at(std::uint32_t automaton, std::uint64_t state);
  RegexId concat(RegexId head, RegexId tail);
  RegexId either(std::vector<RegexId> parts);
  RegexId both(std::vector<RegexId> parts);
  RegexId complement(RegexId of);
  RegexId repeat(RegexId of, std::uint32_t min, std::uint32_t max);
  RegexId either(RegexId a, RegexId b) { return either(std::vector<RegexId>{a, b}); }
  RegexId both(RegexId a, RegexId b) { return both(std::vector<RegexId>{a, b}); }
  // A language given by an equation over itself: X = ... X ... . define() is called once, with a
  // body in which X comes only behind at least one code point.
  RegexId make_fixpoint(bool nullable);
  void define_fixpoint(RegexId fixpoint, RegexId body);
  // Strings read backwards. nullopt for automata and fixpoints.
  std::optional<RegexId> reverse(RegexId of);

  // Sound, not complete: true only if every string of `small` is in `large`.
  bool contains(RegexId large, RegexId small, int depth = 3);

  // Derivatives (regex_derivative.cpp).
  RegexId derivative(RegexId of, char32_t code_point);
  PartitionTable::Index partition(RegexId of);

  // Searches (regex_search.cpp).
  bool alive(RegexId of);
  std::optional<bool> alive_at_once(RegexId of);  // nullopt: it takes a search
  std::optional<bool> part_alive_at_once(RegexId of);
  std::optional<bool> either_alive_at_once(RegexId of);
  std::optional<bool> concat_alive_at_once(RegexId of);
  std::optional<bool> both_alive_at_once(const RegexNode& node);
  bool meet_far_out(const RegexNode& both) const;
  std::optional<std::string> shortest(RegexId of);
  std::uint64_t count(RegexId of, std::uint64_t at_most);

  bool contains_rest(RegexId large, RegexId small, int depth);

  const RegexNode& operator[](RegexId id) const { return nodes[id]; }
  std::span<const RegexId> children(const RegexNode& node) const {
    return {lists.data() + node.a, node.b};
  }
  const CodePointSet& set_of(const RegexNode& node) const { return sets[node.a]; }
  // `of` as how often which set, if it is a set or a repeated set.
  struct SetRun {
    std::uint32_t set;
    std::uint32_t min, max;
  };
  std::optional<SetRun> as_set_run(RegexId of) const;
  bool is_length(RegexId of) const;  // any code point, so and so often
  std::size_t bytes() const;

  Fuel& fuel;
  GuidedLimits limits;
  std::uint32_t horizon = 0;
  std::vector<RegexNode> nodes;
  // What alive_at_once() has found of terms, each time it is called anew.
  struct AtOnce {
    std::uint32_t call = 0;
    std::optional<bool> alive;
  };
  std::vector<AtOnce> at_once;
  std::uint32_t at_once_call = 0;
  std::uint32_t num_looked_at = 0;
  std::vector<RegexId> lists;
  std::vector<CodePointSet> sets;
  std::vector<RegexId> set_terms;  // of each set
  std::vector<std::unique_ptr<const LiteralTable>> tables;
  std::vector<std::shared_ptr<const Automaton>> automata;
  std::vector<RegexId> equations;  // bodies
  PartitionTable partitions;

 private:
  friend class RegexSearch;

  std::uint32_t intern_set(const CodePointSet& of);
  RegexId intern(RegexNode node);
  RegexId intern_list(RegexNode node, std::span<const RegexId> parts);
  RegexId append(RegexNode node, std::uint64_t hash);
  bool flatten(RegexKind kind, std::vector<RegexId>& parts) const;
  void merge_sets(RegexKind kind, std::vector<RegexId>& parts);
  void merge_runs(std::vector<RegexId>& parts);
  void merge_literals(std::vector<RegexId>& parts);
  void absorb(RegexKind kind, std::vector<RegexId>& parts);
  RegexId make_either(std::span<const RegexId> parts);
  RegexId make_both(std::span<const RegexId> parts);
  RegexId concat_over(RegexId head, RegexId tail);
  RegexId derive(RegexId of, char32_t code_point);
  RegexId derive_chain(RegexId of, char32_t code_point);
  RegexId derive_uncached(RegexId of, char32_t code_point);
  PartitionTable::Index own_partition(const RegexNode& node);
  PartitionTable::Index automaton_partition(const RegexNode& node);

  std::uint64_t comparisons_ = 0;  // by contains(), to be paid for
  HashIndex index_;
  HashIndex set_index_;
  std::array<RegexId, 128> ascii_sets_{};  // of one character; 0: not made yet
  std::size_t heap_bytes_ = 0;             // of sets and literals
  // Derivatives, lossy: [hash of term and class] -> result. Grows with use.
  struct Memo {
    RegexId of = 0;
    std::uint32_t code_point_class = 0;
    RegexId result = 0;
  };
  std::vector<Memo> memo_;
  std::size_t memo_misses_ = 0;
};

}  // namespace tessera::guided

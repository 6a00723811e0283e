// object_search.hpp — the members or items that settle what an object or array owes.
//
// Depth-first with backtracking: something unsettled is picked, each member that could settle it is
// tried. Formulas that failed once in a search are not tried again. One of these lives for one
// question; Satisfier keeps what is worth keeping.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/guided/satisfiable.hpp"
#include "engine/guided/word_table.hpp"

namespace tessera::guided {

inline constexpr int kMaxChoices = 1500;  // of choices within one object or array

// `owed` with `by` instead of its conjunct `part`.
inline Literal replaced(FormulaPool& formulas, Literal owed, Literal part, Literal by) {
  if (by == kFails) return kFails;
  std::vector<Literal> parts{by};
  for (const Literal other : formulas.conjuncts(owed)) {
    if (other != part) parts.push_back(other);
  }
  return formulas.all(parts);
}

// Bounds the recursion.
class Deeper {
 public:
  explicit Deeper(int& depth) : depth_(depth) {
    if (++depth_ > kMaxChoices) {
      --depth_;
      throw TooComplex{kTrueSchema, "", "too many choices to see whether it can be satisfied"};
    }
  }
  ~Deeper() { --depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  int& depth_;
};

class ObjectSearch {
 public:
  ObjectSearch(Satisfier& satisfier, Obligations& obligations, const ObjectPlace& where);

  bool solve(Literal owed);
  // The same with a member of this key among them.
  bool solve_with(Literal owed, KeyIndex key) { return take(owed, kHolds, key); }
  const std::vector<MemberPlan>& plan() const { return plan_; }
  std::uint32_t height() const { return height_; }  // of the tallest value in the plan
  // What is owed by members besides the plan's.
  Literal rest() const { return rest_; }

 private:
  bool available(KeyIndex key) const;
  Literal unsettled(Literal owed) const;
  // The keys that could settle `part`, likely ones first.
  std::vector<KeyIndex> candidates(Literal part);
  bool hopeless(Literal part, int depth);
  bool settled(Literal part);
  bool atom_settled(Literal atom) const;
  std::vector<std::size_t> hopeful_alternatives(Literal part);
  bool try_candidates(Literal owed, Literal part);
  Literal settling_value(Literal part, KeyIndex key);
  bool take(Literal owed, Literal value, KeyIndex key);
  bool take_value(Literal stepped, Literal must, NameId name, KeyIndex key);
  NameId fresh_name(KeyIndex key);
  void take_key(KeyIndex key);
  void forget_from(std::size_t plan_size);
  bool failed_before(Literal owed);

  Satisfier& satisfier_;
  Obligations& obligations_;
  const NameSpace& names_;
  std::vector<std::uint32_t> used_;
  std::vector<NameId> seen_;
  std::uint32_t room_;
  std::vector<MemberPlan> plan_;
  std::uint32_t height_ = 0;
  Literal rest_ = kFails;
  int depth_ = 0;
  WordTable tried_;
  // By unnegated formula: kSettled, or how many members had been taken when it was not. Members
  // that are taken only settle more; where one is given back, all is forgotten.
  static constexpr std::uint32_t kSettled = ~std::uint32_t{0};
  std::unordered_map<Literal, std::uint32_t> settled_;
  std::uint32_t num_taken_ = 0;  // ever, in this search
};

class ArraySearch {
 public:
  ArraySearch(Satisfier& satisfier, Obligations& obligations, std::uint32_t room)
      : satisfier_(satisfier), obligations_(obligations), room_(room) {}

  bool solve(Literal owed);
  const std::vector<ItemPlan>& plan() const { return plan_; }
  std::uint32_t height() const { return height_; }

 private:
  struct Wanted {  // of items that are compared
    bool distinct = false;
    bool equals = false;
  };
  bool take_value(Literal stepped, Literal must);
  bool take_distinct(Literal must, Literal rest);
  bool take_apart(Literal must, Literal rest);
  bool take_equal(Literal must, Literal rest);
  bool try_values(Literal must, Literal rest);
  bool try_value(Literal must, Literal rest);
  Literal chosen(Literal must);
  Wanted wanted(Literal rest) const;
  Literal with_comparisons(Literal owed);
  Literal undecided(Literal owed) const;
  bool try_cases(Literal owed);
  std::uint32_t run_length(Literal owed, Literal after_one);
  Literal fewer_items(Literal owed, std::uint32_t count);

  Satisfier& satisfier_;
  Obligations& obligations_;
  std::uint32_t room_;
  std::vector<ItemPlan> plan_;
  std::vector<ValueId> compared_;  // the values in the plan that items were compared with
  std::uint32_t height_ = 0;
  int depth_ = 0;
  std::unordered_set<Literal> failed_;
};

}  // namespace tessera::guided

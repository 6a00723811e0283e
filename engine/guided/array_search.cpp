#include <algorithm>

#include "engine/guided/object_search.hpp"

namespace tessera::guided {

bool ArraySearch::solve(Literal owed) {
  const Deeper deeper(depth_);
  FormulaPool& formulas = obligations_.formulas();
  const std::size_t plan_size = plan_.size();
  owed = with_comparisons(owed);
  while (owed != kFails && !formulas.at_end(owed)) {
    formulas.fuel().spend();
    if (!failed_.insert(owed).second) break;
    if (try_cases(owed)) return true;
    if (undecided(owed) != kHolds) break;
    const Literal stepped = obligations_.step_item(owed);
    const Satisfier::Parts parts = satisfier_.split(stepped);
    if (parts.must == kFails || parts.rest == kFails) break;
    if (formulas.asks_next(parts.rest)) {
      if (take_value(stepped, kHolds)) return true;
      break;
    }
    if (formulas.remembers(parts.rest)) {
      if (take_distinct(parts.must, parts.rest)) return true;
      break;
    }
    if (!satisfier_.place(parts.must, room_)) break;
    height_ = std::max(height_, satisfier_.height(parts.must));
    const std::uint32_t count = run_length(owed, parts.rest);
    plan_.push_back({parts.must, count});
    owed = count > 1 ? fewer_items(owed, count) : parts.rest;
  }
  if (owed != kFails && formulas.at_end(owed)) return true;
  plan_.resize(plan_size);
  return false;
}

// What is said outright of whether items are equal decides what else asks for it.
Literal ArraySearch::with_comparisons(Literal owed) {
  FormulaPool& formulas = obligations_.formulas();
  std::vector<Literal> said;
  for (const Literal part : formulas.conjuncts(owed)) {
    if (formulas.op(part) == Op::kUnique) said.push_back(part);
  }
  if (said.empty()) return owed;
  std::vector<Literal> parts = said;
  for (const Literal part : formulas.conjuncts(owed)) {
    if (formulas.op(part) == Op::kUnique) continue;
    parts.push_back(!formulas.remembers(part) ? part : formulas.rewrite(part, [&](Literal atom) {
      const auto known = std::ranges::find(said, atom, [](Literal one) { return one & ~1U; });
      return known == said.end() ? atom : negated(*known) ? kFails : kHolds;
    }));
  }
  return formulas.all(parts);
}

// Something unsettled that says one of several; kHolds if there is none.
Literal ArraySearch::undecided(Literal owed) const {
  const FormulaPool& formulas = obligations_.formulas();
  for (const Literal part : formulas.conjuncts(owed)) {
    if (!formulas.at_end(part) && formulas.composite(part)) return part;
  }
  return kHolds;
}

bool ArraySearch::try_cases(Literal owed) {
  const Literal part = undecided(owed);
  const std::size_t count = satisfier_.num_alternatives(part);
  for (std::size_t i = 0; i < count; ++i) {
    const Literal one = satisfier_.alternative(part, i);
    if (solve(replaced(obligations_.formulas(), owed, part, one))) return true;
  }
  return false;
}

bool ArraySearch::take_value(Literal stepped, Literal must) {
  const Deeper deeper(depth_);
  FormulaPool& formulas = obligations_.formulas();
  formulas.fuel().spend();
  Satisfier::Parts parts = satisfier_.split(stepped);
  must = formulas.both(must, parts.must);
  parts.rest = satisfier_.propagate(parts.rest, must, room_);
  if (must == kFails || parts.rest == kFails) return false;
  if (formulas.asks_next(parts.rest)) {
    if (!satisfier_.place(must, room_)) return false;
    if (satisfier_.bound(parts.rest, true) == kFails) return false;
    // Those with which this item can be the last one come first.
    auto branches = satisfier_.branches(parts.rest, must);
    std::stable_partition(branches.begin(), branches.end(), [&](const Satisfier::Branch& branch) {
      return formulas.at_end(satisfier_.bound(branch.rest, false));
    });
    return std::ranges::any_of(branches, [&](const Satisfier::Branch& branch) {
      return take_value(branch.rest, formulas.both(must, branch.next));
    });
  }
  return take_distinct(must, parts.rest);
}

// An item that meets `must`, then what is left.
bool ArraySearch::take_distinct(Literal must, Literal rest) {
  const FormulaPool& formulas = obligations_.formulas();
  if (!satisfier_.place(must, room_)) return false;
  if (!formulas.remembers(rest)) {
    const std::uint32_t height = height_;
    height_ = std::max(height, satisfier_.height(must));
    plan_.push_back({must, 1});
    if (solve(rest)) return true;
    plan_.pop_back();
    height_ = height;
    return false;
  }
  const Wanted wanted = this->wanted(rest);
  if (!wanted.equals) return take_apart(must, rest);
  return wanted.distinct ? try_values(must, rest) : take_equal(must, rest);
}

// Where items only have to differ: what is left is met as if this item were not compared, then a
// value is taken that is none of those. If there is no such value there are few values at all.
bool ArraySearch::take_apart(Literal must, Literal rest) {
  FormulaPool& formulas = obligations_.formulas();
  const std::size_t at = plan_.size();
  const std::size_t before = compared_.size();
  const std::uint32_t height = height_;
  plan_.push_back({must, 1});
  if (solve(rest)) {
    std::vector<ValueId> others(compared_.begin() + static_cast<std::ptrdiff_t>(before),
                                compared_.end());
    std::ranges::sort(others);
    others.erase(std::unique(others.begin(), others.end()), others.end());
    const Literal apart = formulas.both(must, negate(formulas.values(others)));
    if (satisfier_.place(apart, room_)) {
      plan_[at].value = chosen(apart);
      return true;
    }
    failed_.clear();  // what was met is not among them any more
    plan_.resize(at);
    compared_.resize(before);
    height_ = height;
    return try_values(must, rest);
  }
  plan_.resize(at);
  return false;
}

// Where two equal items are wanted: what is left is met as if one like this were enough, then this
// one is as one of those. If it cannot be met even so, no value helps.
bool ArraySearch::take_equal(Literal must, Literal rest) {
  FormulaPool& formulas = obligations_.formulas();
  const std::size_t at = plan_.size();
  const std::size_t before = compared_.size();
  const std::uint32_t height = height_;
  const Literal like_this = formulas.atom(Op::kMatching, must, 1);
  plan_.push_back({must, 1});
  const bool met = solve(formulas.rewrite(rest, [&](Literal atom) {
    if (formulas.op(atom) != Op::kUnique) return atom;
    return formulas.both(atom, negate(like_this));
  }));
  const std::vector<ItemPlan> others(plan_.begin() + static_cast<std::ptrdiff_t>(at), plan_.end());
  plan_.resize(at);
  compared_.resize(before);
  height_ = height;
  if (!met) return false;
  failed_.clear();  // what was met is not among them any more
  for (const ItemPlan& other : others) {
    const Literal same = formulas.both(must, other.value);
    if (satisfier_.place(same, room_) && try_value(same, rest)) return true;
  }
  return try_values(must, rest);
}

// One value after the other.
bool ArraySearch::try_values(Literal must, Literal rest) {
  FormulaPool& formulas = obligations_.formulas();
  while (satisfier_.place(must, room_)) {
    formulas.fuel().spend();
    if (try_value(must, rest)) return true;
    const ValueId value = satisfier_.value(must, room_);
    must = formulas.both(must, negate(formulas.values(std::array{value})));
  }
  return false;
}

// The shortest value of the item.
bool ArraySearch::try_value(Literal must, Literal rest) {
  const std::size_t at = plan_.size();
  const std::size_t before = compared_.size();
  const std::uint32_t height = height_;
  plan_.push_back({chosen(must), 1});
  if (solve(obligations_.note_item(rest, compared_.back()))) return true;
  plan_.resize(at);
  compared_.resize(before);
  height_ = height;
  return false;
}

// A value that is compared.
Literal ArraySearch::chosen(Literal must) {
  FormulaPool& formulas = obligations_.formulas();
  height_ = std::max(height_, satisfier_.height(must));
  compared_.push_back(satisfier_.value(must, room_));
  return formulas.both(must, formulas.values(std::array{compared_.back()}));
}

// What is wanted of items that are compared.
ArraySearch::Wanted ArraySearch::wanted(Literal rest) const {
  const FormulaPool& formulas = obligations_.formulas();
  Wanted wanted;
  std::unordered_set<Literal> seen;
  std::vector<Literal> stack{rest};
  while (!stack.empty()) {
    const Literal literal = stack.back();
    stack.pop_back();
    if (!formulas.remembers(literal) || !seen.insert(literal).second) continue;
    obligations_.formulas().fuel().spend();
    if (formulas.op(literal) == Op::kUnique) {
      (negated(literal) ? wanted.equals : wanted.distinct) = true;
      continue;
    }
    for (const Literal child : formulas.children(literal)) {
      stack.push_back(negate_if(child, negated(literal)));
      if (formulas.op(literal) == Op::kOne) stack.push_back(negate(stack.back()));
    }
  }
  return wanted;
}

// How many items go the same way as the first, where an item changes nothing but how many are left.
std::uint32_t ArraySearch::run_length(Literal owed, Literal after_one) {
  FormulaPool& formulas = obligations_.formulas();
  std::uint32_t wanted = 1;
  for (const Literal part : formulas.conjuncts(owed)) {
    if (formulas.op(part) == Op::kNumItems && !negated(part)) wanted = formulas.a(part);
  }
  return wanted > 1 && fewer_items(owed, 1) == after_one ? wanted : 1;
}

Literal ArraySearch::fewer_items(Literal owed, std::uint32_t count) {
  FormulaPool& formulas = obligations_.formulas();
  return formulas.rewrite(owed, [&](Literal atom) {
    if (formulas.op(atom) != Op::kNumItems) return atom;
    const std::uint32_t left = formulas.a(atom);
    return formulas.atom(Op::kNumItems, left > count ? left - count : 0);
  });
}

}  // namespace tessera::guided

#include <algorithm>

#include "engine/guided/object_search.hpp"

namespace tessera::guided {

bool ArraySearch::solve(Literal owed) {
  const Deeper deeper(depth_);
  FormulaPool& formulas = obligations_.formulas();
  const std::size_t plan_size = plan_.size();
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
    return std::ranges::any_of(satisfier_.branches(parts.rest, must), [&](const auto& branch) {
      return take_value(branch.rest, formulas.both(must, branch.next));
    });
  }
  return take_distinct(must, parts.rest);
}

// An item that meets `must`; where items are compared, one value after the other is tried.
bool ArraySearch::take_distinct(Literal must, Literal rest) {
  FormulaPool& formulas = obligations_.formulas();
  const std::size_t plan_size = plan_.size();
  const std::uint32_t height = height_;
  while (satisfier_.place(must, room_)) {
    formulas.fuel().spend();
    height_ = std::max(height, satisfier_.height(must));
    if (!formulas.remembers(rest)) {
      plan_.push_back({must, 1});
      if (solve(rest)) return true;
      plan_.resize(plan_size);
      break;
    }
    const ValueId value = satisfier_.value(must, room_);
    const Literal only = formulas.values(std::array{value});
    plan_.push_back({formulas.both(must, only), 1});
    if (solve(obligations_.note_item(rest, value))) return true;
    plan_.resize(plan_size);
    must = formulas.both(must, negate(only));
  }
  height_ = height;
  return false;
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

// Formulas that wait for the verdicts on the value that comes next.

#include <algorithm>
#include <array>
#include <map>
#include <unordered_set>

#include "engine/guided/satisfiable.hpp"

namespace tessera::guided {
namespace {

std::size_t num_shared(std::span<const ValueId> some, std::span<const ValueId> others) {
  return static_cast<std::size_t>(std::ranges::count_if(
      some, [&](ValueId id) { return std::ranges::binary_search(others, id); }));
}

// A formula of which listed values decide parts, each time others: what is left of it. Only those
// of its children are gone through that say something of the lists that hold.
class DecidedByLists {
 public:
  using Lists = std::unordered_map<Literal, std::uint32_t>;  // kNext atoms, numbered

  DecidedByLists(FormulaPool& formulas, Literal formula, const Lists& lists)
      : formulas_(formulas), formula_(formula), lists_(lists), of_list_(lists.size()) {
    if (!formulas.composite(formula)) return;
    const auto children = formulas.children(formula);
    neutral_ = formulas.op(formula) == Op::kAnd ? kHolds : kFails;
    for (std::uint32_t i = 0; i < children.size(); ++i) {
      if (!formulas.asks_next(children[i])) {
        if (children[i] != neutral_) left_.emplace_back(i, children[i]);
        continue;
      }
      collect(children[i], i);
      const Literal none = formulas.rewrite_next(
          children[i], [&](Literal atom) { return lists.contains(atom) ? kFails : atom; });
      if (none != neutral_) left_.emplace_back(i, none);
    }
  }

  // With the lists of these (sorted) numbers holding and all others failing.
  Literal decide(std::span<const std::uint32_t> holding) {
    const auto verdict = [&](Literal atom) {
      const auto list = lists_.find(atom);
      if (list == lists_.end()) return atom;
      return std::ranges::binary_search(holding, list->second) ? kHolds : kFails;
    };
    if (!formulas_.composite(formula_)) return formulas_.rewrite_next(formula_, verdict);
    std::vector<std::uint32_t> changed;
    for (const std::uint32_t list : holding) {
      changed.insert(changed.end(), of_list_[list].begin(), of_list_[list].end());
    }
    std::ranges::sort(changed);
    changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
    std::vector<Literal> parts;
    for (const auto& [child, left] : left_) {
      if (!std::ranges::binary_search(changed, child)) parts.push_back(left);
    }
    for (const std::uint32_t child : changed) {
      parts.push_back(formulas_.rewrite_next(formulas_.children(formula_)[child], verdict));
    }
    const bool is_and = formulas_.op(formula_) == Op::kAnd;
    return negate_if(is_and ? formulas_.all(parts) : formulas_.exactly_one(parts),
                     negated(formula_));
  }

 private:
  void collect(Literal formula, std::uint32_t child) {
    std::vector<Literal> stack{formula};
    while (!stack.empty()) {
      const Literal literal = stack.back();
      stack.pop_back();
      if (!formulas_.asks_next(literal)) continue;
      formulas_.fuel().spend();
      if (formulas_.op(literal) == Op::kNext) {
        const auto list = lists_.find(literal & ~1U);
        if (list != lists_.end()) of_list_[list->second].push_back(child);
      } else {
        const auto children = formulas_.children(literal);
        stack.insert(stack.end(), children.begin(), children.end());
      }
    }
  }

  FormulaPool& formulas_;
  const Literal formula_;
  const Lists& lists_;
  Literal neutral_ = kHolds;
  std::vector<std::vector<std::uint32_t>> of_list_;      // the children that ask for each
  std::vector<std::pair<std::uint32_t, Literal>> left_;  // children with all lists failing
};

}  // namespace

Literal Satisfier::place_of(Literal only_next) {
  FormulaPool& formulas = obligations_.formulas();
  return formulas.rewrite(only_next, [&](Literal atom) { return formulas.a(atom); });
}

Literal Satisfier::assume(Literal formula, Literal atom, bool holds) {
  FormulaPool& formulas = obligations_.formulas();
  return formulas.rewrite_next(
      formula, [&](Literal other) { return other == atom ? (holds ? kHolds : kFails) : other; });
}

Satisfier::Parts Satisfier::split(Literal stepped) {
  FormulaPool& formulas = obligations_.formulas();
  if (!formulas.asks_next(stepped)) return {kHolds, stepped};
  std::vector<Literal> must;
  std::vector<Literal> rest;
  std::vector<Literal> decided;  // kNext literals that hold
  bool mixed = false;
  for (const Literal part : formulas.conjuncts(stepped)) {
    if (formulas.only_next(part) && part > kFails) {
      must.push_back(place_of(part));
      if (!formulas.composite(part)) decided.push_back(part);
    } else {
      rest.push_back(part);
      mixed |= formulas.asks_next(part);
    }
  }
  Parts parts{formulas.all(must), formulas.all(rest)};
  if (!mixed || decided.empty()) return parts;
  const Literal before = parts.rest;
  for (const Literal atom : decided) {
    parts.rest = assume(parts.rest, atom & ~1U, !negated(atom));
  }
  if (parts.rest == before) return parts;
  const Parts further = split(parts.rest);
  return {formulas.both(parts.must, further.must), further.rest};
}

Literal Satisfier::bound(Literal formula, bool optimistic) {
  bounds_.clear();
  return bound_part(formula, optimistic);
}

Literal Satisfier::bound_part(Literal formula, bool optimistic) {
  FormulaPool& formulas = obligations_.formulas();
  if (formula <= kFails || !formulas.asks_next(formula)) return formula;
  if (formulas.op(formula) == Op::kNext) return optimistic ? kHolds : kFails;
  const std::uint64_t key = pair_key(formula, optimistic ? 1 : 0);
  if (const auto known = bounds_.find(key); known != bounds_.end()) return known->second;
  formulas.fuel().spend(1 + formulas.children(formula).size() / 8);
  const Literal result = formulas.op(formula) == Op::kOne ? bound_one(formula, optimistic)
                                                          : bound_all(formula, optimistic);
  bounds_.emplace(key, result);
  return result;
}

Literal Satisfier::bound_all(Literal formula, bool optimistic) {
  FormulaPool& formulas = obligations_.formulas();
  std::vector<Literal> parts;
  for (const Literal child : formulas.children(formula)) {
    parts.push_back(bound_part(negate_if(child, negated(formula)), optimistic));
  }
  return negated(formula) ? formulas.any(parts) : formulas.all(parts);
}

// Between what its children come to at worst and at best: it holds for certain if exactly one may
// hold and one does; it may hold if one may and no two do.
Literal Satisfier::bound_one(Literal formula, bool optimistic) {
  FormulaPool& formulas = obligations_.formulas();
  if (negated(formula)) return negate(bound_one(negate(formula), !optimistic));
  std::vector<Literal> at_worst;
  std::vector<Literal> at_best;
  for (const Literal child : formulas.children(formula)) {
    at_worst.push_back(bound_part(child, false));
    at_best.push_back(bound_part(child, true));
  }
  if (!optimistic) return formulas.both(formulas.exactly_one(at_best), formulas.any(at_worst));
  std::vector<Literal> none;
  for (const Literal child : at_worst) none.push_back(negate(child));
  return formulas.both(formulas.any(at_best),
                       formulas.either(formulas.all(none), formulas.exactly_one(at_worst)));
}

std::vector<Satisfier::Polarity> Satisfier::asked(Literal formula) {
  FormulaPool& formulas = obligations_.formulas();
  std::vector<Polarity> found;
  std::unordered_set<Literal> seen;
  std::vector<Literal> stack{formula};
  while (!stack.empty()) {
    const Literal literal = stack.back();
    stack.pop_back();
    if (literal <= kFails || !formulas.asks_next(literal) || !seen.insert(literal).second) {
      continue;
    }
    formulas.fuel().spend();
    if (formulas.op(literal) == Op::kNext) {
      found.push_back({literal & ~1U, !negated(literal), negated(literal)});
      continue;
    }
    const bool one = formulas.op(literal) == Op::kOne;
    for (const Literal child : formulas.children(literal)) {
      stack.push_back(negate_if(child, negated(literal)));
      if (one) stack.push_back(negate(stack.back()));
    }
  }
  std::ranges::sort(found, {}, &Polarity::atom);
  std::vector<Polarity> atoms;
  for (const Polarity& polarity : found) {
    if (atoms.empty() || atoms.back().atom != polarity.atom) {
      atoms.push_back(polarity);
    } else {
      atoms.back().positive |= polarity.positive;
      atoms.back().negative |= polarity.negative;
    }
  }
  return atoms;
}

// With a value for which all that is asked of it holds, or nothing does.
bool Satisfier::stays_met(const Witness& witness, const PropertyName& name, std::uint32_t room) {
  FormulaPool& formulas = obligations_.formulas();
  const Parts parts = split(obligations_.step_member(witness.rest, name));
  if (parts.must == kFails || parts.rest == kFails) return false;
  if (!formulas.asks_next(parts.rest))
    return formulas.at_end(parts.rest) && place(parts.must, room);
  const std::vector<Polarity> atoms = asked(parts.rest);
  return std::ranges::any_of(std::array{kHolds, kFails}, [&](Literal verdict) {
    const Literal rest = formulas.rewrite_next(parts.rest, [&](Literal) { return verdict; });
    if (!formulas.at_end(rest)) return false;
    std::vector<Literal> must{parts.must};
    for (const Polarity& polarity : atoms) {
      must.push_back(negate_if(formulas.a(polarity.atom), verdict == kFails));
    }
    return place(formulas.all(must), room);
  });
}

std::vector<Satisfier::Branch> Satisfier::branches(Literal rest, Literal must) {
  FormulaPool& formulas = obligations_.formulas();
  const std::vector<Polarity> atoms = asked(rest);
  std::vector<Branch> out;
  if (value_branches(rest, must, atoms, out)) return out;
  const Polarity& first = atoms.front();
  const Literal place = formulas.a(first.atom);
  const Literal holds = first.positive ? place : kHolds;
  const Literal fails = first.negative ? negate(place) : kHolds;
  out.push_back({holds, assume(rest, first.atom, true)});
  out.push_back({fails, assume(rest, first.atom, false)});
  return out;
}

std::size_t Satisfier::num_alternatives(Literal part) const {
  const FormulaPool& formulas = obligations_.formulas();
  if (!formulas.composite(part)) return 0;
  const std::size_t count = formulas.children(part).size();
  if (formulas.op(part) == Op::kAnd || !negated(part)) return count;
  return 1 + count * (count - 1) / 2;
}

Literal Satisfier::alternative(Literal part, std::size_t i) {
  FormulaPool& formulas = obligations_.formulas();
  const auto children = formulas.children(part);
  if (formulas.op(part) == Op::kAnd) return negate(children[i]);
  if (negated(part) && i > 0) {  // two of them: row by row of a triangle
    std::size_t first = 1;
    for (--i; i >= first; ++first) i -= first;
    return formulas.both(children[first], children[i]);
  }
  std::vector<Literal> one;
  for (const Literal child : children) one.push_back(negate(child));
  if (!negated(part)) one[i] = children[i];
  return formulas.all(one);
}

// What `must` says of the next value decides some of what is asked of it.
Literal Satisfier::propagate(Literal rest, Literal must, std::uint32_t room) {
  FormulaPool& formulas = obligations_.formulas();
  if (must == kHolds || !formulas.asks_next(rest)) return rest;
  std::unordered_map<Literal, Literal> decided;
  for (const Polarity& polarity : asked(rest)) {
    const Literal place = formulas.a(polarity.atom);
    if (formulas.op(place) == Op::kValues && formulas.op(must) == Op::kValues && !negated(must)) {
      const std::size_t shared = num_shared(formulas.value_list(must), formulas.value_list(place));
      if (shared == 0) decided.emplace(polarity.atom, kFails);
      if (shared == formulas.value_list(must).size()) decided.emplace(polarity.atom, kHolds);
    } else if (!this->place(formulas.both(must, place), room)) {
      decided.emplace(polarity.atom, kFails);
    } else if (!this->place(formulas.both(must, negate(place)), room)) {
      decided.emplace(polarity.atom, kHolds);
    }
  }
  if (decided.empty()) return rest;
  return formulas.rewrite_next(rest, [&](Literal atom) {
    const auto known = decided.find(atom);
    return known == decided.end() ? atom : known->second;
  });
}

// Listed values are told apart all at once: one case for those that are in the same lists.
bool Satisfier::value_branches(Literal rest, Literal must, std::span<const Polarity> atoms,
                               std::vector<Branch>& out) {
  FormulaPool& formulas = obligations_.formulas();
  std::unordered_map<Literal, std::uint32_t> lists;
  std::map<ValueId, std::vector<std::uint32_t>> in;  // the lists each value is in
  for (const Polarity& polarity : atoms) {
    const Literal place = formulas.a(polarity.atom);
    if (formulas.op(place) != Op::kValues) continue;
    const auto number = static_cast<std::uint32_t>(lists.size());
    lists.emplace(polarity.atom, number);
    for (const ValueId id : formulas.value_list(place)) in[id].push_back(number);
  }
  if (lists.size() < 2) return false;
  std::map<std::vector<std::uint32_t>, std::vector<ValueId>> cases;
  std::vector<ValueId> listed;
  for (const auto& [id, numbers] : in) {
    cases[numbers].push_back(id);
    listed.push_back(id);
  }
  DecidedByLists decided(formulas, rest, lists);
  const auto add = [&](Literal next, const std::vector<std::uint32_t>& numbers) {
    if (formulas.both(must, next) != kFails) out.push_back({next, decided.decide(numbers)});
  };
  for (const auto& [numbers, ids] : cases) add(formulas.values(ids), numbers);
  add(negate(formulas.values(listed)), {});
  return true;
}

}  // namespace tessera::guided

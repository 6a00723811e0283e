// Formulas that wait for the verdicts on the value that comes next.

#include <algorithm>
#include <map>
#include <unordered_set>

#include "engine/guided/satisfiable.hpp"

namespace tessera::guided {
namespace {

std::size_t num_shared(std::span<const ValueId> some, std::span<const ValueId> others) {
  return static_cast<std::size_t>(std::ranges::count_if(
      some, [&](ValueId id) { return std::ranges::binary_search(others, id); }));
}

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
  FormulaPool& formulas = obligations_.formulas();
  if (formula <= kFails || !formulas.asks_next(formula)) return formula;
  if (formulas.op(formula) == Op::kNext) return optimistic ? kHolds : kFails;
  if (formulas.op(formula) == Op::kOne) return bound_one(formula, optimistic);
  std::vector<Literal> parts;
  for (const Literal child : formulas.children(formula)) {
    parts.push_back(bound(negate_if(child, negated(formula)), optimistic));
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
    at_worst.push_back(bound(child, false));
    at_best.push_back(bound(child, true));
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
  const auto decide = [&](const std::vector<std::uint32_t>& holding) {
    return formulas.rewrite_next(rest, [&](Literal atom) {
      const auto list = lists.find(atom);
      if (list == lists.end()) return atom;
      return std::ranges::binary_search(holding, list->second) ? kHolds : kFails;
    });
  };
  const auto add = [&](Literal next, const std::vector<std::uint32_t>& numbers) {
    if (formulas.both(must, next) != kFails) out.push_back({next, decide(numbers)});
  };
  for (const auto& [numbers, ids] : cases) add(formulas.values(ids), numbers);
  add(negate(formulas.values(listed)), {});
  return true;
}

}  // namespace tessera::guided

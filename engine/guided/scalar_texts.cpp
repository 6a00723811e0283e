// Formulas over strings and numbers as regular languages.

#include <algorithm>

#include "engine/guided/obligations.hpp"

namespace tessera::guided {
namespace {

constexpr std::size_t kMaxCases = 48;  // of a formula over one number

}  // namespace

RegexId Obligations::text(Literal scalar, Kind kind) {
  const std::uint64_t key = pair_key(scalar, static_cast<std::uint32_t>(kind));
  if (const auto known = texts_.find(key); known != texts_.end()) return known->second;
  const RegexId language = text_of(scalar, kind);
  texts_.emplace(key, language);
  return language;
}

RegexId Obligations::text_of(Literal scalar, Kind kind) {
  if (scalar == kFails) return RegexPool::kNothing;
  if (kind == Kind::kNumber && formulas_.composite(scalar)) {
    if (const auto language = number_by_cases(scalar)) return *language;
  }
  if (formulas_.op(scalar) == Op::kOne) return text_of_one(scalar, kind);
  if (formulas_.op(scalar) == Op::kAnd && negated(scalar)) {
    return text_of_any(formulas_.children(scalar), kind);
  }
  return text_of_all(formulas_.conjuncts(scalar), kind);
}

// Any of the literals fails.
RegexId Obligations::text_of_any(std::span<const Literal> literals, Kind kind) {
  std::vector<RegexId> parts;
  for (const Literal literal : literals) parts.push_back(text(negate(literal), kind));
  return regexes_.either(parts);
}

RegexId Obligations::text_of_all(std::span<const Literal> literals, Kind kind) {
  std::vector<RegexId> parts;
  NumberSpec spec;
  bool listed = false;
  bool asked = false;
  spec.form = options_.integer_form;
  for (const Literal literal : literals) {
    if (formulas_.composite(literal)) {
      parts.push_back(text(literal, kind));
    } else if (kind == Kind::kString) {
      parts.push_back(string_text(literal));
    } else if (!add_to_spec(literal, spec)) {
      parts.push_back(listed_numbers(literal));
      listed = true;
    } else {
      asked = true;
    }
  }
  if (kind == Kind::kNumber && (asked || !listed)) {
    // A listed integer is written as numbers_equal() has it.
    if (listed) spec.form = IntegerForm::kValue;
    const std::optional<RegexId> language = numbers(regexes_, spec);
    parts.push_back(language ? *language : numbers_apart(literals, spec.form));
  }
  return regexes_.both(parts);
}

// Where the multiples asked of a number have too large a common one: a leaf for each multiple, with
// all else in each, and their intersection, which is searched.
RegexId Obligations::numbers_apart(std::span<const Literal> literals, IntegerForm form) {
  const auto is_multiple = [&](Literal literal) { return formulas_.op(literal) == Op::kMultiple; };
  std::vector<RegexId> parts;
  for (const Literal literal : literals) {
    if (!is_multiple(literal)) continue;
    NumberSpec spec;
    spec.form = form;
    add_to_spec(literal, spec);
    for (const Literal other : literals) {
      if (!formulas_.composite(other) && !is_multiple(other)) add_to_spec(other, spec);
    }
    const std::optional<RegexId> language = numbers(regexes_, spec);
    if (!language) throw TooComplex{kTrueSchema, "multipleOf", "cannot be decided exactly"};
    parts.push_back(*language);
  }
  if (parts.empty()) throw TooComplex{kTrueSchema, "multipleOf", "cannot be decided exactly"};
  return regexes_.both(parts);
}

RegexId Obligations::string_text(Literal atom) {
  if (formulas_.op(atom) != Op::kValues) {
    const RegexId language = formulas_.a(atom);
    return negated(atom) ? regexes_.complement(language) : language;
  }
  std::vector<std::string_view> texts;
  for (const ValueId id : formulas_.value_list(atom)) texts.push_back(values().as_string(id));
  const RegexId language = regexes_.any_of_literals(texts);
  return negated(atom) ? regexes_.complement(language) : language;
}

// False for listed numbers, which are a language of their own.
bool Obligations::add_to_spec(Literal literal, NumberSpec& spec) {
  const bool is_negated = negated(literal);
  switch (formulas_.op(literal)) {
    case Op::kInteger:
      (is_negated ? spec.not_integer : spec.integer) = true;
      return true;
    case Op::kFrom: {
      const NumberBound& from = bounds_[formulas_.a(literal)];
      if (is_negated) {
        spec.maximum.push_back({from.value, !from.exclusive});
      } else {
        spec.minimum.push_back(from);
      }
      return true;
    }
    case Op::kMultiple:
      (is_negated ? spec.not_multiple_of : spec.multiple_of)
          .push_back(divisors_[formulas_.a(literal)]);
      return true;
    default:
      if (!is_negated) return false;
      for (const ValueId id : formulas_.value_list(literal)) {
        spec.not_equal.push_back(values().as_number(id));
      }
      return true;
  }
}

RegexId Obligations::listed_numbers(Literal listed) {
  std::vector<Decimal> numbers;
  for (const ValueId id : formulas_.value_list(listed)) numbers.push_back(values().as_number(id));
  return numbers_equal(regexes_, numbers, options_.integer_form);
}

// Linear in the number of children, as a chain of unions.
RegexId Obligations::text_of_one(Literal scalar, Kind kind) {
  const auto both = [&](RegexId a, RegexId b) { return regexes_.both(std::array{a, b}); };
  const auto either = [&](RegexId a, RegexId b) { return regexes_.either(std::array{a, b}); };
  Tally tally{text(kHolds, kind), RegexPool::kNothing, RegexPool::kNothing};
  for (const Literal child : formulas_.children(scalar)) {
    const RegexId holds = text(child, kind);
    const RegexId fails = text(negate(child), kind);
    tally.more = either(both(tally.more, text(kHolds, kind)), both(tally.one, holds));
    tally.one = either(both(tally.one, fails), both(tally.none, holds));
    tally.none = both(tally.none, fails);
  }
  return negated(scalar) ? either(tally.none, tally.more) : tally.one;
}

// ---- numbers case by case

// Conjunctions of atoms that between them are `formula`; nullopt if they are many.
std::optional<std::vector<Literal>> Obligations::cases_of(Literal formula) {
  if (!formulas_.composite(formula)) return std::vector{formula};
  const std::span<const Literal> children = formulas_.children(formula);
  const bool one = formulas_.op(formula) == Op::kOne;
  if (!one && !negated(formula)) return cases_of_all(children);
  std::vector<Literal> cases;
  const auto add = [&](std::optional<std::vector<Literal>> more) {
    if (!more) return false;
    cases.insert(cases.end(), more->begin(), more->end());
    return cases.size() <= kMaxCases;
  };
  std::vector<Literal> none;
  for (const Literal child : children) none.push_back(negate(child));
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (!one) {
      if (!add(cases_of(none[i]))) return {};
    } else if (!negated(formula)) {
      std::vector<Literal> only(none);
      only[i] = children[i];
      if (!add(cases_of_all(only))) return {};
    }
    for (std::size_t k = 0; one && negated(formula) && k < i; ++k) {
      if (!add(cases_of_all(std::array{children[i], children[k]}))) return {};
    }
  }
  if (one && negated(formula) && !add(cases_of_all(none))) return {};
  return cases;
}

std::optional<std::vector<Literal>> Obligations::cases_of_all(std::span<const Literal> formulas) {
  std::vector<Literal> cases{kHolds};
  for (const Literal formula : formulas) {
    const auto parts = cases_of(formula);
    if (!parts || parts->size() * cases.size() > kMaxCases * kMaxCases) return {};
    std::vector<Literal> product;
    for (const Literal a : cases) {
      for (const Literal b : *parts) {
        if (const Literal both = formulas_.both(a, b); both != kFails) product.push_back(both);
      }
    }
    std::ranges::sort(product);
    product.erase(std::unique(product.begin(), product.end()), product.end());
    if (product.size() > kMaxCases) return {};
    cases = std::move(product);
  }
  return cases;
}

// A conjunction of what is said of a number is one leaf, of which it is known at once whether it
// has a text; so a few such leaves are better than their boolean combination, which is searched.
std::optional<RegexId> Obligations::number_by_cases(Literal scalar) {
  const auto cases = cases_of(scalar);
  if (!cases) return {};
  std::vector<RegexId> parts;
  for (const Literal one : *cases) {
    parts.push_back(text_of_all(formulas_.conjuncts(one), Kind::kNumber));
  }
  return regexes_.either(parts);
}

}  // namespace tessera::guided

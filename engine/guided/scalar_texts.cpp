// Formulas over strings and numbers as regular languages.

#include "engine/guided/obligations.hpp"

namespace tessera::guided {

RegexId Obligations::text(Literal scalar, Kind kind) {
  const std::uint64_t key = pair_key(scalar, static_cast<std::uint32_t>(kind));
  if (const auto known = texts_.find(key); known != texts_.end()) return known->second;
  const RegexId language = text_of(scalar, kind);
  texts_.emplace(key, language);
  return language;
}

RegexId Obligations::text_of(Literal scalar, Kind kind) {
  if (scalar == kFails) return RegexPool::kNothing;
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
    if (!language) throw TooComplex{kTrueSchema, "multipleOf", "cannot be decided exactly"};
    parts.push_back(*language);
  }
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

// A few numbers case by case, for a conjunction of what is said of numbers is one leaf. Else linear
// in the number of children, as a chain of unions.
RegexId Obligations::text_of_one(Literal scalar, Kind kind) {
  constexpr std::size_t kFew = 8;
  const std::span<const Literal> children = formulas_.children(scalar);
  if (kind == Kind::kNumber && children.size() <= kFew && !negated(scalar)) {
    std::vector<RegexId> cases;
    for (const Literal child : children) {
      std::vector<Literal> one{child};
      for (const Literal other : children) {
        if (other != child) one.push_back(negate(other));
      }
      cases.push_back(text(formulas_.all(one), kind));
    }
    return regexes_.either(cases);
  }
  const auto both = [&](RegexId a, RegexId b) { return regexes_.both(std::array{a, b}); };
  const auto either = [&](RegexId a, RegexId b) { return regexes_.either(std::array{a, b}); };
  Tally tally{text(kHolds, kind), RegexPool::kNothing, RegexPool::kNothing};
  for (const Literal child : children) {
    const RegexId holds = text(child, kind);
    const RegexId fails = text(negate(child), kind);
    tally.more = either(both(tally.more, text(kHolds, kind)), both(tally.one, holds));
    tally.one = either(both(tally.one, fails), both(tally.none, holds));
    tally.none = both(tally.none, fails);
  }
  return negated(scalar) ? either(tally.none, tally.more) : tally.one;
}

}  // namespace tessera::guided

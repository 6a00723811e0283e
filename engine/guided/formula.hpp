// formula.hpp — boolean formulas over what a JSON value owes, each kept once.
//
// A literal is a node and a sign, as in an and-inverter graph: negation costs nothing, a formula
// and its negation fold against each other, and one verdict serves both. Besides "and" there is
// "exactly one of", which oneOf is; it is never expanded, verdicts fold it. Atoms speak of a value
// whose type is not known yet (kSchema, kTypes, kValues), of a string or a number, of an object's
// members or of an array's items still to come, or of the one value that comes next (kNext).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/guided/fuel.hpp"
#include "engine/guided/word_table.hpp"

namespace tessera::guided {

using Literal = std::uint32_t;  // 2 node + negated
inline constexpr Literal kHolds = 0;
inline constexpr Literal kFails = 1;

enum class Op : std::uint32_t {
  kTrue,
  kAnd,  // children, sorted
  kOne,  // children, sorted: exactly one of them holds
  // Of a value of any type:
  kSchema,  // a: SchemaId
  kTypes,   // a: TypeBits
  kValues,  // a: a list of values, by value_list()
  // Of a string:
  kText,  // a: RegexId; it is in this language
  // Of a number (and kValues):
  kInteger,
  kFrom,      // a: bound, by Obligations; not below it
  kMultiple,  // a: divisor, by Obligations
  // Of an object's members still to come:
  kShape,    // a: SchemaId; each is as properties, patternProperties, additionalProperties say
  kShapeOf,  // a: ValueId; each is the member of this object
  kForAll,   // a: RegexId, b: Literal; each whose name is in a has a value in b
  kNames,    // a: RegexId; each name is in a
  kHas,      // a: name; there is one of this name
  kNumProperties,  // a: there are at least so many
  // Of an array's items still to come:
  kItems,     // a: SchemaId, b: index of the next; each is as prefixItems and items say
  kItemsOf,   // a: ValueId, b: index of the next; each is this array's
  kRange,     // a, b: of the items to come, those at [a, b) are in c (a Literal); b ~0: to the end
  kMatching,  // a: Literal, b: at least b of them are in a
  kNumItems,  // a: there are at least so many
  kUnique,    // they are distinct; a: from these too (a literal of kValues, or kFails)
  // Of the value that comes next:
  kNext,  // a: Literal over a value of any type
};

constexpr Literal negate(Literal literal) {
  return literal ^ 1U;
}
constexpr bool negated(Literal literal) {
  return (literal & 1U) != 0;
}
constexpr Literal negate_if(Literal literal, bool condition) {
  return literal ^ static_cast<Literal>(condition);
}

// Not thread-safe; owned by one recognizer.
class FormulaPool {
 public:
  explicit FormulaPool(Fuel& fuel);

  Literal atom(Op op, std::uint32_t a, std::uint32_t b = 0, std::uint32_t c = 0);
  Literal all(std::span<const Literal> literals);
  Literal any(std::span<const Literal> literals);
  Literal exactly_one(std::span<const Literal> literals);
  Literal both(Literal a, Literal b) { return all(std::array{a, b}); }
  Literal either(Literal a, Literal b) { return negate(both(negate(a), negate(b))); }
  // `value_ids` are sorted and distinct; kFails if there are none.
  Literal values(std::span<const std::uint32_t> value_ids);

  Op op(Literal literal) const { return static_cast<Op>(words(literal)[0]); }
  std::uint32_t a(Literal literal) const { return words(literal)[1]; }
  std::uint32_t b(Literal literal) const { return words(literal)[2]; }
  std::uint32_t c(Literal literal) const { return words(literal)[3]; }
  bool composite(Literal literal) const {
    return op(literal) == Op::kAnd || op(literal) == Op::kOne;
  }
  // Of kAnd and kOne.
  std::span<const Literal> children(Literal literal) const { return words(literal).subspan(1); }
  // What `literal` says all of: its children if it is an unnegated kAnd, else itself. Call it with
  // a literal that outlives the span.
  std::span<const Literal> conjuncts(const Literal& literal) const;
  std::span<const std::uint32_t> value_list(Literal literal) const { return lists_[a(literal)]; }

  // Whether it holds of an object or array to which nothing is added any more.
  bool at_end(Literal literal) const { return info_[literal >> 1U].at_end != negated(literal); }
  // Whether a kNext is in it.
  bool asks_next(Literal literal) const { return info_[literal >> 1U].asks_next; }
  // Whether there is nothing but kNext in it.
  bool only_next(Literal literal) const { return info_[literal >> 1U].only_next; }

  // Whether a kUnique is in it.
  bool remembers(Literal literal) const { return info_[literal >> 1U].remembers; }

  // Which names of members may change a formula of objects, as a row of bits that names share;
  // kAnyName: all of them may. kHas says so by itself; of kShape it is told by whoever makes it,
  // before anything is made of it.
  static constexpr std::uint64_t kAnyName = ~std::uint64_t{0};
  static std::uint64_t name_bit(std::uint32_t name) {
    return std::uint64_t{1} << ((name * 0x9E3779B97F4A7C15U >> 32U) % 63U);
  }
  bool any_name_changes(Literal literal) const { return info_[literal >> 1U].names == kAnyName; }
  void set_names(Literal shape, std::uint64_t names) { info_[shape >> 1U].names = names; }

  // The formula with each atom replaced by what `replace(atom)` (of an unnegated one) gives.
  template <class Replace>
  Literal rewrite(Literal literal, Replace&& replace) {
    return rewrite_where(
        literal, [](Literal) { return true; }, replace);
  }
  // The same where only kNext are replaced; nothing else is visited.
  template <class Replace>
  Literal rewrite_next(Literal literal, Replace&& replace) {
    return rewrite_where(
        literal, [this](Literal part) { return asks_next(part); }, replace);
  }
  // The same where only atoms that a member of some name changes are replaced.
  template <class Replace>
  Literal rewrite_named(Literal literal, std::uint64_t name_bits, Replace&& replace) {
    const auto where = [&](Literal part) { return (info_[part >> 1U].names & name_bits) != 0; };
    return rewrite_where(literal, where, replace);
  }

  Fuel& fuel() { return fuel_; }
  std::size_t bytes() const;

 private:
  struct Info {
    bool at_end = false;
    bool asks_next = false;
    bool only_next = false;
    bool remembers = false;
    std::uint64_t names = 0;
  };
  // What a node was rewritten to by the rewriting of that number.
  struct Rewritten {
    std::uint32_t stamp = 0;
    Literal result = kHolds;
  };

  std::span<const std::uint32_t> words(Literal literal) const { return table_[literal >> 1U]; }
  Literal node(std::span<const std::uint32_t> words);
  Info info_of(std::span<const std::uint32_t> words) const;
  Info composite_info(std::span<const std::uint32_t> words) const;
  bool gather(std::span<const Literal> literals, std::vector<Literal>& out) const;
  bool fold_atoms(std::vector<Literal>& literals);
  bool fold_matching(std::vector<Literal>& literals);
  bool fold_values(std::vector<Literal>& literals);

  template <class Where, class Replace>
  Literal rewrite_where(Literal literal, const Where& where, Replace&& replace) {
    ++stamp_;
    return rewrite_where(literal, where, replace, stamp_);
  }

  template <class Where, class Replace>
  Literal rewrite_where(Literal literal, const Where& where, Replace& replace,
                        std::uint32_t stamp) {
    if (literal <= kFails || !where(literal)) return literal;
    if (!composite(literal)) return negate_if(replace(literal & ~1U), negated(literal));
    const std::uint32_t node = literal >> 1U;
    if (node < rewritten_.size() && rewritten_[node].stamp == stamp) {
      return negate_if(rewritten_[node].result, negated(literal));
    }
    fuel_.spend(1 + children(literal).size() / kChildrenPerUnit);
    const Literal result = rewrite_children(literal & ~1U, where, replace, stamp);
    if (node >= rewritten_.size()) rewritten_.resize(info_.size());
    rewritten_[node] = {stamp, result};
    return negate_if(result, negated(literal));
  }

  template <class Where, class Replace>
  Literal rewrite_children(Literal literal, const Where& where, Replace& replace,
                           std::uint32_t stamp) {
    const bool is_and = op(literal) == Op::kAnd;
    const std::span<const Literal> from = children(literal);
    std::vector<Literal> to;
    to.reserve(from.size() + 1);
    for (const Literal child : from) {
      to.push_back(rewrite_where(child, where, replace, stamp));
      if (is_and && to.back() == kFails) return kFails;
    }
    if (std::ranges::equal(from, to)) return literal;
    return is_and ? all(to) : exactly_one(to);
  }

  // A formula of so many children is a unit of fuel to go through, or to sort.
  static constexpr std::size_t kChildrenPerUnit = 8;

  Fuel& fuel_;
  WordTable table_;
  WordTable lists_;  // of kValues
  std::vector<Info> info_;
  std::vector<Rewritten> rewritten_;
  std::uint32_t stamp_ = 0;
};

}  // namespace tessera::guided

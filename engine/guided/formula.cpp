#include "engine/guided/formula.hpp"

#include <algorithm>
#include <array>
#include <map>

namespace tessera::guided {
namespace {

// Counting atoms of one kind fold to the strictest: at least the largest, fewer than the smallest.
struct Counts {
  std::uint32_t at_least = 0;
  std::uint32_t fewer_than = ~std::uint32_t{0};
  bool any = false;

  void add(std::uint32_t count, bool negated) {
    any = true;
    if (negated) {
      fewer_than = std::min(fewer_than, count);
    } else {
      at_least = std::max(at_least, count);
    }
  }
  bool contradictory() const { return at_least >= fewer_than; }
};

void intersect(std::vector<std::uint32_t>& into, std::span<const std::uint32_t> with) {
  std::erase_if(into, [&](std::uint32_t id) { return !std::ranges::binary_search(with, id); });
}

void subtract(std::vector<std::uint32_t>& from, std::span<const std::uint32_t> what) {
  std::erase_if(from, [&](std::uint32_t id) { return std::ranges::binary_search(what, id); });
}

}  // namespace

FormulaPool::FormulaPool(Fuel& fuel) : fuel_(fuel) {
  node(std::array{static_cast<std::uint32_t>(Op::kTrue)});
}

Literal FormulaPool::node(std::span<const std::uint32_t> words) {
  const std::uint32_t id = table_.intern(words);
  if (id == info_.size()) {
    info_.push_back(info_of(words));
    fuel_.spend();
  }
  return 2 * id;
}

FormulaPool::Info FormulaPool::info_of(std::span<const std::uint32_t> words) const {
  switch (static_cast<Op>(words[0])) {
    case Op::kAnd:
    case Op::kOne:
      return composite_info(words);
    case Op::kHas:
      return {.names = name_bit(words[1])};
    case Op::kNumProperties:
      return {.names = kAnyName};
    case Op::kMatching:
    case Op::kNumItems:
      return {};
    case Op::kNext:
      return {.asks_next = true, .only_next = true};
    case Op::kUnique:
      return {.at_end = true, .remembers = true};
    default:
      return {.at_end = true, .names = kAnyName};
  }
}

FormulaPool::Info FormulaPool::composite_info(std::span<const std::uint32_t> words) const {
  std::size_t num_holding = 0;
  Info info{.only_next = true};
  const std::span<const Literal> parts = words.subspan(1);
  for (const Literal part : parts) {
    num_holding += static_cast<std::size_t>(at_end(part));
    info.asks_next |= asks_next(part);
    info.only_next &= only_next(part);
    info.remembers |= remembers(part);
    info.names |= info_[part >> 1U].names;
  }
  const bool is_and = static_cast<Op>(words[0]) == Op::kAnd;
  info.at_end = num_holding == (is_and ? parts.size() : 1);
  return info;
}

Literal FormulaPool::atom(Op op, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const bool counts = op == Op::kNumProperties || op == Op::kNumItems;
  if ((counts && a == 0) || (op == Op::kMatching && b == 0)) return kHolds;
  if (op == Op::kNext && a <= kFails) return a;
  if ((op == Op::kForAll && b == kHolds) || (op == Op::kRange && c == kHolds)) return kHolds;
  if (op == Op::kMatching && a == kFails) return kFails;
  if (op == Op::kMatching && a == kHolds) return atom(Op::kNumItems, b);
  // One verdict for a question and its negation.
  if (op == Op::kNext && negated(a)) return negate(atom(Op::kNext, negate(a)));
  return node(std::array{static_cast<std::uint32_t>(op), a, b, c});
}

Literal FormulaPool::values(std::span<const std::uint32_t> value_ids) {
  if (value_ids.empty()) return kFails;
  return atom(Op::kValues, lists_.intern(value_ids));
}

std::span<const Literal> FormulaPool::conjuncts(const Literal& literal) const {
  if (literal == kHolds) return {};
  if (!negated(literal) && op(literal) == Op::kAnd) return children(literal);
  return {&literal, 1};
}

// Flattened; false if something fails.
bool FormulaPool::gather(std::span<const Literal> literals, std::vector<Literal>& out) const {
  for (const Literal& literal : literals) {
    if (literal == kFails) return false;
    const std::span<const Literal> parts = conjuncts(literal);
    out.insert(out.end(), parts.begin(), parts.end());
  }
  return true;
}

Literal FormulaPool::all(std::span<const Literal> literals) {
  std::vector<Literal> parts;
  parts.reserve(literals.size() + 8);
  if (!gather(literals, parts)) return kFails;
  if (parts.size() > 1) {
    fuel_.spend(parts.size() / kChildrenPerUnit);
    std::ranges::sort(parts);
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
    for (std::size_t i = 1; i < parts.size(); ++i) {
      if (parts[i] == negate(parts[i - 1])) return kFails;
    }
    if (!fold_atoms(parts)) return kFails;
  }
  if (parts.empty()) return kHolds;
  if (parts.size() == 1) return parts.front();
  parts.insert(parts.begin(), static_cast<std::uint32_t>(Op::kAnd));
  return node(parts);
}

Literal FormulaPool::any(std::span<const Literal> literals) {
  std::vector<Literal> parts;
  parts.reserve(literals.size());
  for (const Literal literal : literals) parts.push_back(negate(literal));
  return negate(all(parts));
}

// Merges types, value lists and counts; false if they contradict each other.
bool FormulaPool::fold_atoms(std::vector<Literal>& literals) {
  Counts properties;
  Counts items;
  std::uint32_t types = ~std::uint32_t{0};
  bool any_types = false;
  bool any_values = false;
  std::size_t num_folding = 0;
  std::size_t num_matching = 0;
  for (const Literal literal : literals) {
    const Op kind = op(literal);
    if (kind == Op::kNumProperties) properties.add(a(literal), negated(literal));
    if (kind == Op::kNumItems) items.add(a(literal), negated(literal));
    if (kind == Op::kTypes && !negated(literal)) types &= a(literal), any_types = true;
    if (kind == Op::kValues) any_values = true;
    num_matching += static_cast<std::size_t>(kind == Op::kMatching);
    num_folding += static_cast<std::size_t>(kind == Op::kNumProperties || kind == Op::kNumItems ||
                                            kind == Op::kTypes || kind == Op::kValues);
  }
  if (num_matching > 1 && !fold_matching(literals)) return false;
  if (num_folding < 2) return true;
  if (properties.contradictory() || items.contradictory() || types == 0) return false;
  std::erase_if(literals, [&](Literal literal) {
    const Op kind = op(literal);
    return kind == Op::kNumProperties || kind == Op::kNumItems ||
           (kind == Op::kTypes && !negated(literal));
  });
  const auto add = [&](Op kind, const Counts& counts) {
    if (counts.at_least > 0) literals.push_back(atom(kind, counts.at_least));
    if (~counts.fewer_than != 0) literals.push_back(negate(atom(kind, counts.fewer_than)));
  };
  add(Op::kNumProperties, properties);
  add(Op::kNumItems, items);
  if (any_types) literals.push_back(atom(Op::kTypes, types));
  if (any_values && !fold_values(literals)) return false;
  std::ranges::sort(literals);
  literals.erase(std::unique(literals.begin(), literals.end()), literals.end());
  return true;
}

// Of kMatching of the same formula the strictest counts; literals stay sorted.
bool FormulaPool::fold_matching(std::vector<Literal>& literals) {
  std::map<Literal, Counts> counts;
  for (const Literal literal : literals) {
    if (op(literal) == Op::kMatching) counts[a(literal)].add(b(literal), negated(literal));
  }
  for (const auto& [what, count] : counts) {
    if (count.contradictory()) return false;
  }
  std::erase_if(literals, [&](Literal literal) {
    if (op(literal) != Op::kMatching) return false;
    const Counts& count = counts[a(literal)];
    return b(literal) != (negated(literal) ? count.fewer_than : count.at_least);
  });
  return true;
}

bool FormulaPool::fold_values(std::vector<Literal>& literals) {
  std::vector<std::uint32_t> allowed;
  std::vector<std::uint32_t> forbidden;
  bool any_allowed = false;
  for (const Literal literal : literals) {
    if (op(literal) != Op::kValues) continue;
    const std::span<const std::uint32_t> list = value_list(literal);
    fuel_.spend(list.size() / kChildrenPerUnit);
    if (negated(literal)) {
      forbidden.insert(forbidden.end(), list.begin(), list.end());
    } else if (!any_allowed) {
      allowed.assign(list.begin(), list.end());
      any_allowed = true;
    } else {
      intersect(allowed, list);
    }
  }
  std::ranges::sort(forbidden);
  forbidden.erase(std::unique(forbidden.begin(), forbidden.end()), forbidden.end());
  std::erase_if(literals, [&](Literal literal) { return op(literal) == Op::kValues; });
  if (any_allowed) {
    subtract(allowed, forbidden);
    if (allowed.empty()) return false;
    literals.push_back(values(allowed));
  } else if (!forbidden.empty()) {
    literals.push_back(negate(values(forbidden)));
  }
  return true;
}

Literal FormulaPool::exactly_one(std::span<const Literal> literals) {
  std::vector<Literal> parts;
  std::vector<Literal> excluded;  // must fail for the rest to decide it
  std::size_t num_holding = 0;
  parts.reserve(literals.size());
  fuel_.spend(literals.size() / kChildrenPerUnit);
  for (const Literal literal : literals) {
    if (literal == kHolds) ++num_holding;
    if (literal > kFails) parts.push_back(literal);
  }
  std::ranges::sort(parts);
  std::vector<Literal> kept;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i + 1 < parts.size() && parts[i + 1] == parts[i]) {
      // Twice: either both hold, which is one too many, or neither.
      const Literal twice = parts[i];
      while (i + 1 < parts.size() && parts[i + 1] == twice) ++i;
      excluded.push_back(negate(twice));
    } else if (i + 1 < parts.size() && parts[i + 1] == negate(parts[i])) {
      ++num_holding;  // one of the two
      ++i;
    } else {
      kept.push_back(parts[i]);
    }
  }
  if (num_holding > 1) return kFails;
  if (num_holding == 1) {
    for (const Literal literal : kept) excluded.push_back(negate(literal));
    return all(excluded);
  }
  if (kept.empty()) return kFails;
  if (kept.size() == 1) {
    excluded.push_back(kept.front());
  } else {
    kept.insert(kept.begin(), static_cast<std::uint32_t>(Op::kOne));
    excluded.push_back(node(kept));
  }
  return all(excluded);
}

std::size_t FormulaPool::bytes() const {
  return table_.bytes() + lists_.bytes() + info_.capacity() * sizeof(Info) +
         rewritten_.capacity() * sizeof(Rewritten);
}

}  // namespace tessera::guided

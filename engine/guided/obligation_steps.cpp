// Members and items: the atoms of objects and arrays, stepped.

#include <algorithm>

#include "engine/guided/obligations.hpp"

namespace tessera::guided {
namespace {

// No name's own: only what any name may change has it.
constexpr std::uint64_t kUndeclaredBit = std::uint64_t{1} << 63U;

}  // namespace

NameId Obligations::name_id(std::string_view name) {
  const auto [at, is_new] =
      name_ids_.try_emplace(std::string(name), static_cast<NameId>(names_.size()));
  if (is_new) names_.push_back(&at->first);
  return at->second;
}

bool Obligations::matches(RegexId pattern, const PropertyName& name) {
  if (pattern == RegexPool::kAnything || pattern == RegexPool::kNothing) {
    return pattern == RegexPool::kAnything;
  }
  if (name.name == kNoName) return std::ranges::binary_search(name.in->patterns, pattern);
  const std::uint64_t key = pair_key(pattern, name.name);
  if (const auto known = matches_.find(key); known != matches_.end()) return known->second;
  const bool matching = regexes_.matches(pattern, *names_[name.name]);
  matches_.emplace(key, matching);
  return matching;
}

void Obligations::add_patterns(Literal atom, std::vector<RegexId>& patterns) const {
  switch (formulas_.op(atom)) {
    case Op::kShape:
      for (const auto& [pattern, schema] : graph_[formulas_.a(atom)].pattern_properties) {
        patterns.push_back(pattern);
      }
      return;
    case Op::kForAll:
    case Op::kNames:
      patterns.push_back(formulas_.a(atom));
      return;
    default:
      return;
  }
}

Literal Obligations::member(SchemaId id, const PropertyName& name) {
  const Schema& schema = graph_[id];
  const auto [declared, is_new] = declared_.try_emplace(id);
  if (is_new) {
    for (const auto& [text, child] : schema.properties) {
      declared_[id].try_emplace(name_id(text), child);
    }
  }
  Literal result = kHolds;
  bool matched = false;
  const auto& names = declared_[id];
  if (const auto found = names.find(name.name); found != names.end()) {
    result = this->schema(found->second);
    matched = true;
  }
  for (const auto& [pattern, child] : schema.pattern_properties) {
    if (!matches(pattern, name)) continue;
    result = formulas_.both(result, this->schema(child));
    matched = true;
  }
  return matched ? result : this->schema(schema.additional);
}

Literal Obligations::member_of(ValueId object, const PropertyName& name) {
  if (name.name == kNoName) return kFails;
  const std::string& text = *names_[name.name];
  for (const auto& [member, value] : graph_.values.members(object)) {
    if (member == text) return formulas_.values(std::array{value});
  }
  return kFails;
}

// The names that a schema's members are told apart by.
std::uint64_t Obligations::shape_names(SchemaId id) {
  const Schema& schema = graph_[id];
  if (!schema.pattern_properties.empty() || this->schema(schema.additional) != kHolds) {
    return FormulaPool::kAnyName;
  }
  std::uint64_t names = 0;
  for (const auto& [name, child] : schema.properties) names |= FormulaPool::name_bit(name_id(name));
  return names;
}

Literal Obligations::step_member(Literal object, const PropertyName& name) {
  const auto next = [&](Literal place) { return formulas_.atom(Op::kNext, place); };
  const std::uint64_t bits =
      kUndeclaredBit | (name.name == kNoName ? 0 : FormulaPool::name_bit(name.name));
  return formulas_.rewrite_named(object, bits, [&](Literal atom) {
    const std::uint32_t a = formulas_.a(atom);
    switch (formulas_.op(atom)) {
      case Op::kShape:
        return formulas_.both(atom, next(member(a, name)));
      case Op::kShapeOf:
        return formulas_.both(atom, next(member_of(a, name)));
      case Op::kForAll:
        return matches(a, name) ? formulas_.both(atom, next(formulas_.b(atom))) : atom;
      case Op::kNames:
        return matches(a, name) ? atom : kFails;
      case Op::kHas:
        return a == name.name ? kHolds : atom;
      case Op::kNumProperties:
        return formulas_.atom(Op::kNumProperties, a - 1);
      default:
        return atom;
    }
  });
}

// ---- items

Literal Obligations::step_item(Literal array) {
  return formulas_.rewrite(array, [&](Literal atom) { return step_item_atom(atom); });
}

Literal Obligations::step_item_atom(Literal atom) {
  const auto next = [&](Literal place) { return formulas_.atom(Op::kNext, place); };
  const std::uint32_t a = formulas_.a(atom);
  const std::uint32_t b = formulas_.b(atom);
  switch (formulas_.op(atom)) {
    case Op::kItems: {
      const Schema& schema = graph_[a];
      const SchemaId item = b < schema.prefix.size() ? schema.prefix[b] : schema.items;
      return formulas_.both(items_atom(a, b + 1), next(this->schema(item)));
    }
    case Op::kItemsOf: {
      const auto items = graph_.values.items(a);
      if (b >= items.size()) return kFails;
      return formulas_.both(formulas_.atom(Op::kItemsOf, a, b + 1),
                            next(formulas_.values(std::array{items[b]})));
    }
    case Op::kRange: {
      const std::uint32_t c = formulas_.c(atom);
      const std::uint32_t end = ~b == 0 ? b : b - 1;
      if (a > 0) return formulas_.atom(Op::kRange, a - 1, end, c);
      return formulas_.both(end == 0 ? kHolds : formulas_.atom(Op::kRange, 0, end, c), next(c));
    }
    case Op::kMatching:
      return formulas_.either(atom,
                              formulas_.both(next(a), formulas_.atom(Op::kMatching, a, b - 1)));
    case Op::kNumItems:
      return formulas_.atom(Op::kNumItems, a - 1);
    case Op::kUnique:
      return formulas_.both(atom, next(negate(a)));
    default:
      return atom;
  }
}

Literal Obligations::note_item(Literal array, ValueId item) {
  return formulas_.rewrite(array, [&](Literal atom) {
    if (formulas_.op(atom) != Op::kUnique) return atom;
    return formulas_.atom(Op::kUnique,
                          formulas_.either(formulas_.a(atom), formulas_.values(std::array{item})));
  });
}

}  // namespace tessera::guided

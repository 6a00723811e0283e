// unevaluatedProperties and unevaluatedItems: what no other keyword of the schema looks at.
//
// A subschema that applies in place evaluates names (or indices) if it holds. So a member must be
// in the unevaluated schema, or one of the subschemas that look at its name must hold. The names
// fall into groups that the same subschemas look at; each group gives one clause, "all its members
// are in the schema, or one of these holds", and there are no more groups than names and patterns.
// Nothing is negated, and nothing is expanded into subsets of the subschemas.

#include <algorithm>
#include <map>

#include "engine/guided/obligations.hpp"

namespace tessera::guided {
namespace {

constexpr std::uint32_t kToTheEnd = ~std::uint32_t{0};
constexpr std::size_t kMaxPatterns = 10;  // they are told apart by subsets

// A schema that applies in place, and the condition under which it does.
struct InPlace {
  SchemaId id;
  Literal condition;
};

// Who looks at a name: the conditions of those that do, sorted.
using Lookers = std::vector<Literal>;

void add(Lookers& lookers, Literal condition) {
  const auto at = std::ranges::lower_bound(lookers, condition);
  if (at == lookers.end() || *at != condition) lookers.insert(at, condition);
}

}  // namespace

// Calls `visit(schema, condition)` for the schema and all that apply in place with it.
template <class Visit>
void Obligations::walk_in_place(SchemaId id, Kind kind, Visit&& visit) {
  std::vector<InPlace> stack{{id, kHolds}};
  std::map<std::pair<SchemaId, Literal>, bool> seen;
  const auto push = [&](SchemaId child, Literal condition) {
    if (condition != kFails) stack.push_back({child, condition});
  };
  while (!stack.empty()) {
    const SchemaId at = stack.back().id;
    const Literal condition = stack.back().condition;
    stack.pop_back();
    if (at <= kFalseSchema || !seen.emplace(std::pair{at, condition}, true).second) continue;
    formulas_.fuel().spend();
    const Schema& schema = graph_[at];
    visit(schema, condition, at == id);
    const auto when = [&](SchemaId child) {
      return formulas_.both(condition, of_kind(this->schema(child), kind));
    };
    for (const SchemaId child : schema.all_of) push(child, condition);
    for (const auto& group : schema.any_of) {
      for (const SchemaId child : group) push(child, when(child));
    }
    for (const auto& group : schema.one_of) {
      for (const SchemaId child : group) push(child, when(child));
    }
    if (schema.if_) {
      const Literal holds = of_kind(this->schema(*schema.if_), kind);
      push(*schema.if_, formulas_.both(condition, holds));
      if (schema.then_) push(*schema.then_, formulas_.both(condition, holds));
      if (schema.else_) push(*schema.else_, formulas_.both(condition, negate(holds)));
    }
    if (kind != Kind::kObject) continue;
    for (const auto& [name, child] : schema.dependent_schemas) {
      push(child, formulas_.both(condition, has(name)));
    }
  }
}

void Obligations::add_unevaluated_properties(SchemaId id, std::vector<Literal>& parts) {
  std::map<NameId, Lookers> names;
  std::map<RegexId, Lookers> patterns;
  Lookers everywhere;
  walk_in_place(id, Kind::kObject, [&](const Schema& schema, Literal condition, bool own) {
    const bool all = schema.has_additional || (!own && schema.unevaluated_properties);
    if (all) return add(everywhere, condition);
    for (const auto& [name, child] : schema.properties) add(names[name_id(name)], condition);
    for (const auto& [pattern, child] : schema.pattern_properties) {
      add(patterns[pattern], condition);
    }
  });
  if (patterns.size() > kMaxPatterns) {
    throw TooComplex{id, "unevaluatedProperties", "too many patterns evaluate properties"};
  }
  const Literal wanted = this->schema(*graph_[id].unevaluated_properties);
  const auto clause = [&](RegexId group, const Lookers& lookers) {
    if (group == RegexPool::kNothing) return;
    std::vector<Literal> either(lookers);
    either.push_back(formulas_.atom(Op::kForAll, group, wanted));
    parts.push_back(formulas_.any(either));
  };
  // Known names, those with the same lookers together.
  std::map<Lookers, std::vector<std::string_view>> groups;
  std::vector<std::string_view> known;
  for (const auto& [name, own] : names) {
    Lookers lookers(everywhere);
    for (const Literal condition : own) add(lookers, condition);
    for (const auto& [pattern, others] : patterns) {
      if (!matches(pattern, {name, nullptr})) continue;
      for (const Literal condition : others) add(lookers, condition);
    }
    known.push_back(this->name(name));
    groups[lookers].push_back(known.back());
  }
  for (const auto& [lookers, texts] : groups) clause(regexes_.any_of_literals(texts), lookers);
  // All others, by the patterns they are in.
  struct Group {
    RegexId language;
    Lookers lookers;
  };
  std::vector<Group> others{{regexes_.complement(regexes_.any_of_literals(known)), everywhere}};
  for (const auto& [pattern, lookers] : patterns) {
    const std::size_t count = others.size();
    for (std::size_t i = 0; i < count; ++i) {
      Group inside = others[i];
      inside.language = regexes_.both(std::array{inside.language, pattern});
      for (const Literal condition : lookers) add(inside.lookers, condition);
      others[i].language =
          regexes_.both(std::array{others[i].language, regexes_.complement(pattern)});
      if (regexes_.alive(inside.language)) others.push_back(std::move(inside));
    }
  }
  for (const Group& group : others) clause(group.language, group.lookers);
}

void Obligations::add_unevaluated_items(SchemaId id, std::vector<Literal>& parts) {
  struct Prefix {
    std::uint32_t length;
    Literal condition;
  };
  std::vector<Prefix> prefixes;
  std::vector<std::pair<Literal, Literal>> matching;  // condition, what `contains` matches
  walk_in_place(id, Kind::kArray, [&](const Schema& schema, Literal condition, bool own) {
    const bool all = schema.has_items || (!own && schema.unevaluated_items);
    const auto length = all ? kToTheEnd : static_cast<std::uint32_t>(schema.prefix.size());
    if (length > 0) prefixes.push_back({length, condition});
    if (schema.contains && schema.contains_evaluates) {
      matching.emplace_back(condition, this->schema(*schema.contains));
    }
  });
  if (matching.size() > kMaxPatterns) {
    throw TooComplex{id, "unevaluatedItems", "too many contains evaluate items"};
  }
  std::vector<std::uint32_t> bounds{0, kToTheEnd};
  for (const Prefix& prefix : prefixes) bounds.push_back(prefix.length);
  std::ranges::sort(bounds);
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
  const Literal wanted = this->schema(*graph_[id].unevaluated_items);
  for (std::size_t i = 0; i + 1 < bounds.size(); ++i) {
    std::vector<Literal> either;
    for (const Prefix& prefix : prefixes) {
      if (prefix.length >= bounds[i + 1]) either.push_back(prefix.condition);
    }
    // Which of the contains hold decides which matches count.
    for (std::size_t chosen = 0; chosen < std::size_t{1} << matching.size(); ++chosen) {
      std::vector<Literal> conditions;
      std::vector<Literal> allowed{wanted};
      for (std::size_t k = 0; k < matching.size(); ++k) {
        if ((chosen >> k & 1U) == 0) continue;
        conditions.push_back(matching[k].first);
        allowed.push_back(matching[k].second);
      }
      conditions.push_back(
          formulas_.atom(Op::kRange, bounds[i], bounds[i + 1], formulas_.any(allowed)));
      either.push_back(formulas_.all(conditions));
    }
    parts.push_back(formulas_.any(either));
  }
}

}  // namespace tessera::guided

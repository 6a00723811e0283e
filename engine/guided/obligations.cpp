#include "engine/guided/obligations.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_set>

namespace tessera::guided {
namespace {

constexpr Literal kUnknown = ~Literal{0};
constexpr Literal kInProgress = ~Literal{0} - 1;
constexpr Literal kNotAsked = ~Literal{0} - 2;
constexpr unsigned kKindBits = 3;
// In-place nesting: applicators and references without a member or item between them.
constexpr int kMaxInPlace = 600;

std::uint32_t clamp(std::uint64_t count) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(count, std::numeric_limits<std::uint32_t>::max() - 2));
}

std::uint8_t type_bit(Kind kind) {
  constexpr std::array<std::uint8_t, kNumKinds> kBits{
      kTypeNull,   kTypeBoolean, kTypeBoolean, kTypeInteger | kTypeNumber,
      kTypeString, kTypeArray,   kTypeObject};
  return kBits[static_cast<std::size_t>(kind)];
}

// With kTypeNumber, kTypeInteger goes without saying.
std::uint32_t whole_types(std::uint8_t types) {
  return (types & kTypeNumber) != 0 ? types | kTypeInteger : types;
}

bool says_nothing_of_numbers_and_strings(const Schema& schema) {
  return schema.minimum.empty() && schema.maximum.empty() && schema.multiple_of.empty() &&
         schema.text.empty();
}

bool says_nothing_of_arrays(const Schema& schema) {
  return schema.prefix.empty() && schema.items == kTrueSchema && !schema.contains &&
         schema.min_items == 0 && schema.max_items == Schema::kUnlimited && !schema.unique_items &&
         !schema.unevaluated_items;
}

bool says_nothing_of_objects(const Schema& schema) {
  return schema.properties.empty() && schema.pattern_properties.empty() &&
         schema.additional == kTrueSchema && !schema.property_names && schema.required.empty() &&
         schema.dependent_required.empty() && schema.dependent_schemas.empty() &&
         schema.min_properties == 0 && schema.max_properties == Schema::kUnlimited &&
         !schema.unevaluated_properties;
}

bool applies_nothing_else(const Schema& schema) {
  return schema.any_of.empty() && schema.one_of.empty() && schema.none_of.empty() && !schema.if_;
}

bool only_types_and_values(const Schema& schema) {
  return schema.all_of.empty() && applies_nothing_else(schema) &&
         says_nothing_of_numbers_and_strings(schema) && says_nothing_of_arrays(schema) &&
         says_nothing_of_objects(schema);
}

bool only_refers(const Schema& schema) {
  return schema.all_of.size() == 1 && whole_types(schema.types) == kTypeAny && !schema.values &&
         applies_nothing_else(schema) && says_nothing_of_numbers_and_strings(schema) &&
         says_nothing_of_arrays(schema) && says_nothing_of_objects(schema);
}

}  // namespace

Obligations::Obligations(SchemaGraph graph, RegexPool& regexes, Fuel& fuel,
                         const DocumentOptions& options)
    : graph_(std::move(graph)),
      regexes_(regexes),
      options_(options),
      formulas_(fuel),
      schemas_(graph_.nodes.size(), kUnknown) {}

// ---- a value of any type

Literal Obligations::schema(SchemaId id) {
  if (schemas_[id] == kUnknown) schemas_[id] = canonical(id);
  return schemas_[id];
}

// Where a chain of nodes that only refer to the next one ends.
SchemaId Obligations::follow(SchemaId id) const {
  SchemaId at = id;
  for (std::size_t links = 0; at > kFalseSchema && only_refers(graph_[at]); ++links) {
    if (links > graph_.nodes.size()) {
      throw TooComplex{id, "$ref", "refers to itself and to nothing else"};
    }
    at = graph_[at].all_of.front();
  }
  return at;
}

Literal Obligations::canonical(SchemaId id) {
  const SchemaId target = follow(id);
  if (target == kTrueSchema) return kHolds;
  if (target == kFalseSchema) return kFails;
  const Schema& schema = graph_[target];
  if (const auto text = only_text(schema)) {  // ^Abs$: values are told apart faster than texts
    return formulas_.values(std::array{graph_.values.string(*text)});
  }
  if (!only_types_and_values(schema)) return formulas_.atom(Op::kSchema, target);
  if (schema.values) return value_literal(schema);
  const std::uint32_t types = whole_types(schema.types);
  if (types == 0) return kFails;
  return types == kTypeAny ? kHolds : formulas_.atom(Op::kTypes, types);
}

// The one string that a schema of nothing but strings has a pattern for.
std::optional<std::string> Obligations::only_text(const Schema& schema) const {
  if (schema.types != kTypeString || schema.values || schema.text.size() != 1) return {};
  if (!schema.all_of.empty() || !applies_nothing_else(schema)) return {};
  return regexes_.only_string(schema.text.front());
}

Literal Obligations::value_literal(const Schema& schema) {
  const std::uint32_t types = whole_types(schema.types);
  const auto type_of = [&](ValueId id) -> std::uint32_t {
    switch (graph_.values.kind(id)) {
      case JsonKind::kNull:
        return kTypeNull;
      case JsonKind::kBoolean:
        return kTypeBoolean;
      case JsonKind::kNumber:
        return graph_.values.as_number(id).integral() ? kTypeInteger : kTypeNumber;
      case JsonKind::kString:
        return kTypeString;
      case JsonKind::kArray:
        return kTypeArray;
      case JsonKind::kObject:
        return kTypeObject;
    }
    return 0;
  };
  std::vector<ValueId> kept;
  for (const ValueId id : *schema.values) {
    if ((type_of(id) & types) != 0) kept.push_back(id);
  }
  std::ranges::sort(kept);
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  return formulas_.values(kept);
}

// ---- unfolding to a type

Literal Obligations::of_kind(Literal place, Kind kind) {
  if (place <= kFails) return place;
  const std::size_t key = std::size_t{place >> 1U} << kKindBits | static_cast<std::size_t>(kind);
  if (key >= of_kind_.size()) of_kind_.resize(((key >> kKindBits) + 1) << kKindBits, kNotAsked);
  if (const Literal known = of_kind_[key]; known != kNotAsked) {
    if (known == kInProgress) {
      throw TooComplex{formulas_.a(place), "$ref", "refers to itself without a value in between"};
    }
    return negate_if(known, negated(place));
  }
  of_kind_[key] = kInProgress;
  // Taken back if the fuel runs out: the question may be asked again.
  struct Undo {
    Obligations& of;
    std::size_t key;
    bool done = false;
    ~Undo() {
      --of.depth_;
      if (!done) of.of_kind_[key] = kNotAsked;
    }
  } undo{*this, key};
  if (++depth_ > kMaxInPlace) {
    throw TooComplex{formulas_.a(place), "", "too many schemas apply to one value"};
  }
  const Literal result = unfold_place(place & ~1U, kind);
  undo.done = true;
  of_kind_[key] = result;
  return negate_if(result, negated(place));
}

Literal Obligations::unfold_place(Literal place, Kind kind) {
  if (!formulas_.composite(place)) return unfold(place, kind);
  std::vector<Literal> parts;
  const bool is_and = formulas_.op(place) == Op::kAnd;
  for (const Literal child : formulas_.children(place)) {
    parts.push_back(of_kind(child, kind));
    if (is_and && parts.back() == kFails) return kFails;
  }
  return is_and ? formulas_.all(parts) : formulas_.exactly_one(parts);
}

Literal Obligations::unfold(Literal atom, Kind kind) {
  switch (formulas_.op(atom)) {
    case Op::kTypes: {
      const std::uint32_t types = formulas_.a(atom) & type_bit(kind);
      if (types == kTypeInteger) return formulas_.atom(Op::kInteger, 0);
      return types != 0 ? kHolds : kFails;
    }
    case Op::kValues:
      return unfold_values(formulas_.value_list(atom), kind);
    default:
      return unfold_schema(formulas_.a(atom), kind);
  }
}

Literal Obligations::unfold_schema(SchemaId id, Kind kind) {
  const Schema& schema = graph_[id];
  const std::uint32_t types = whole_types(schema.types) & type_bit(kind);
  if (types == 0) return kFails;
  std::vector<Literal> parts;
  if (types == kTypeInteger) parts.push_back(formulas_.atom(Op::kInteger, 0));
  if (schema.values) parts.push_back(of_kind(value_literal(schema), kind));
  add_assertions(id, kind, parts);
  add_applicators(schema, kind, parts);
  if (kind == Kind::kObject && schema.unevaluated_properties) {
    add_unevaluated_properties(id, parts);
  }
  if (kind == Kind::kArray && schema.unevaluated_items) add_unevaluated_items(id, parts);
  return formulas_.all(parts);
}

void Obligations::add_assertions(SchemaId id, Kind kind, std::vector<Literal>& parts) {
  const Schema& schema = graph_[id];
  switch (kind) {
    case Kind::kNumber:
      return add_number(schema, parts);
    case Kind::kString:
      for (const RegexId text : schema.text) parts.push_back(formulas_.atom(Op::kText, text));
      return;
    case Kind::kArray:
      return add_array(schema, id, parts);
    case Kind::kObject:
      return add_object(schema, id, parts);
    default:
      return;
  }
}

void Obligations::add_number(const Schema& schema, std::vector<Literal>& parts) {
  for (const NumberBound& minimum : schema.minimum) {
    parts.push_back(formulas_.atom(Op::kFrom, bound(minimum)));
  }
  for (const NumberBound& maximum : schema.maximum) {
    const NumberBound beyond{maximum.value, !maximum.exclusive};
    parts.push_back(negate(formulas_.atom(Op::kFrom, bound(beyond))));
  }
  for (const Decimal& step : schema.multiple_of) {
    parts.push_back(formulas_.atom(Op::kMultiple, divisor(step)));
  }
}

std::uint32_t Obligations::bound(const NumberBound& bound) {
  const auto next = static_cast<std::uint32_t>(bounds_.size());
  const auto [at, is_new] =
      bound_ids_.try_emplace((bound.exclusive ? ">" : "=") + bound.value.scientific(), next);
  if (is_new) bounds_.push_back(bound);
  return at->second;
}

std::uint32_t Obligations::divisor(const Decimal& divisor) {
  const auto next = static_cast<std::uint32_t>(divisors_.size());
  const auto [at, is_new] = divisor_ids_.try_emplace(divisor.scientific(), next);
  if (is_new) divisors_.push_back(divisor);
  return at->second;
}

void Obligations::add_array(const Schema& schema, SchemaId id, std::vector<Literal>& parts) {
  parts.push_back(items_atom(id, 0));
  if (schema.contains) {
    const Literal wanted = this->schema(*schema.contains);
    parts.push_back(formulas_.atom(Op::kMatching, wanted, clamp(schema.min_contains)));
    if (schema.max_contains < Schema::kUnlimited) {
      parts.push_back(
          negate(formulas_.atom(Op::kMatching, wanted, clamp(schema.max_contains) + 1)));
    }
  }
  parts.push_back(formulas_.atom(Op::kNumItems, clamp(schema.min_items)));
  if (schema.max_items < Schema::kUnlimited) {
    parts.push_back(negate(formulas_.atom(Op::kNumItems, clamp(schema.max_items) + 1)));
  }
  if (schema.unique_items) parts.push_back(formulas_.atom(Op::kUnique, kFails));
}

Literal Obligations::items_atom(SchemaId id, std::uint32_t index) {
  const Schema& schema = graph_[id];
  index = std::min(index, static_cast<std::uint32_t>(schema.prefix.size()));
  if (index == schema.prefix.size() && this->schema(schema.items) == kHolds) return kHolds;
  return formulas_.atom(Op::kItems, id, index);
}

Literal Obligations::has(std::string_view name) {
  return formulas_.atom(Op::kHas, name_id(name));
}

void Obligations::add_object(const Schema& schema, SchemaId id, std::vector<Literal>& parts) {
  if (!schema.properties.empty() || !schema.pattern_properties.empty() ||
      this->schema(schema.additional) != kHolds) {
    const std::uint64_t names = shape_names(id);
    parts.push_back(formulas_.atom(Op::kShape, id));
    formulas_.set_names(parts.back(), names);
  }
  if (schema.property_names) {
    const Literal names = of_kind(this->schema(*schema.property_names), Kind::kString);
    if (names != kHolds) {
      parts.push_back(formulas_.atom(Op::kNames, text(names, Kind::kString)));
    }
  }
  for (const std::string& name : schema.required) parts.push_back(has(name));
  parts.push_back(formulas_.atom(Op::kNumProperties, clamp(schema.min_properties)));
  if (schema.max_properties < Schema::kUnlimited) {
    parts.push_back(negate(formulas_.atom(Op::kNumProperties, clamp(schema.max_properties) + 1)));
  }
  add_dependent(schema, parts);
}

void Obligations::add_dependent(const Schema& schema, std::vector<Literal>& parts) {
  for (const auto& [name, wanted] : schema.dependent_required) {
    std::vector<Literal> all;
    for (const std::string& other : wanted) all.push_back(has(other));
    parts.push_back(formulas_.either(negate(has(name)), formulas_.all(all)));
  }
  for (const auto& [name, wanted] : schema.dependent_schemas) {
    parts.push_back(
        formulas_.either(negate(has(name)), of_kind(this->schema(wanted), Kind::kObject)));
  }
}

void Obligations::add_applicators(const Schema& schema, Kind kind, std::vector<Literal>& parts) {
  const auto of = [&](SchemaId id) { return of_kind(this->schema(id), kind); };
  const auto of_each = [&](const std::vector<SchemaId>& ids) {
    std::vector<Literal> literals;
    for (const SchemaId id : ids) literals.push_back(of(id));
    return literals;
  };
  for (const SchemaId id : schema.all_of) parts.push_back(of(id));
  for (const auto& ids : schema.any_of) parts.push_back(formulas_.any(of_each(ids)));
  for (const auto& ids : schema.one_of) parts.push_back(formulas_.exactly_one(of_each(ids)));
  for (const SchemaId id : schema.none_of) parts.push_back(negate(of(id)));
  if (!schema.if_) return;
  const Literal condition = of(*schema.if_);
  if (schema.then_) parts.push_back(formulas_.either(negate(condition), of(*schema.then_)));
  if (schema.else_) parts.push_back(formulas_.either(condition, of(*schema.else_)));
}

// ---- listed values

Literal Obligations::unfold_values(std::span<const ValueId> ids, Kind kind) {
  std::vector<ValueId> scalars;
  std::vector<Literal> others;
  for (const ValueId id : ids) {
    const Literal literal = value_of_kind(id, kind);
    if (literal == kFails) continue;
    if (kind == Kind::kNumber || kind == Kind::kString) {
      scalars.push_back(id);
    } else {
      others.push_back(literal);
    }
  }
  return scalars.empty() ? formulas_.any(others) : formulas_.values(scalars);
}

// Of numbers and strings only whether it is one: kHolds.
Literal Obligations::value_of_kind(ValueId id, Kind kind) {
  const auto holds_if = [](bool condition) { return condition ? kHolds : kFails; };
  const ValueTable& values = graph_.values;
  const JsonKind json = values.kind(id);
  switch (kind) {
    case Kind::kNull:
      return holds_if(json == JsonKind::kNull);
    case Kind::kFalse:
      return holds_if(json == JsonKind::kBoolean && !values.as_boolean(id));
    case Kind::kTrue:
      return holds_if(json == JsonKind::kBoolean && values.as_boolean(id));
    case Kind::kNumber:
      return holds_if(json == JsonKind::kNumber);
    case Kind::kString:
      return holds_if(json == JsonKind::kString);
    case Kind::kArray: {
      if (json != JsonKind::kArray) return kFails;
      const auto count = static_cast<std::uint32_t>(values.items(id).size());
      return formulas_.all(std::array{formulas_.atom(Op::kItemsOf, id, 0),
                                      formulas_.atom(Op::kNumItems, count),
                                      negate(formulas_.atom(Op::kNumItems, count + 1))});
    }
    case Kind::kObject: {
      if (json != JsonKind::kObject) return kFails;
      std::vector<Literal> parts{formulas_.atom(Op::kShapeOf, id)};
      for (const auto& [name, value] : values.members(id)) parts.push_back(has(name));
      return formulas_.all(parts);
    }
  }
  return kFails;
}

std::size_t Obligations::bytes() const {
  constexpr std::size_t kMapEntry = 48;
  return formulas_.bytes() + schemas_.capacity() * sizeof(Literal) +
         of_kind_.capacity() * sizeof(Literal) +
         kMapEntry * (texts_.size() + matches_.size() + names_.size());
}

}  // namespace tessera::guided

// obligations.hpp — what a schema asks of a value, as a formula over atoms of one type.
//
// A schema at a value's place is a literal. Once the type of the value is known (its first byte
// tells it) the literal is unfolded to that type: references and applicators are followed,
// assertions about other types fall away, and what is left speaks of a text, of members or of
// items. The atoms of objects and arrays are then stepped, member by member and item by item, which
// is Brzozowski's derivative (1964) for documents. Everything is memoised, nothing is unfolded
// before it is asked for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/guided/document_options.hpp"
#include "engine/guided/formula.hpp"
#include "engine/guided/schema.hpp"

namespace tessera::guided {

// The JSON types as a document's first byte tells them apart.
enum class Kind : std::uint8_t { kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };
inline constexpr int kNumKinds = 7;
inline constexpr std::array<Kind, kNumKinds> kAllKinds = {
    Kind::kNull,   Kind::kFalse, Kind::kTrue,  Kind::kNumber,
    Kind::kString, Kind::kArray, Kind::kObject};

inline std::string_view kind_letters(Kind kind) {
  return kind == Kind::kNull ? "null" : kind == Kind::kTrue ? "true" : "false";
}

// Thrown through to make_document_recognizer() and the matcher: what cannot be decided.
struct TooComplex {
  SchemaId at = kTrueSchema;
  const char* keyword = "";
  const char* reason = "";
};

using NameId = std::uint32_t;
inline constexpr NameId kNoName = ~NameId{0};

// Names that no schema declares and that are in the same pattern languages.
struct NameClass {
  RegexId language = RegexPool::kAnything;
  std::vector<RegexId> patterns;  // those of the key space's that its names are in, sorted
};

// A property's name as far as obligations can tell it from others: itself, or any of a class.
struct PropertyName {
  NameId name = kNoName;
  const NameClass* in = nullptr;  // where name is kNoName
};

// Not thread-safe; owned by one recognizer.
class Obligations {
 public:
  Obligations(SchemaGraph graph, RegexPool& regexes, Fuel& fuel, const DocumentOptions& options);

  // What the schema asks of a value of any type.
  Literal schema(SchemaId id);
  // The same once the type is known. Of null, true and false nothing is left: kHolds or kFails.
  Literal of_kind(Literal place, Kind kind);
  // The texts of a string (without quotes and escapes) or number for which `scalar` holds. Of
  // numbers it may leave out unusual spellings, so a text may be neither in this nor in the
  // language of the negation.
  RegexId text(Literal scalar, Kind kind);

  // An object's formula when the name of a member has been read; its value is kNext.
  Literal step_member(Literal object, const PropertyName& name);
  // An array's formula when an item begins; it is kNext.
  Literal step_item(Literal array);
  // The same when the item has been read: `item` joins what kUnique remembers.
  Literal note_item(Literal array, ValueId item);

  NameId name_id(std::string_view name);
  const std::string& name(NameId id) const { return *names_[id]; }
  bool matches(RegexId pattern, const PropertyName& name);
  // The pattern languages that tell names apart in an atom of an object's.
  void add_patterns(Literal atom, std::vector<RegexId>& patterns) const;
  // Names that `place` knows, as written: declared ones first seen first.
  struct KnownNames {
    std::vector<NameId> declared;
    std::vector<NameId> others;  // required, dependent on, but declared nowhere
  };
  KnownNames known_names(std::span<const Literal> places);

  FormulaPool& formulas() { return formulas_; }
  RegexPool& regexes() { return regexes_; }
  SchemaGraph& graph() { return graph_; }
  ValueTable& values() { return graph_.values; }
  const DocumentOptions& options() const { return options_; }
  std::size_t bytes() const;

 private:
  // What "exactly one" is counted up with: the texts for which none, one or more hold so far.
  struct Tally {
    RegexId none;
    RegexId one;
    RegexId more;
  };

  Literal canonical(SchemaId id);
  SchemaId follow(SchemaId id) const;
  std::optional<std::string> only_text(const Schema& schema) const;
  Literal value_literal(const Schema& schema);
  Literal unfold_place(Literal place, Kind kind);
  Literal unfold(Literal atom, Kind kind);
  Literal unfold_schema(SchemaId id, Kind kind);
  Literal unfold_values(std::span<const ValueId> ids, Kind kind);
  Literal value_of_kind(ValueId id, Kind kind);
  void add_assertions(SchemaId id, Kind kind, std::vector<Literal>& parts);
  void add_number(const Schema& schema, std::vector<Literal>& parts);
  void add_array(const Schema& schema, SchemaId id, std::vector<Literal>& parts);
  void add_object(const Schema& schema, SchemaId id, std::vector<Literal>& parts);
  void add_dependent(const Schema& schema, std::vector<Literal>& parts);
  void add_applicators(const Schema& schema, Kind kind, std::vector<Literal>& parts);
  Literal items_atom(SchemaId id, std::uint32_t index);
  Literal has(std::string_view name);
  std::uint64_t shape_names(SchemaId id);
  Literal member(SchemaId id, const PropertyName& name);
  Literal member_of(ValueId object, const PropertyName& name);
  Literal step_item_atom(Literal atom);

  RegexId text_of(Literal scalar, Kind kind);
  RegexId text_of_all(std::span<const Literal> literals, Kind kind);
  RegexId text_of_any(std::span<const Literal> literals, Kind kind);
  RegexId text_of_one(Literal scalar, Kind kind);
  std::optional<std::vector<Literal>> cases_of(Literal formula);
  std::optional<std::vector<Literal>> cases_of_all(std::span<const Literal> formulas);
  std::optional<RegexId> number_by_cases(Literal scalar);
  RegexId numbers_apart(std::span<const Literal> literals, IntegerForm form);
  RegexId string_text(Literal atom);
  bool add_to_spec(Literal literal, NumberSpec& spec);
  RegexId listed_numbers(Literal values);
  std::uint32_t bound(const NumberBound& bound);
  std::uint32_t divisor(const Decimal& divisor);

  // unevaluated.cpp
  void add_unevaluated_properties(SchemaId id, std::vector<Literal>& parts);
  void add_unevaluated_items(SchemaId id, std::vector<Literal>& parts);
  template <class Visit>
  void walk_in_place(SchemaId id, Kind kind, Visit&& visit);

  SchemaGraph graph_;
  RegexPool& regexes_;
  DocumentOptions options_;
  FormulaPool formulas_;
  std::vector<Literal> schemas_;  // by SchemaId; kUnknown until asked for
  std::vector<Literal> of_kind_;  // by formula, unnegated, and kind
  std::unordered_map<std::uint64_t, RegexId> texts_;
  std::unordered_map<std::string, NameId> name_ids_;
  std::vector<const std::string*> names_;
  std::unordered_map<SchemaId, std::unordered_map<NameId, SchemaId>> declared_;
  std::unordered_map<std::uint64_t, bool> matches_;
  std::unordered_map<std::string, std::uint32_t> bound_ids_;
  std::vector<NumberBound> bounds_;
  std::unordered_map<std::string, std::uint32_t> divisor_ids_;
  std::vector<Decimal> divisors_;
  int depth_ = 0;
};

}  // namespace tessera::guided

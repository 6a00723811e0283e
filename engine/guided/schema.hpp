// schema.hpp — a JSON Schema of any draft, as one kind of node.
//
// The front end has done all that differs between drafts: references are edges (cycles are
// allowed), array-form items are `prefix`, `dependencies` is split, draft 4's boolean
// exclusiveMinimum is a bound, siblings of a $ref count or not as the draft says, a static
// $dynamicRef is an edge, unknown formats are gone. What a node does not say, it allows. A node
// never leads back to itself by edges that stay at the same value (all_of, any_of, one_of, none_of,
// if, then, else, dependent_schemas).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/guided/number_language.hpp"
#include "engine/guided/regex_pool.hpp"
#include "engine/guided/value_table.hpp"

namespace tessera::guided {

using SchemaId = std::uint32_t;
inline constexpr SchemaId kTrueSchema = 0;   // allows everything
inline constexpr SchemaId kFalseSchema = 1;  // allows nothing

// Types as bits. A number that is integral is both; kNumber alone stands for all numbers.
enum TypeBit : std::uint8_t {
  kTypeNull = 1,
  kTypeBoolean = 2,
  kTypeInteger = 4,
  kTypeNumber = 8,  // includes the integral ones
  kTypeString = 16,
  kTypeArray = 32,
  kTypeObject = 64,
  kTypeAny = 127,
};

struct Schema {
  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

  // Where it stood: SchemaGraph::pointer() and offset() say it in words. (Not a string: 100,000
  // nodes under one long name would be gigabytes.)
  std::uint32_t document = 0;  // index into SchemaGraph::documents
  std::uint32_t offset = 0;    // byte in that text

  std::uint8_t types = kTypeAny;
  std::optional<std::vector<ValueId>> values;  // enum or const

  std::vector<NumberBound> minimum;  // all hold
  std::vector<NumberBound> maximum;
  std::vector<Decimal> multiple_of;

  std::vector<RegexId> text;  // pattern, lengths, format: the string is in all of these

  std::vector<SchemaId> prefix;
  SchemaId items = kTrueSchema;  // after the prefix
  std::optional<SchemaId> contains;
  std::uint64_t min_contains = 1;
  std::uint64_t max_contains = kUnlimited;
  std::uint64_t min_items = 0;
  std::uint64_t max_items = kUnlimited;
  bool unique_items = false;
  std::optional<SchemaId> unevaluated_items;

  std::vector<std::pair<std::string, SchemaId>> properties;  // in the order written
  std::vector<std::pair<RegexId, SchemaId>> pattern_properties;
  SchemaId additional = kTrueSchema;  // for names that neither of the two above matches
  bool has_additional = false;  // additionalProperties was written: it evaluates what it covers
  bool has_items = false;       // likewise `items` (or additionalItems)
  std::optional<SchemaId> property_names;
  std::vector<std::string> required;
  std::vector<std::pair<std::string, std::vector<std::string>>> dependent_required;
  std::vector<std::pair<std::string, SchemaId>> dependent_schemas;
  std::uint64_t min_properties = 0;
  std::uint64_t max_properties = kUnlimited;
  std::optional<SchemaId> unevaluated_properties;
  // Whether `contains` evaluates the items it matches (2020-12), for unevaluatedItems.
  bool contains_evaluates = false;

  std::vector<SchemaId> all_of;  // and what $ref points at
  std::vector<std::vector<SchemaId>> any_of;
  std::vector<std::vector<SchemaId>> one_of;
  std::vector<SchemaId> none_of;  // `not`
  std::optional<SchemaId> if_;
  std::optional<SchemaId> then_;
  std::optional<SchemaId> else_;
};

struct SchemaGraph {
  // A text that schemas came from: [0] is the tenant's own, the others are what it refers to.
  struct Document {
    std::string uri;
    std::shared_ptr<const std::string> text;
  };

  std::vector<Schema> nodes;  // [kTrueSchema], [kFalseSchema], then the others
  SchemaId root = kTrueSchema;
  ValueTable values;
  std::vector<Document> documents;

  // The JSON pointer of a node in the tenant's schema (URI#pointer in another document), for
  // findings; reads the text again, so it is slow. Nodes that only name types are shared: theirs is
  // the first place that asked for them.
  std::string pointer(SchemaId id) const;
  std::size_t bytes() const;  // about what nodes and texts take, without `values`
  const Schema& operator[](SchemaId id) const { return nodes[id]; }
};

}  // namespace tessera::guided

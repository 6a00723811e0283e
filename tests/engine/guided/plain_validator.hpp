// plain_validator.hpp — JSON Schema 2020-12 as its specification reads: a whole value, yes or no.
//
// For the brute-force recogniser, so written to be read beside the specification, and without a
// line shared with engine/guided. Values are small: numbers have at most three decimals, containers
// at most 64 members. No $dynamicRef, no remote references, no formats.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

#include <nlohmann/json.hpp>

namespace tessera::guided {

using Value = nlohmann::ordered_json;

// By value: 1 is 1.0, and members have no order.
bool same(const Value& a, const Value& b);
// Equal values have equal keys.
std::string key_of(const Value& value);

class PlainValidator {
 public:
  explicit PlainValidator(Value root);
  PlainValidator(const PlainValidator&) = delete;
  PlainValidator& operator=(const PlainValidator&) = delete;
  ~PlainValidator();

  const Value& root() const { return root_; }
  // `schema` is the root, a part of it, or one of the caller's own, which stays as and where it is.
  bool valid(const Value& schema, const Value& value) const;
  // `pattern` is found somewhere in `text`.
  bool matches(const std::string& pattern, const std::string& text) const;

 private:
  // Members and items by their place in the value, as bits.
  using Evaluated = std::uint64_t;
  // What a schema says under each keyword that is known; nullptr: nothing. Found once.
  enum Keyword : std::uint8_t {
    kType,
    kConst,
    kEnum,
    kRef,
    kNot,
    kIf,
    kThen,
    kElse,
    kAllOf,
    kAnyOf,
    kOneOf,
    kMinimum,
    kMaximum,
    kExclusiveMinimum,
    kExclusiveMaximum,
    kMultipleOf,
    kMinLength,
    kMaxLength,
    kPattern,
    kMinItems,
    kMaxItems,
    kUniqueItems,
    kPrefixItems,
    kItems,
    kContains,
    kMinContains,
    kMaxContains,
    kUnevaluatedItems,
    kMinProperties,
    kMaxProperties,
    kRequired,
    kDependentRequired,
    kDependentSchemas,
    kPropertyNames,
    kProperties,
    kPatternProperties,
    kAdditionalProperties,
    kUnevaluatedProperties,
    kNumKeywords
  };
  using Keywords = std::array<const Value*, kNumKeywords>;
  struct Pattern {
    void* code = nullptr;   // pcre2_code
    void* match = nullptr;  // pcre2_match_data
  };

  const Keywords& keywords(const Value& schema) const;
  bool check(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_whole(const Keywords& says, const Value& value) const;
  bool check_in_place(const Keywords& says, const Value& value, Evaluated& evaluated) const;
  bool check_choices(const Keywords& says, const Value& value, Evaluated& evaluated) const;
  bool check_number(const Keywords& says, const Value& value) const;
  bool check_string(const Keywords& says, const Value& value) const;
  bool check_array(const Keywords& says, const Value& value, Evaluated& evaluated) const;
  bool check_contains(const Keywords& says, const Value& value, Evaluated& evaluated) const;
  bool check_object(const Keywords& says, const Value& value, Evaluated& evaluated) const;
  bool check_members(const Keywords& says, const Value& value, Evaluated& evaluated) const;
  bool check_unevaluated(const Keywords& says, const Value& value, Evaluated& evaluated) const;

  Value root_;
  mutable std::unordered_map<const Value*, Keywords> keywords_;  // by schema
  mutable std::unordered_map<std::string, Pattern> patterns_;
};

}  // namespace tessera::guided

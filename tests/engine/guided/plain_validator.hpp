// plain_validator.hpp — JSON Schema 2020-12 as its specification reads: a whole value, yes or no.
//
// For the brute-force recogniser, so written to be read beside the specification and not to be
// fast, and without a line shared with engine/guided. Values are small: numbers have at most three
// decimals. No $dynamicRef, no remote references, no formats.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

namespace tessera::guided {

using Value = nlohmann::ordered_json;

// By value: 1 is 1.0, and members have no order.
bool same(const Value& a, const Value& b);
// Equal values have equal keys.
std::string key_of(const Value& value);

class PlainValidator {
 public:
  explicit PlainValidator(Value root) : root_(std::move(root)) {}
  PlainValidator(const PlainValidator&) = delete;
  PlainValidator& operator=(const PlainValidator&) = delete;
  ~PlainValidator();

  const Value& root() const { return root_; }
  // `schema` is the root, a part of it, or one of the caller's own.
  bool valid(const Value& schema, const Value& value) const;
  // `pattern` is found somewhere in `text`.
  bool matches(const std::string& pattern, const std::string& text) const;

 private:
  struct Evaluated {
    std::set<std::string> names;
    std::set<std::size_t> items;
    void add(const Evaluated& other);
  };

  bool check(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_in_place(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_choices(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_number(const Value& schema, const Value& value) const;
  bool check_string(const Value& schema, const Value& value) const;
  bool check_array(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_contains(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_object(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_members(const Value& schema, const Value& value, Evaluated& evaluated) const;
  bool check_unevaluated(const Value& schema, const Value& value, Evaluated& evaluated) const;

  Value root_;
  mutable std::map<std::string, void*> patterns_;  // pcre2_code
};

}  // namespace tessera::guided

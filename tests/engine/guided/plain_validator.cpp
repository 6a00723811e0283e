#include "tests/engine/guided/plain_validator.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace tessera::guided {
namespace {

std::int64_t thousandths(const Value& number) {
  return std::llround(number.get<double>() * 1000);
}

bool has_type(const Value& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  return value.is_number() && thousandths(value) % 1000 == 0;  // integer
}

std::int64_t code_points(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

// The limit that `schema` sets under `keyword`, or `otherwise`.
std::int64_t limit(const Value& schema, const char* keyword, std::int64_t otherwise) {
  const auto found = schema.find(keyword);
  return found == schema.end() ? otherwise : found->get<std::int64_t>();
}

constexpr std::int64_t kNone = INT64_MAX;

bool within(const Value& schema, const char* least, const char* most, std::int64_t count) {
  return count >= limit(schema, least, 0) && count <= limit(schema, most, kNone);
}

std::vector<std::string> names_of(const Value& value) {
  std::vector<std::string> names;
  for (const auto& [name, member] : value.items()) names.push_back(name);
  return names;
}

}  // namespace

std::string key_of(const Value& value) {
  if (value.is_number()) return std::to_string(thousandths(value));
  if (value.is_array()) {
    std::string key = "[";
    for (const Value& item : value) key += key_of(item) + ",";
    return key + "]";
  }
  if (!value.is_object()) return value.dump();
  std::map<std::string, std::string> members;
  for (const auto& [name, member] : value.items()) members[name] = key_of(member);
  std::string key = "{";
  for (const auto& [name, member] : members) key += Value(name).dump() + ":" + member + ",";
  return key + "}";
}

bool same(const Value& a, const Value& b) {
  return key_of(a) == key_of(b);
}

PlainValidator::~PlainValidator() {
  for (const auto& [pattern, code] : patterns_) {
    pcre2_code_free(static_cast<pcre2_code*>(code));
  }
}

bool PlainValidator::matches(const std::string& pattern, const std::string& text) const {
  void*& code = patterns_[pattern];
  if (code == nullptr) {
    int error = 0;
    PCRE2_SIZE where = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.c_str()), pattern.size(),
                         PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &error, &where, nullptr);
    if (code == nullptr) {
      std::fprintf(stderr, "PCRE2 does not take %s\n", pattern.c_str());
      std::abort();
    }
  }
  auto* compiled = static_cast<pcre2_code*>(code);
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(compiled, nullptr);
  const int found = pcre2_match(compiled, reinterpret_cast<PCRE2_SPTR>(text.c_str()), text.size(),
                                0, 0, match, nullptr);
  pcre2_match_data_free(match);
  return found >= 0;
}

void PlainValidator::Evaluated::add(const Evaluated& other) {
  names.insert(other.names.begin(), other.names.end());
  items.insert(other.items.begin(), other.items.end());
}

bool PlainValidator::valid(const Value& schema, const Value& value) const {
  Evaluated evaluated;
  return check(schema, value, evaluated);
}

// `evaluated` is added to only if the value is valid.
bool PlainValidator::check(const Value& schema, const Value& value, Evaluated& evaluated) const {
  if (schema.is_boolean()) return schema.get<bool>();
  Evaluated own;
  for (const auto& [keyword, argument] : schema.items()) {
    if (keyword == "type") {
      const bool any = argument.is_string()
                           ? has_type(value, argument)
                           : std::any_of(argument.begin(), argument.end(), [&](const Value& type) {
                               return has_type(value, type.get<std::string>());
                             });
      if (!any) return false;
    } else if (keyword == "const") {
      if (!same(argument, value)) return false;
    } else if (keyword == "enum") {
      if (std::none_of(argument.begin(), argument.end(),
                       [&](const Value& one) { return same(one, value); })) {
        return false;
      }
    }
  }
  if (value.is_number() && !check_number(schema, value)) return false;
  if (value.is_string() && !check_string(schema, value)) return false;
  if (value.is_array() && !check_array(schema, value, own)) return false;
  if (value.is_object() && !check_object(schema, value, own)) return false;
  if (!check_in_place(schema, value, own)) return false;
  if (!check_unevaluated(schema, value, own)) return false;
  evaluated.add(own);
  return true;
}

bool PlainValidator::check_in_place(const Value& schema, const Value& value,
                                    Evaluated& evaluated) const {
  if (schema.contains("$ref")) {
    const std::string pointer = schema["$ref"].get<std::string>().substr(1);
    if (!check(root_.at(Value::json_pointer(pointer)), value, evaluated)) return false;
  }
  if (schema.contains("not") && valid(schema["not"], value)) return false;
  if (schema.contains("if")) {
    const bool holds = check(schema["if"], value, evaluated);
    const char* branch = holds ? "then" : "else";
    if (schema.contains(branch) && !check(schema[branch], value, evaluated)) return false;
  }
  if (value.is_object() && schema.contains("dependentSchemas")) {
    for (const auto& [name, dependent] : schema["dependentSchemas"].items()) {
      if (value.contains(name) && !check(dependent, value, evaluated)) return false;
    }
  }
  return check_choices(schema, value, evaluated);
}

bool PlainValidator::check_choices(const Value& schema, const Value& value,
                                   Evaluated& evaluated) const {
  const auto count = [&](const char* keyword) {
    std::size_t holding = 0;
    for (const Value& one : schema[keyword]) {
      if (check(one, value, evaluated)) ++holding;
    }
    return holding;
  };
  if (schema.contains("allOf") && count("allOf") != schema["allOf"].size()) return false;
  if (schema.contains("anyOf") && count("anyOf") == 0) return false;
  return !schema.contains("oneOf") || count("oneOf") == 1;
}

bool PlainValidator::check_number(const Value& schema, const Value& value) const {
  const std::int64_t number = thousandths(value);
  const auto bound = [&](const char* keyword) { return thousandths(schema[keyword]); };
  if (schema.contains("minimum") && number < bound("minimum")) return false;
  if (schema.contains("maximum") && number > bound("maximum")) return false;
  if (schema.contains("exclusiveMinimum") && number <= bound("exclusiveMinimum")) return false;
  if (schema.contains("exclusiveMaximum") && number >= bound("exclusiveMaximum")) return false;
  return !schema.contains("multipleOf") || number % bound("multipleOf") == 0;
}

bool PlainValidator::check_string(const Value& schema, const Value& value) const {
  const std::string text = value.get<std::string>();
  if (!within(schema, "minLength", "maxLength", code_points(text))) return false;
  return !schema.contains("pattern") || matches(schema["pattern"], text);
}

bool PlainValidator::check_array(const Value& schema, const Value& value,
                                 Evaluated& evaluated) const {
  if (!within(schema, "minItems", "maxItems", static_cast<std::int64_t>(value.size())))
    return false;
  if (schema.value("uniqueItems", false)) {
    std::set<std::string> keys;
    for (const Value& item : value) keys.insert(key_of(item));
    if (keys.size() != value.size()) return false;
  }
  std::size_t begin = 0;
  if (schema.contains("prefixItems")) {
    const Value& prefix = schema["prefixItems"];
    for (; begin < std::min(prefix.size(), value.size()); ++begin) {
      if (!valid(prefix[begin], value[begin])) return false;
      evaluated.items.insert(begin);
    }
  }
  if (schema.contains("items")) {
    for (std::size_t i = begin; i < value.size(); ++i) {
      if (!valid(schema["items"], value[i])) return false;
      evaluated.items.insert(i);
    }
  }
  return !schema.contains("contains") || check_contains(schema, value, evaluated);
}

bool PlainValidator::check_contains(const Value& schema, const Value& value,
                                    Evaluated& evaluated) const {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!valid(schema["contains"], value[i])) continue;
    ++count;
    evaluated.items.insert(i);
  }
  return count >= limit(schema, "minContains", 1) && count <= limit(schema, "maxContains", kNone);
}

bool PlainValidator::check_object(const Value& schema, const Value& value,
                                  Evaluated& evaluated) const {
  if (!within(schema, "minProperties", "maxProperties", static_cast<std::int64_t>(value.size()))) {
    return false;
  }
  const auto has_all = [&](const Value& names) {
    return std::all_of(names.begin(), names.end(),
                       [&](const Value& name) { return value.contains(name.get<std::string>()); });
  };
  if (schema.contains("required") && !has_all(schema["required"])) return false;
  if (schema.contains("dependentRequired")) {
    for (const auto& [name, needed] : schema["dependentRequired"].items()) {
      if (value.contains(name) && !has_all(needed)) return false;
    }
  }
  if (schema.contains("propertyNames")) {
    for (const std::string& name : names_of(value)) {
      if (!valid(schema["propertyNames"], name)) return false;
    }
  }
  return check_members(schema, value, evaluated);
}

bool PlainValidator::check_members(const Value& schema, const Value& value,
                                   Evaluated& evaluated) const {
  for (const auto& [name, member] : value.items()) {
    bool covered = false;
    const auto holds = [&, &member = member](const Value& part) {
      covered = true;
      return valid(part, member);
    };
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      if (!holds(schema["properties"][name])) return false;
    }
    if (schema.contains("patternProperties")) {
      for (const auto& [pattern, part] : schema["patternProperties"].items()) {
        if (matches(pattern, name) && !holds(part)) return false;
      }
    }
    if (!covered && schema.contains("additionalProperties")) {
      if (!holds(schema["additionalProperties"])) return false;
    }
    if (covered) evaluated.names.insert(name);
  }
  return true;
}

bool PlainValidator::check_unevaluated(const Value& schema, const Value& value,
                                       Evaluated& evaluated) const {
  if (value.is_object() && schema.contains("unevaluatedProperties")) {
    for (const auto& [name, member] : value.items()) {
      if (evaluated.names.contains(name)) continue;
      if (!valid(schema["unevaluatedProperties"], member)) return false;
      evaluated.names.insert(name);
    }
  }
  if (value.is_array() && schema.contains("unevaluatedItems")) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (evaluated.items.contains(i)) continue;
      if (!valid(schema["unevaluatedItems"], value[i])) return false;
      evaluated.items.insert(i);
    }
  }
  return true;
}

}  // namespace tessera::guided

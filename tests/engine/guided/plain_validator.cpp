#include "tests/engine/guided/plain_validator.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
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

// The limit that is set, or `otherwise`.
std::int64_t limit(const Value* set, std::int64_t otherwise) {
  return set == nullptr ? otherwise : set->get<std::int64_t>();
}

constexpr std::int64_t kNone = INT64_MAX;

bool within(const Value* least, const Value* most, std::int64_t count) {
  return count >= limit(least, 0) && count <= limit(most, kNone);
}

bool same_members(const Value& a, const Value& b) {
  if (a.size() != b.size()) return false;
  for (auto member = a.begin(); member != a.end(); ++member) {
    const auto other = b.find(member.key());
    if (other == b.end() || !same(*member, *other)) return false;
  }
  return true;
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
  if (a.is_number() && b.is_number()) return thousandths(a) == thousandths(b);
  if (a.type() != b.type()) return false;
  if (a.is_array()) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), same);
  }
  return a.is_object() ? same_members(a, b) : a == b;
}

PlainValidator::PlainValidator(Value root) : root_(std::move(root)) {}

PlainValidator::~PlainValidator() {
  for (const auto& [pattern, compiled] : patterns_) {
    pcre2_match_data_free(static_cast<pcre2_match_data*>(compiled.match));
    pcre2_code_free(static_cast<pcre2_code*>(compiled.code));
  }
}

bool PlainValidator::matches(const std::string& pattern, const std::string& text) const {
  Pattern& known = patterns_[pattern];
  if (known.code == nullptr) {
    int error = 0;
    PCRE2_SIZE where = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.c_str()), pattern.size(),
                                     PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &error, &where, nullptr);
    if (code == nullptr) {
      std::fprintf(stderr, "PCRE2 does not take %s\n", pattern.c_str());
      std::abort();
    }
    known = {code, pcre2_match_data_create_from_pattern(code, nullptr)};
  }
  return pcre2_match(static_cast<pcre2_code*>(known.code),
                     reinterpret_cast<PCRE2_SPTR>(text.c_str()), text.size(), 0, 0,
                     static_cast<pcre2_match_data*>(known.match), nullptr) >= 0;
}

const PlainValidator::Keywords& PlainValidator::keywords(const Value& schema) const {
  static constexpr std::array<const char*, kNumKeywords> kNames = {"type",
                                                                   "const",
                                                                   "enum",
                                                                   "$ref",
                                                                   "not",
                                                                   "if",
                                                                   "then",
                                                                   "else",
                                                                   "allOf",
                                                                   "anyOf",
                                                                   "oneOf",
                                                                   "minimum",
                                                                   "maximum",
                                                                   "exclusiveMinimum",
                                                                   "exclusiveMaximum",
                                                                   "multipleOf",
                                                                   "minLength",
                                                                   "maxLength",
                                                                   "pattern",
                                                                   "minItems",
                                                                   "maxItems",
                                                                   "uniqueItems",
                                                                   "prefixItems",
                                                                   "items",
                                                                   "contains",
                                                                   "minContains",
                                                                   "maxContains",
                                                                   "unevaluatedItems",
                                                                   "minProperties",
                                                                   "maxProperties",
                                                                   "required",
                                                                   "dependentRequired",
                                                                   "dependentSchemas",
                                                                   "propertyNames",
                                                                   "properties",
                                                                   "patternProperties",
                                                                   "additionalProperties",
                                                                   "unevaluatedProperties"};
  const auto [found, is_new] = keywords_.try_emplace(&schema);
  if (!is_new) return found->second;
  for (std::size_t i = 0; i < kNumKeywords; ++i) {
    const auto argument = schema.find(kNames[i]);
    found->second[i] = argument == schema.end() ? nullptr : &*argument;
  }
  if (const Value* ref = found->second[kRef]) {
    found->second[kRef] = &root_.at(Value::json_pointer(ref->get<std::string>().substr(1)));
  }
  return found->second;
}

bool PlainValidator::valid(const Value& schema, const Value& value) const {
  Evaluated evaluated = 0;
  return check(schema, value, evaluated);
}

// `evaluated` is added to only if the value is valid.
bool PlainValidator::check(const Value& schema, const Value& value, Evaluated& evaluated) const {
  if (schema.is_boolean()) return schema.get<bool>();
  const Keywords& says = keywords(schema);
  Evaluated own = 0;
  if (!check_whole(says, value)) return false;
  if (value.is_number() && !check_number(says, value)) return false;
  if (value.is_string() && !check_string(says, value)) return false;
  if (value.is_array() && !check_array(says, value, own)) return false;
  if (value.is_object() && !check_object(says, value, own)) return false;
  if (!check_in_place(says, value, own)) return false;
  if (!check_unevaluated(says, value, own)) return false;
  evaluated |= own;
  return true;
}

bool PlainValidator::check_whole(const Keywords& says, const Value& value) const {
  if (const Value* type = says[kType]) {
    const auto is = [&](const Value& one) {
      return has_type(value, one.get_ref<const std::string&>());
    };
    if (!(type->is_string() ? is(*type) : std::any_of(type->begin(), type->end(), is)))
      return false;
  }
  if (says[kConst] != nullptr && !same(*says[kConst], value)) return false;
  const auto equals = [&](const Value& one) { return same(one, value); };
  return says[kEnum] == nullptr || std::any_of(says[kEnum]->begin(), says[kEnum]->end(), equals);
}

bool PlainValidator::check_in_place(const Keywords& says, const Value& value,
                                    Evaluated& evaluated) const {
  if (says[kRef] != nullptr && !check(*says[kRef], value, evaluated)) return false;
  if (says[kNot] != nullptr && valid(*says[kNot], value)) return false;
  if (says[kIf] != nullptr) {
    const Value* branch = says[check(*says[kIf], value, evaluated) ? kThen : kElse];
    if (branch != nullptr && !check(*branch, value, evaluated)) return false;
  }
  if (value.is_object() && says[kDependentSchemas] != nullptr) {
    for (const auto& [name, dependent] : says[kDependentSchemas]->items()) {
      if (value.contains(name) && !check(dependent, value, evaluated)) return false;
    }
  }
  return check_choices(says, value, evaluated);
}

bool PlainValidator::check_choices(const Keywords& says, const Value& value,
                                   Evaluated& evaluated) const {
  const auto count = [&](const Value& branches) {
    std::size_t holding = 0;
    for (const Value& one : branches) {
      if (check(one, value, evaluated)) ++holding;
    }
    return holding;
  };
  if (says[kAllOf] != nullptr && count(*says[kAllOf]) != says[kAllOf]->size()) return false;
  if (says[kAnyOf] != nullptr && count(*says[kAnyOf]) == 0) return false;
  return says[kOneOf] == nullptr || count(*says[kOneOf]) == 1;
}

bool PlainValidator::check_number(const Keywords& says, const Value& value) const {
  const std::int64_t number = thousandths(value);
  const auto bound = [&](Keyword keyword) { return thousandths(*says[keyword]); };
  if (says[kMinimum] != nullptr && number < bound(kMinimum)) return false;
  if (says[kMaximum] != nullptr && number > bound(kMaximum)) return false;
  if (says[kExclusiveMinimum] != nullptr && number <= bound(kExclusiveMinimum)) return false;
  if (says[kExclusiveMaximum] != nullptr && number >= bound(kExclusiveMaximum)) return false;
  return says[kMultipleOf] == nullptr || number % bound(kMultipleOf) == 0;
}

bool PlainValidator::check_string(const Keywords& says, const Value& value) const {
  const auto& text = value.get_ref<const std::string&>();
  if (!within(says[kMinLength], says[kMaxLength], code_points(text))) return false;
  return says[kPattern] == nullptr || matches(says[kPattern]->get_ref<const std::string&>(), text);
}

bool PlainValidator::check_array(const Keywords& says, const Value& value,
                                 Evaluated& evaluated) const {
  if (!within(says[kMinItems], says[kMaxItems], static_cast<std::int64_t>(value.size())))
    return false;
  if (says[kUniqueItems] != nullptr && says[kUniqueItems]->get<bool>()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (same(value[i], value[j])) return false;
      }
    }
  }
  std::size_t begin = 0;
  if (const Value* prefix = says[kPrefixItems]) {
    for (; begin < std::min(prefix->size(), value.size()); ++begin) {
      if (!valid((*prefix)[begin], value[begin])) return false;
      evaluated |= Evaluated{1} << begin;
    }
  }
  if (says[kItems] != nullptr) {
    for (std::size_t i = begin; i < value.size(); ++i) {
      if (!valid(*says[kItems], value[i])) return false;
      evaluated |= Evaluated{1} << i;
    }
  }
  return says[kContains] == nullptr || check_contains(says, value, evaluated);
}

bool PlainValidator::check_contains(const Keywords& says, const Value& value,
                                    Evaluated& evaluated) const {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!valid(*says[kContains], value[i])) continue;
    ++count;
    evaluated |= Evaluated{1} << i;
  }
  return count >= limit(says[kMinContains], 1) && count <= limit(says[kMaxContains], kNone);
}

bool PlainValidator::check_object(const Keywords& says, const Value& value,
                                  Evaluated& evaluated) const {
  if (!within(says[kMinProperties], says[kMaxProperties],
              static_cast<std::int64_t>(value.size()))) {
    return false;
  }
  const auto has_all = [&](const Value& names) {
    return std::all_of(names.begin(), names.end(), [&](const Value& name) {
      return value.contains(name.get_ref<const std::string&>());
    });
  };
  if (says[kRequired] != nullptr && !has_all(*says[kRequired])) return false;
  if (says[kDependentRequired] != nullptr) {
    for (const auto& [name, needed] : says[kDependentRequired]->items()) {
      if (value.contains(name) && !has_all(needed)) return false;
    }
  }
  if (says[kPropertyNames] != nullptr) {
    for (const auto& [name, member] : value.items()) {
      if (!valid(*says[kPropertyNames], name)) return false;
    }
  }
  return check_members(says, value, evaluated);
}

bool PlainValidator::check_members(const Keywords& says, const Value& value,
                                   Evaluated& evaluated) const {
  Evaluated place = 1;
  for (auto member = value.begin(); member != value.end(); ++member, place <<= 1U) {
    bool covered = false;
    const auto holds = [&](const Value& part) {
      covered = true;
      return valid(part, *member);
    };
    if (const Value* properties = says[kProperties]) {
      const auto part = properties->find(member.key());
      if (part != properties->end() && !holds(*part)) return false;
    }
    if (says[kPatternProperties] != nullptr) {
      for (const auto& [pattern, part] : says[kPatternProperties]->items()) {
        if (matches(pattern, member.key()) && !holds(part)) return false;
      }
    }
    if (!covered && says[kAdditionalProperties] != nullptr) {
      if (!holds(*says[kAdditionalProperties])) return false;
    }
    if (covered) evaluated |= place;
  }
  return true;
}

bool PlainValidator::check_unevaluated(const Keywords& says, const Value& value,
                                       Evaluated& evaluated) const {
  const Value* rest = value.is_object()  ? says[kUnevaluatedProperties]
                      : value.is_array() ? says[kUnevaluatedItems]
                                         : nullptr;
  if (rest == nullptr) return true;
  Evaluated place = 1;
  for (auto part = value.begin(); part != value.end(); ++part, place <<= 1U) {
    if ((evaluated & place) != 0) continue;
    if (!valid(*rest, *part)) return false;
    evaluated |= place;
  }
  return true;
}

}  // namespace tessera::guided

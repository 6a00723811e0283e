#include "tests/engine/guided/brute_force_schemas.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace tessera::guided {
namespace {

const std::vector<std::string> kNames = {"a", "b", "ab", "c"};
const std::vector<std::string> kPatterns = {
    "^a",  "b$",    "^[ab]*$", "^[a-c]{1,2}$", "^\\d{1,2}$", "^[^a]",
    "^x-", "a",     "^a?b?$",  "^\\w$",        "^(?:a|bb)",  "é",
    "^.b", "[A-Z]", "^$",      "ab|ba",        "^a+$",       "^[^b]*$"};
const std::vector<std::string> kNamePatterns = {"^a", "b$", "^[ab]", "^x", "^.$"};
const std::vector<double> kDivisors = {2, 3, 5, 7, 0.5, 0.25};
const std::vector<std::string> kTexts = {"", "a", "b", "ab", "xyz", "é", "a/b", "\"", "7"};

Value number_value(double value) {
  if (value == static_cast<double>(static_cast<int>(value))) return static_cast<int>(value);
  return value;
}

Value with(const char* keyword, Value argument) {
  Value schema = Value::object();
  schema[keyword] = std::move(argument);
  return schema;
}

}  // namespace

Value SchemaMaker::make() {
  refers_ = chance(25);
  Value schema = any(2);
  if (!schema.is_object()) schema = array(2);
  if (refers_) {
    refers_ = false;  // a definition refers to nothing
    schema["$defs"] = Value::object();
    schema["$defs"]["d"] = any(1);
  }
  return schema;
}

Value SchemaMaker::any(int depth) {
  const int kind = between(0, 19);
  if (refers_ && depth < 2 && kind < 4) return with("$ref", chance(70) ? "#/$defs/d" : "#");
  if (depth == 0) return kind == 0 ? Value(true) : scalar();
  if (kind < 1) return chance(70);
  if (kind < 3) return values(depth);
  if (kind < 5) return scalar();
  if (kind < 9) return array(depth);
  if (kind < 15) return object(depth);
  return combination(depth);
}

Value SchemaMaker::scalar() {
  switch (between(0, 6)) {
    case 0:
      return values(0);
    case 1:
      return with("type", chance(50) ? "boolean" : "null");
    case 2:
    case 3:
      return number();
    case 4:
      return with("type", Value{"string", "integer", "null"});
    default:
      return string();
  }
}

Value SchemaMaker::string() {
  Value schema = Value::object();
  if (chance(80)) schema["type"] = "string";
  if (chance(40)) schema["pattern"] = one_of(kPatterns);
  if (chance(30)) schema["minLength"] = between(0, 2);
  if (chance(40)) schema["maxLength"] = between(1, 2);
  return schema;
}

Value SchemaMaker::number() {
  Value schema = Value::object();
  if (chance(85)) schema["type"] = chance(55) ? "integer" : "number";
  const auto bound = [&] {
    return number_value(chance(40) ? between(-40, 40) / 4.0 : between(-20, 20));
  };
  if (chance(40)) schema[chance(60) ? "minimum" : "exclusiveMinimum"] = bound();
  if (chance(40)) schema[chance(60) ? "maximum" : "exclusiveMaximum"] = bound();
  if (chance(30)) schema["multipleOf"] = number_value(one_of(kDivisors));
  return schema;
}

Value SchemaMaker::constant(int depth) {
  switch (between(0, depth > 0 ? 6 : 4)) {
    case 0:
      return nullptr;
    case 1:
      return chance(50);
    case 2:
      return number_value(between(-40, 40) / 4.0);
    case 3:
    case 4:
      return one_of(kTexts);
    case 5: {
      Value array = Value::array();
      for (int i = between(0, 2); i > 0; --i) array.push_back(constant(depth - 1));
      return array;
    }
    default: {
      Value object = Value::object();
      for (int i = between(0, 2); i > 0; --i) object[one_of(kNames)] = constant(depth - 1);
      return object;
    }
  }
}

Value SchemaMaker::values(int depth) {
  if (chance(40)) return with("const", constant(depth));
  Value list = Value::array();
  for (int i = between(1, 3); i > 0; --i) list.push_back(constant(depth));
  return with("enum", list);
}

void SchemaMaker::add_counts(Value& schema, const char* least, const char* most) {
  if (chance(25)) schema[least] = between(0, 2);
  if (chance(25)) schema[most] = between(1, 3);
}

Value SchemaMaker::array(int depth) {
  Value schema = Value::object();
  if (chance(85)) schema["type"] = "array";
  if (chance(60)) schema["items"] = any(depth - 1);
  if (chance(30)) {
    schema["prefixItems"] = Value::array();
    for (int i = between(1, 2); i > 0; --i) schema["prefixItems"].push_back(any(depth - 1));
  }
  if (chance(30)) {
    schema["contains"] = any(depth - 1);
    if (chance(40)) schema["minContains"] = between(0, 2);
    if (chance(40)) schema["maxContains"] = between(1, 2);
  }
  if (chance(20)) schema["uniqueItems"] = true;
  if (chance(12)) schema["unevaluatedItems"] = any(depth - 1);
  add_counts(schema, "minItems", "maxItems");
  if (chance(15)) add_combination(schema, with("items", any(depth - 1)), depth);
  return schema;
}

Value SchemaMaker::object(int depth) {
  Value schema = Value::object();
  if (chance(85)) schema["type"] = "object";
  if (chance(85)) {
    schema["properties"] = Value::object();
    for (const std::string& name : kNames) {
      if (chance(45)) schema["properties"][name] = any(depth - 1);
    }
  }
  Value required = Value::array();
  for (const std::string& name : kNames) {
    if (required.size() < 2 && chance(20)) required.push_back(name);
  }
  if (!required.empty()) schema["required"] = required;
  if (chance(45)) schema["additionalProperties"] = chance(60) ? Value(false) : any(depth - 1);
  add_member_rules(schema, depth);
  return schema;
}

void SchemaMaker::add_member_rules(Value& schema, int depth) {
  if (chance(20)) schema["patternProperties"] = with(one_of(kNamePatterns).c_str(), any(depth - 1));
  if (chance(12)) schema["propertyNames"] = string();
  if (chance(12)) {
    schema["dependentRequired"] = with(one_of(kNames).c_str(), Value::array({one_of(kNames)}));
  }
  if (chance(12)) {
    schema["dependentSchemas"] =
        with(one_of(kNames).c_str(), with("required", Value::array({one_of(kNames)})));
  }
  if (chance(12)) schema["unevaluatedProperties"] = chance(60) ? Value(false) : any(depth - 1);
  if (chance(15)) add_counts(schema, "minProperties", "maxProperties");
  if (chance(25)) {
    const std::string& name = one_of(kNames);
    Value alike = with("properties", with(name.c_str(), any(depth - 1)));
    if (chance(60)) alike["required"] = Value::array({name});
    add_combination(schema, alike, depth);
  }
}

// One more rule in `schema`: `alike`, which speaks of the same type, and something else.
void SchemaMaker::add_combination(Value& schema, const Value& alike, int depth) {
  const Value other = part(depth - 1);
  switch (between(0, 5)) {
    case 0:
      schema["allOf"] = Value::array({alike});
      break;
    case 1:
      schema["anyOf"] = Value::array({alike, other});
      break;
    case 2:
      schema["oneOf"] = Value::array({alike, other});
      break;
    case 3:
      schema["not"] = alike;
      break;
    case 4:
      schema["if"] = alike;
      if (chance(80)) schema["then"] = other;
      if (chance(50)) schema["else"] = part(depth - 1);
      break;
    default:
      schema["anyOf"] = Value::array({alike, with("not", alike), other});
      break;
  }
}

// What describes the same value as the schema that it is a part of: not by way of the root again.
Value SchemaMaker::part(int depth) {
  Value schema = any(depth);
  return schema == with("$ref", "#") ? with("$ref", "#/$defs/d") : schema;
}

Value SchemaMaker::combination(int depth) {
  Value schema = Value::object();
  const auto part = [&] { return this->part(chance(50) ? depth - 1 : depth); };
  if (chance(25)) schema["type"] = Value{"string", "object", "array"};
  switch (between(0, 5)) {
    case 0:
      schema["allOf"] = Value::array({part(), part()});
      break;
    case 1:
      schema["anyOf"] = Value::array({part(), part()});
      break;
    case 2:
      schema["oneOf"] = Value::array({part(), part()});
      break;
    case 3:
      schema["not"] = part();
      break;
    case 4:
      schema["oneOf"] = Value::array({part(), part(), part()});
      break;
    default:
      schema["if"] = part();
      schema["then"] = part();
      if (chance(60)) schema["else"] = part();
      break;
  }
  return schema;
}

// Spelling ----------------------------------------------------------------------------------------

std::string SchemaMaker::spell(const Value& value, bool shuffle) {
  if (value.is_string()) {
    std::string out = "\"";
    for (const char c : value.get<std::string>()) {
      const bool plain = static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
      if (static_cast<unsigned char>(c) < 0x80 && (!plain || chance(8))) {
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
        out += escaped;
      } else {
        out += c;
      }
    }
    return out + '"';
  }
  if (value.is_array()) {
    std::string out = "[";
    for (const Value& item : value) out += (out.size() > 1 ? "," : "") + spell(item, shuffle);
    return out + "]";
  }
  if (!value.is_object()) {
    return value.dump() + (value.is_number_integer() && chance(10) ? ".0" : "");
  }
  std::vector<std::pair<std::string, Value>> members;
  for (const auto& [name, member] : value.items()) members.emplace_back(name, member);
  if (shuffle) std::shuffle(members.begin(), members.end(), random_);
  std::string out = "{";
  for (const auto& [name, member] : members) {
    out += (out.size() > 1 ? "," : "") + spell(name, shuffle) + ":" + spell(member, shuffle);
  }
  return out + "}";
}

std::vector<Value> everyday_schemas() {
  std::vector<Value> schemas;
  for (const char* text : {
           R"({"type":"object","properties":{"name":{"type":"string","minLength":1},
               "age":{"type":"integer","minimum":0,"maximum":99},"vip":{"type":"boolean"}},
               "required":["name"],"additionalProperties":false})",
           R"({"type":"object","properties":{"op":{"enum":["add","del"]},"id":{"type":"integer"}},
               "required":["op","id"],"additionalProperties":false})",
           R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"integer"}},
               "required":["kind","x"],"additionalProperties":false},
               {"type":"object","properties":{"kind":{"const":"b"},"y":{"type":"string"}},
               "required":["kind"],"additionalProperties":false}]})",
           R"({"type":"array","items":{"type":"object","properties":{"id":{"type":"integer"}},
               "required":["id"],"additionalProperties":false},"minItems":1,"maxItems":2})",
           R"({"type":"array","uniqueItems":true,"items":{"enum":["r","g","b"]}})",
           R"({"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#"}},
               "required":["v"],"additionalProperties":false})",
           R"({"type":"object","properties":{"card":{"type":"string"},"bill":{"type":"string"}},
               "dependentRequired":{"card":["bill"]},"additionalProperties":false})",
           R"({"type":"object","properties":{"country":{"enum":["US","NL"]},"zip":{}},
               "required":["country"],"if":{"properties":{"country":{"const":"US"}}},
               "then":{"properties":{"zip":{"pattern":"^\\d{1,2}$"}}},
               "else":{"properties":{"zip":{"pattern":"^[A-Z]"}}}})",
           R"({"allOf":[{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}],
               "properties":{"b":{"type":"integer"}},"unevaluatedProperties":false})",
           R"({"type":"object","additionalProperties":{"type":["integer","null"]},
               "minProperties":1,"maxProperties":2})",
           R"({"type":"object","patternProperties":{"^x":{"type":"integer"}},
               "properties":{"y":{"type":"string"}},"additionalProperties":false})",
           R"({"type":["number","null"],"minimum":-2.5,"exclusiveMaximum":12.25})",
       }) {
    schemas.push_back(Value::parse(text));
  }
  return schemas;
}

}  // namespace tessera::guided

#include "engine/guided/schema_metaschemas.hpp"

#include <string_view>

namespace tessera::guided {
namespace {

// The names under `definitions` are those of the published metaschemas: schemas in the wild refer
// to them. Draft 4: boolean bounds, `id`, no boolean schemas, at least one of `required`.
constexpr std::string_view kDraft4 = R"json({
"$schema":"http://json-schema.org/draft-04/schema#",
 "id":"http://json-schema.org/draft-04/schema#",
"definitions":{
 "positiveInteger":{"type":"integer","minimum":0},
 "positiveIntegerDefault0":{"$ref":"#/definitions/positiveInteger"},
 "schemaArray":{"type":"array","minItems":1,"items":{"$ref":"#"}},
 "map":{"type":"object","additionalProperties":{"$ref":"#"}},
 "simpleTypes":{"enum":["array","boolean","integer","null","number","object","string"]},
 "stringArray":{"type":"array","minItems":1,"items":{"type":"string"},"uniqueItems":true}},
"type":"object",
"properties":{
 "id":{"type":"string"},"$schema":{"type":"string"},"title":{"type":"string"},
 "description":{"type":"string"},"default":{},
 "multipleOf":{"type":"number","minimum":0,"exclusiveMinimum":true},
 "maximum":{"type":"number"},"exclusiveMaximum":{"type":"boolean"},
 "minimum":{"type":"number"},"exclusiveMinimum":{"type":"boolean"},
 "maxLength":{"$ref":"#/definitions/positiveInteger"},
 "minLength":{"$ref":"#/definitions/positiveInteger"},
 "pattern":{"type":"string","format":"regex"},
 "additionalItems":{"anyOf":[{"type":"boolean"},{"$ref":"#"}]},
 "items":{"anyOf":[{"$ref":"#"},{"$ref":"#/definitions/schemaArray"}]},
 "maxItems":{"$ref":"#/definitions/positiveInteger"},
 "minItems":{"$ref":"#/definitions/positiveInteger"},
 "uniqueItems":{"type":"boolean"},
 "maxProperties":{"$ref":"#/definitions/positiveInteger"},
 "minProperties":{"$ref":"#/definitions/positiveInteger"},
 "required":{"$ref":"#/definitions/stringArray"},
 "additionalProperties":{"anyOf":[{"type":"boolean"},{"$ref":"#"}]},
 "definitions":{"$ref":"#/definitions/map"},"properties":{"$ref":"#/definitions/map"},
 "patternProperties":{"$ref":"#/definitions/map"},
 "dependencies":{"type":"object",
  "additionalProperties":{"anyOf":[{"$ref":"#"},{"$ref":"#/definitions/stringArray"}]}},
 "enum":{"type":"array","minItems":1,"uniqueItems":true},
 "type":{"anyOf":[{"$ref":"#/definitions/simpleTypes"},
  {"type":"array","items":{"$ref":"#/definitions/simpleTypes"},"minItems":1,"uniqueItems":true}]},
 "format":{"type":"string"},
 "allOf":{"$ref":"#/definitions/schemaArray"},"anyOf":{"$ref":"#/definitions/schemaArray"},
 "oneOf":{"$ref":"#/definitions/schemaArray"},"not":{"$ref":"#"}},
"dependencies":{"exclusiveMaximum":["maximum"],"exclusiveMinimum":["minimum"]}})json";

// What drafts 6 to 2020-12 share; each adds its head and its own keywords in front. `self` is how
// a schema refers to the whole.
constexpr std::string_view kCommon = R"json(
 "$schema":{"type":"string","format":"uri"},
 "$ref":{"type":"string","format":"uri-reference"},
 "title":{"type":"string"},"description":{"type":"string"},"default":{},"const":{},
 "multipleOf":{"type":"number","exclusiveMinimum":0},
 "maximum":{"type":"number"},"exclusiveMaximum":{"type":"number"},
 "minimum":{"type":"number"},"exclusiveMinimum":{"type":"number"},
 "maxLength":{"$ref":"#/definitions/nonNegativeInteger"},
 "minLength":{"$ref":"#/definitions/nonNegativeInteger"},
 "pattern":{"type":"string","format":"regex"},
 "maxItems":{"$ref":"#/definitions/nonNegativeInteger"},
 "minItems":{"$ref":"#/definitions/nonNegativeInteger"},
 "uniqueItems":{"type":"boolean"},"contains":@self,
 "maxProperties":{"$ref":"#/definitions/nonNegativeInteger"},
 "minProperties":{"$ref":"#/definitions/nonNegativeInteger"},
 "required":{"$ref":"#/definitions/stringArray"},
 "additionalProperties":@self,
 "definitions":{"$ref":"#/definitions/map"},"properties":{"$ref":"#/definitions/map"},
 "patternProperties":{"type":"object","propertyNames":{"format":"regex"},
  "additionalProperties":@self},
 "dependencies":{"type":"object",
  "additionalProperties":{"anyOf":[@self,{"$ref":"#/definitions/stringArray"}]}},
 "propertyNames":@self,
 "enum":{"type":"array"},
 "type":{"anyOf":[{"$ref":"#/definitions/simpleTypes"},
  {"type":"array","items":{"$ref":"#/definitions/simpleTypes"},"minItems":1,"uniqueItems":true}]},
 "format":{"type":"string"},
 "allOf":{"$ref":"#/definitions/schemaArray"},"anyOf":{"$ref":"#/definitions/schemaArray"},
 "oneOf":{"$ref":"#/definitions/schemaArray"},"not":@self},
"definitions":{
 "nonNegativeInteger":{"type":"integer","minimum":0},
 "nonNegativeIntegerDefault0":{"$ref":"#/definitions/nonNegativeInteger"},
 "schemaArray":{"type":"array","minItems":1,"items":@self},
 "map":{"type":"object","additionalProperties":@self},
 "simpleTypes":{"enum":["array","boolean","integer","null","number","object","string"]},
 "stringArray":{"type":"array","items":{"type":"string"},"uniqueItems":true}},
"type":["object","boolean"]})json";

constexpr std::string_view kHead6 = R"json({
"$schema":"http://json-schema.org/draft-06/schema#",
 "$id":"http://json-schema.org/draft-06/schema#",
"properties":{
 "$id":{"type":"string","format":"uri-reference"},
 "examples":{"type":"array"},
 "items":{"anyOf":[{"$ref":"#"},{"$ref":"#/definitions/schemaArray"}]},
 "additionalItems":{"$ref":"#"},)json";

constexpr std::string_view kHead7 = R"json({
"$schema":"http://json-schema.org/draft-07/schema#",
 "$id":"http://json-schema.org/draft-07/schema#",
"properties":{
 "$id":{"type":"string","format":"uri-reference"},"$comment":{"type":"string"},
 "readOnly":{"type":"boolean"},"writeOnly":{"type":"boolean"},"examples":{"type":"array"},
 "contentMediaType":{"type":"string"},"contentEncoding":{"type":"string"},
 "if":{"$ref":"#"},"then":{"$ref":"#"},"else":{"$ref":"#"},
 "items":{"anyOf":[{"$ref":"#"},{"$ref":"#/definitions/schemaArray"}]},
 "additionalItems":{"$ref":"#"},)json";

// What 2019-09 and 2020-12 share.
constexpr std::string_view kSince2019 = R"json(
 "$id":{"type":"string","format":"uri-reference","pattern":"^[^#]*#?$"},
 "$comment":{"type":"string"},"$defs":{"$ref":"#/definitions/map"},
 "$vocabulary":{"type":"object","propertyNames":{"type":"string","format":"uri"},
  "additionalProperties":{"type":"boolean"}},
 "readOnly":{"type":"boolean"},"writeOnly":{"type":"boolean"},"deprecated":{"type":"boolean"},
 "examples":{"type":"array"},
 "contentMediaType":{"type":"string"},"contentEncoding":{"type":"string"},"contentSchema":@self,
 "if":@self,"then":@self,"else":@self,
 "maxContains":{"$ref":"#/definitions/nonNegativeInteger"},
 "minContains":{"$ref":"#/definitions/nonNegativeInteger"},
 "dependentRequired":{"type":"object",
 "additionalProperties":{"$ref":"#/definitions/stringArray"}},
 "dependentSchemas":{"$ref":"#/definitions/map"},
 "unevaluatedItems":@self,"unevaluatedProperties":@self,)json";

constexpr std::string_view kHead2019 = R"json({
"$schema":"https://json-schema.org/draft/2019-09/schema",
"$id":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,
"properties":{
 "$anchor":{"type":"string","pattern":"^[A-Za-z][-A-Za-z0-9.:_]*$"},
 "$recursiveRef":{"type":"string","format":"uri-reference"},"$recursiveAnchor":{"type":"boolean"},
 "items":{"anyOf":[{"$recursiveRef":"#"},{"$ref":"#/definitions/schemaArray"}]},
 "additionalItems":{"$recursiveRef":"#"},)json";

constexpr std::string_view kHead2020 = R"json({
"$schema":"https://json-schema.org/draft/2020-12/schema",
"$id":"https://json-schema.org/draft/2020-12/schema","$dynamicAnchor":"meta",
"properties":{
 "$anchor":{"type":"string","pattern":"^[A-Za-z_][-A-Za-z0-9._]*$"},
 "$dynamicAnchor":{"type":"string","pattern":"^[A-Za-z_][-A-Za-z0-9._]*$"},
 "$dynamicRef":{"type":"string","format":"uri-reference"},
 "prefixItems":{"$ref":"#/definitions/schemaArray"},"items":{"$dynamicRef":"#meta"},)json";

std::string with_self(std::initializer_list<std::string_view> parts, std::string_view self) {
  constexpr std::string_view kMark = "@self";
  std::string text;
  for (std::string_view part : parts) {
    for (std::size_t at = part.find(kMark); at != part.npos; at = part.find(kMark)) {
      text.append(part.substr(0, at)).append(self);
      part.remove_prefix(at + kMark.size());
    }
    text += part;
  }
  return text;
}

std::string text_of(Draft draft) {
  constexpr std::string_view kSelf = R"({"$ref":"#"})";
  constexpr std::string_view kSelf2019 = R"({"$recursiveRef":"#"})";
  constexpr std::string_view kSelf2020 = R"({"$dynamicRef":"#meta"})";
  switch (draft) {
    case Draft::k4:
      return std::string(kDraft4);
    case Draft::k6:
      return with_self({kHead6, kCommon}, kSelf);
    case Draft::k7:
      return with_self({kHead7, kCommon}, kSelf);
    case Draft::k2019_09:
      return with_self({kHead2019, kSince2019, kCommon}, kSelf2019);
    case Draft::k2020_12:
      return with_self({kHead2020, kSince2019, kCommon}, kSelf2020);
  }
  return {};
}

}  // namespace

std::shared_ptr<const std::string> metaschema_text(Draft draft) {
  return std::make_shared<const std::string>(text_of(draft));
}

}  // namespace tessera::guided

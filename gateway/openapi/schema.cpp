#include "gateway/openapi/schema.hpp"

#include <utility>

namespace tessera::openapi {
namespace {

Json of_type(std::string_view type) {
  Json schema;
  schema["type"] = type;
  return schema;
}

}  // namespace

Json any() {
  return Json::object();
}

Json text() {
  return of_type("string");
}

Json text(std::size_t min_chars, std::size_t max_chars) {
  Json schema = text();
  schema["minLength"] = min_chars;
  schema["maxLength"] = max_chars;
  return schema;
}

Json pattern(std::string_view regex) {
  Json schema = text();
  schema["pattern"] = regex;
  return schema;
}

Json words(std::initializer_list<std::string_view> words) {
  Json schema = text();
  schema["enum"] = Json::array();
  for (const std::string_view word : words) schema["enum"].push_back(word);
  return schema;
}

Json constant(std::string_view word) {
  Json schema;
  schema["const"] = word;
  return schema;
}

Json boolean() {
  return of_type("boolean");
}

Json integer() {
  Json schema = of_type("integer");
  schema["minimum"] = 0;
  return schema;
}

Json integer(std::int64_t min, std::int64_t max) {
  Json schema = of_type("integer");
  schema["minimum"] = min;
  schema["maximum"] = max;
  return schema;
}

Json number() {
  return of_type("number");
}

Json number(double min, double max) {
  Json schema = number();
  schema["minimum"] = min;
  schema["maximum"] = max;
  return schema;
}

Json unix_time() {
  Json schema = integer();
  schema["description"] = "Unix seconds";
  return schema;
}

Json nullable(Json schema) {
  return either({std::move(schema), of_type("null")});
}

Json array(Json items) {
  Json schema = of_type("array");
  schema["items"] = std::move(items);
  return schema;
}

Json array(Json items, std::size_t min_items, std::size_t max_items) {
  Json schema = array(std::move(items));
  schema["minItems"] = min_items;
  schema["maxItems"] = max_items;
  return schema;
}

Json map(Json values) {
  Json schema = of_type("object");
  schema["additionalProperties"] = std::move(values);
  return schema;
}

Json either(std::initializer_list<Json> schemas) {
  Json schema;
  schema["anyOf"] = Json::array();
  for (const Json& one : schemas) schema["anyOf"].push_back(one);
  return schema;
}

Json ref(std::string_view name) {
  Json schema;
  schema["$ref"] = "#/components/schemas/" + std::string(name);
  return schema;
}

Member optional(std::string_view name, Json schema) {
  return {name, std::move(schema), false};
}

Json object(const Members& members) {
  Json schema = of_type("object");
  schema["properties"] = Json::object();
  Json required = Json::array();
  for (const Member& member : members) {
    schema["properties"][std::string(member.name)] = member.schema;
    if (member.required) required.push_back(member.name);
  }
  if (!required.empty()) schema["required"] = std::move(required);
  schema["additionalProperties"] = false;
  return schema;
}

Members joined(Members members, const Members& more) {
  members.insert(members.end(), more.begin(), more.end());
  return members;
}

Json request(const Members& members) {
  Members loose = members;
  for (Member& member : loose) {
    if (!member.required && !member.schema.empty()) {
      member.schema = nullable(std::move(member.schema));
    }
  }
  return object(loose);
}

Json list_of(std::string_view name) {
  return object({{"object", constant("list")},
                 {"data", array(ref(name))},
                 {"first_id", nullable(text())},
                 {"last_id", nullable(text())},
                 {"has_more", boolean()}});
}

Json deleted(std::string_view object_word) {
  Json gone = boolean();
  gone["const"] = true;
  return object({{"id", text()}, {"object", constant(object_word)}, {"deleted", std::move(gone)}});
}

}  // namespace tessera::openapi

// brute_force_order.cpp — under a fixed order: which name may follow which, and where.
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>

#include "tests/engine/guided/brute_force.hpp"

namespace tessera::guided {
namespace {

const std::string& last_name(const Value& object) {
  return std::prev(object.end()).key();
}

}  // namespace

bool BruteForce::may_follow(const Value& object, const std::string& name,
                            const std::vector<std::string>& order) const {
  if (!ordered_ || object.empty()) return true;
  const auto rank = [&](const std::string& one) {
    return std::find(order.begin(), order.end(), one) - order.begin();
  };
  const auto others = static_cast<std::ptrdiff_t>(order.size());
  const std::ptrdiff_t last = rank(last_name(object));
  const std::ptrdiff_t next = rank(name);
  return next == others || next > last;
}

bool BruteForce::names_in_order(const std::vector<std::string>& names,
                                const Schemas& places) const {
  const auto order = declared(places);
  Value before = Value::object();
  for (const std::string& name : names) {
    if (!may_follow(before, name, order)) return false;
    before[name] = nullptr;
  }
  return true;
}

bool BruteForce::in_order(const Value& value, const Schemas& places) const {
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (!in_order(value[i], places_of(places, i))) return false;
    }
  }
  if (!value.is_object()) return true;
  std::vector<std::string> names;
  for (const auto& [name, member] : value.items()) {
    names.push_back(name);
    if (!in_order(member, places_of(places, name))) return false;
  }
  return names_in_order(names, places);
}

bool BruteForce::in_order(const Partial& partial, const Schemas& places) const {
  if (partial.kind == Partial::Kind::kWhole) return in_order(partial.value, places);
  const bool array = partial.kind == Partial::Kind::kArray;
  const auto place = [&](std::size_t i) {
    return array ? places_of(places, i) : places_of(places, partial.names[i]);
  };
  if (!array && !names_in_order(partial.names, places)) return false;
  for (std::size_t i = 0; i < partial.items.size(); ++i) {
    if (!in_order(partial.items[i], place(i))) return false;
  }
  return partial.child == nullptr || in_order(*partial.child, place(partial.items.size()));
}

// The schemas that describe the same value as `schema`, itself among them.
void BruteForce::add_in_place(const Value& schema, Schemas& places) const {
  if (!schema.is_object()) return;
  if (std::find(places.begin(), places.end(), &schema) != places.end()) return;
  places.push_back(&schema);
  for (const auto& [keyword, argument] : schema.items()) {
    if (keyword == "$ref") {
      const auto pointer = argument.get<std::string>().substr(1);
      add_in_place(validator_.root().at(Value::json_pointer(pointer)), places);
    } else if (keyword == "allOf" || keyword == "anyOf" || keyword == "oneOf" ||
               keyword == "dependentSchemas") {
      for (const Value& part : argument) add_in_place(part, places);
    } else if (keyword == "not" || keyword == "if" || keyword == "then" || keyword == "else") {
      add_in_place(argument, places);
    }
  }
}

BruteForce::Schemas BruteForce::root_places() const {
  Schemas places;
  if (ordered_) add_in_place(validator_.root(), places);
  return places;
}

BruteForce::Schemas BruteForce::places_of(const Schemas& places, const std::string& name) const {
  Schemas below;
  for (const Value* schema : places) {
    bool covered = false;
    for (const char* keyword : {"properties", "patternProperties"}) {
      if (!schema->contains(keyword)) continue;
      for (const auto& [key, part] : (*schema)[keyword].items()) {
        const bool exact = keyword == std::string_view("properties");
        if (exact ? key != name : !validator_.matches(key, name)) continue;
        add_in_place(part, below);
        covered = true;
      }
    }
    for (const char* keyword : {"additionalProperties", "unevaluatedProperties"}) {
      if (!covered && schema->contains(keyword)) add_in_place((*schema)[keyword], below);
    }
  }
  return below;
}

BruteForce::Schemas BruteForce::places_of(const Schemas& places, std::size_t index) const {
  Schemas below;
  for (const Value* schema : places) {
    const std::size_t prefix =
        schema->contains("prefixItems") ? (*schema)["prefixItems"].size() : 0;
    if (index < prefix) {
      add_in_place((*schema)["prefixItems"][index], below);
    } else if (schema->contains("items")) {
      add_in_place((*schema)["items"], below);
    }
    for (const char* keyword : {"contains", "unevaluatedItems"}) {
      if (schema->contains(keyword)) add_in_place((*schema)[keyword], below);
    }
  }
  return below;
}

std::vector<std::vector<std::string>> BruteForce::declarations(const Schemas& places) const {
  std::vector<std::vector<std::string>> all;
  for (const Value* schema : places) {
    if (!schema->contains("properties") || (*schema)["properties"].empty()) continue;
    std::vector<std::string> names;
    for (const auto& [name, part] : (*schema)["properties"].items()) names.push_back(name);
    if (std::find(all.begin(), all.end(), names) == all.end()) all.push_back(names);
  }
  return all;
}

std::vector<std::string> BruteForce::declared(const Schemas& places) const {
  const auto all = declarations(places);
  return all.empty() ? std::vector<std::string>{} : all.front();
}

// Whether names of members within its members or items are declared by something that what comes
// before them may have settled: names have an order as long as a schema that may still apply
// declares them.
bool BruteForce::may_stop_declaring(const Value& schema) const {
  const auto is_one_of = [](const std::string& keyword, std::initializer_list<const char*> list) {
    return std::find(list.begin(), list.end(), keyword) != list.end();
  };
  for (const auto& [keyword, argument] : schema.items()) {
    Schemas inner;
    if (is_one_of(keyword, {"anyOf", "oneOf", "dependentSchemas"})) {
      for (const Value& part : argument) add_in_place(part, inner);
    } else if (is_one_of(keyword, {"not", "if", "then", "else"})) {
      add_in_place(argument, inner);
    } else if (is_one_of(keyword, {"contains", "unevaluatedItems", "unevaluatedProperties"})) {
      add_in_place(argument, inner);
      if (!declarations(inner).empty()) return true;
    }
    if (declares_below(inner, 3)) return true;
  }
  return false;
}

bool BruteForce::declares_below(const Schemas& places, int depth) const {
  if (places.empty() || depth == 0) return false;
  const auto declares = [&](const Schemas& below) {
    return !declarations(below).empty() || declares_below(below, depth - 1);
  };
  for (const std::string& name : candidate_names(2)) {
    if (declares(places_of(places, name))) return true;
  }
  for (std::size_t i = 0; i < 4; ++i) {
    if (declares(places_of(places, i))) return true;
  }
  return false;
}

bool BruteForce::one_order() const {
  // A constant object has an order of its own.
  for (const Value& constant : constants_) {
    if (constant.is_object()) return false;
  }
  std::vector<Schemas> found = {root_places()};
  for (std::size_t at = 0; at < found.size() && at < 200; ++at) {
    const Schemas places = found[at];
    if (declarations(places).size() > 1) return false;
    if (std::any_of(places.begin(), places.end(),
                    [this](const Value* schema) { return may_stop_declaring(*schema); })) {
      return false;
    }
    const auto visit = [&](const Schemas& below) {
      if (std::find(found.begin(), found.end(), below) == found.end()) found.push_back(below);
    };
    for (const std::string& name : candidate_names(2)) visit(places_of(places, name));
    for (std::size_t i = 0; i < 4; ++i) visit(places_of(places, i));
  }
  return true;
}

}  // namespace tessera::guided

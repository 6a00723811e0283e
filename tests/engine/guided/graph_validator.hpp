// graph_validator.hpp — whether a value satisfies a SchemaGraph, by reading the graph's definition.
//
// For tests of the front end alone: slow, recursive, no automata but the pool's. What it decides is
// the meaning that schema.hpp gives to a node.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/guided/json_reader.hpp"
#include "engine/guided/schema.hpp"

namespace tessera::guided {

// A part of a tree as JSON again.
std::string json_text(const JsonTree& tree, JsonIndex at);

class GraphValidator {
 public:
  GraphValidator(SchemaGraph& graph, RegexPool& pool) : graph_(graph), pool_(pool) {}

  // `json` is a JSON text.
  bool valid(std::string_view json);
  bool valid(const JsonTree& tree, JsonIndex at);
  bool valid(SchemaId id, ValueId value);

 private:
  // What annotations say has been looked at.
  struct Evaluated {
    std::set<std::string> names;
    std::set<std::size_t> items;
    void add(const Evaluated& other);
  };

  ValueId read(const JsonTree& tree, JsonIndex at);
  bool check(SchemaId id, ValueId value, Evaluated& evaluated);
  bool check_type(const Schema& schema, ValueId value) const;
  bool check_number(const Schema& schema, const Decimal& number) const;
  bool check_string(const Schema& schema, const std::string& text);
  bool check_array(const Schema& schema, ValueId value, Evaluated& evaluated);
  bool check_object(const Schema& schema, ValueId value, Evaluated& evaluated);
  bool check_dependencies(const Schema& schema, ValueId value, Evaluated& evaluated);
  bool check_in_place(const Schema& schema, ValueId value, Evaluated& evaluated);
  bool check_unevaluated(const Schema& schema, ValueId value, Evaluated& evaluated);
  bool has(ValueId object, const std::string& name) const;

  SchemaGraph& graph_;
  RegexPool& pool_;
};

}  // namespace tessera::guided

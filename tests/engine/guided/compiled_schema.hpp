// compiled_schema.hpp — compile_schema for tests: the graph or the findings, and what it accepts.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "engine/guided/schema_compiler.hpp"
#include "tests/engine/guided/graph_validator.hpp"

namespace tessera::guided {

class CompiledSchema {
 public:
  explicit CompiledSchema(std::string_view json, SchemaOptions options = {},
                          GuidedLimits limits = {})
      : limits_(limits), fuel_(limits.compile_fuel), pool_(fuel_, limits_) {
    auto compiled = compile_schema(json, pool_, options, limits_);
    if (auto* found = std::get_if<GuidedFindings>(&compiled)) {
      findings = std::move(*found);
    } else {
      graph = std::move(std::get<SchemaGraph>(compiled));
    }
  }

  bool ok() const { return findings.empty(); }
  bool accepts(std::string_view json) { return ok() && GraphValidator(graph, pool_).valid(json); }
  bool accepts(const JsonTree& tree, JsonIndex at) {
    return ok() && GraphValidator(graph, pool_).valid(tree, at);
  }
  void refill() { fuel_.refill(limits_.compile_fuel * 1000); }
  const Schema& root() const { return graph[graph.root]; }
  RegexPool& pool() { return pool_; }
  // "pointer keyword" of each finding, one a line.
  std::string places() const {
    std::string out;
    for (const GuidedFinding& finding : findings) {
      out += (out.empty() ? "" : "\n") + finding.pointer + " " + finding.keyword;
    }
    return out;
  }

  SchemaGraph graph;
  GuidedFindings findings;

 private:
  GuidedLimits limits_;
  Fuel fuel_;
  RegexPool pool_;
};

}  // namespace tessera::guided

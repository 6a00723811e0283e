// Any text as a schema: it is compiled or refused with findings that name places in it, within its
// fuel; what is compiled is compiled the same way twice, and its nodes only name nodes that exist.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <variant>

#include "engine/guided/openai_strict.hpp"
#include "engine/guided/schema_compiler.hpp"

namespace {

using namespace tessera::guided;

// Longer inputs are cut: what they could show, shorter ones show sooner.
constexpr std::size_t kMaxBytes = 300;

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const SchemaGraph& graph) {
  const auto known = [&](SchemaId id) { require(id < graph.nodes.size()); };
  known(graph.root);
  for (const Schema& node : graph.nodes) {
    for (const SchemaId id : node.prefix) known(id);
    for (const SchemaId id : node.all_of) known(id);
    for (const SchemaId id : node.none_of) known(id);
    for (const auto& [name, id] : node.properties) known(id);
    for (const auto& [name, id] : node.pattern_properties) known(id);
    for (const auto& [name, id] : node.dependent_schemas) known(id);
    for (const auto& branches : node.any_of) {
      require(!branches.empty());
      for (const SchemaId id : branches) known(id);
    }
    for (const auto& branches : node.one_of) {
      for (const SchemaId id : branches) known(id);
    }
    known(node.items);
    known(node.additional);
    known(node.contains.value_or(0));
    known(node.property_names.value_or(0));
    known(node.unevaluated_items.value_or(0));
    known(node.unevaluated_properties.value_or(0));
    known(node.if_.value_or(0));
  }
}

// The number of nodes, or 0 if it was refused.
std::size_t compile(std::string_view text, const SchemaOptions& options) {
  GuidedLimits limits;
  limits.compile_fuel = 5'000;
  Fuel fuel(limits.compile_fuel);
  RegexPool pool(fuel, limits);
  try {
    auto compiled = compile_schema(text, pool, options, limits);
    if (const auto* findings = std::get_if<GuidedFindings>(&compiled)) {
      require(!findings->empty() && findings->size() <= limits.max_findings);
      for (const GuidedFinding& finding : *findings) require(!finding.reason.empty());
      return 0;
    }
    const auto& graph = std::get<SchemaGraph>(compiled);
    check(graph);
    graph.pointer(graph.root);
    return graph.nodes.size();
  } catch (const FuelExhausted&) {
    return 0;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1,
                              std::min(size - 1, kMaxBytes));
  SchemaOptions options;
  options.default_draft = static_cast<Draft>(data[0] % 5);
  options.assert_unknown_formats = (data[0] & 8) != 0;
  options.documents = {{"http://x/y", R"({"$defs":{"a":{"$dynamicAnchor":"n","items":{}}}})"}};
  require(compile(text, options) == compile(text, options));
  check_openai_strict(text);
  return 0;
}

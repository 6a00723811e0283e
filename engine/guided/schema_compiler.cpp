#include "engine/guided/schema_compiler.hpp"

#include <algorithm>
#include <utility>

#include "engine/guided/schema_compilation.hpp"

namespace tessera::guided {

std::string SchemaGraph::pointer(SchemaId id) const {
  const Schema& node = nodes[id];
  if (node.document >= documents.size()) return "";
  const Document& document = documents[node.document];
  JsonTree tree;
  GuidedFindings ignored;
  constexpr int kAnyDepth = 1 << 30;  // it has been read once before
  if (!tree.append(*document.text, kAnyDepth, 1, ignored)) return document.uri;
  const JsonIndex at = tree.at_offset(node.offset);
  const std::string pointer = at == kNoJson ? "" : tree.pointer(at);
  return document.uri.empty() ? pointer : document.uri + "#" + pointer;
}

std::size_t SchemaGraph::bytes() const {
  std::size_t bytes = nodes.capacity() * sizeof(Schema);
  for (const Document& document : documents) bytes += document.text->size();
  for (const Schema& node : nodes) {
    bytes += node.properties.capacity() * sizeof(node.properties[0]);
    bytes += node.required.capacity() * sizeof(node.required[0]);
    bytes += node.prefix.capacity() * sizeof(SchemaId);
    bytes += node.all_of.capacity() * sizeof(SchemaId);
    if (node.values) bytes += node.values->capacity() * sizeof(ValueId);
    for (const auto* groups : {&node.any_of, &node.one_of}) {
      for (const auto& branches : *groups) bytes += branches.capacity() * sizeof(SchemaId);
    }
  }
  return bytes;
}

SchemaCompilation::SchemaCompilation(RegexPool& pool, const SchemaOptions& options,
                                     const GuidedLimits& limits)
    : pool_(pool),
      options_(options),
      limits_(limits),
      sink_(tree_, limits.max_findings),
      resources_(tree_, graph_.documents, options, limits, sink_) {
  graph_.nodes.resize(2);
  place_of_node_.resize(2);
  scope_ids_.emplace(Bindings{}, 0);
  graph_.nodes[kFalseSchema].types = 0;
}

std::variant<SchemaGraph, GuidedFindings> SchemaCompilation::run(std::string_view json) {
  if (!resources_.open(json)) return sink_.in_order();
  node_of_place_.assign(tree_.size(), ~SchemaId{0});
  graph_.root = link({.at = resources_[0].root});
  const std::size_t most_nodes =
      std::min(limits_.max_schema_nodes, limits_.max_constraint_bytes / sizeof(Schema));
  for (std::size_t i = 0; i < pending_.size() && !done_for(); ++i) {
    const Pending next = pending_[i];
    build(next.id, next.place);
    if (graph_.nodes.size() > most_nodes) {
      give_up(next.place.at, "",
              "the schema has more than " + std::to_string(most_nodes) + " subschemas",
              FindingKind::kTooLarge);
    }
  }
  if (sink_.findings.empty()) settle_loops();
  if (!sink_.findings.empty()) return sink_.in_order();
  return std::move(graph_);
}

SchemaCompilation::Keywords SchemaCompilation::gather(const SchemaPlace& place) const {
  Keywords keywords;
  keywords.fill(kNoJson);
  const SchemaResource& resource = resources_[place.resource];
  for (JsonIndex at = place.at + 1; at != tree_[place.at].next; at = tree_[at].next) {
    const KeywordInfo* info = find_keyword(tree_[at].name);
    if (info == nullptr || !counts(*info, resource)) continue;
    keywords[static_cast<std::size_t>(info->keyword)] = at;
  }
  return keywords;
}

// The node is filled aside: linking children may move the graph's nodes.
void SchemaCompilation::build(SchemaId id, const SchemaPlace& place) {
  here_ = place;
  draft_ = resources_[place.resource].draft;
  const Keywords keywords = gather(place);
  Schema schema;
  schema.document = graph_.nodes[id].document;
  schema.offset = graph_.nodes[id].offset;
  build_values(keywords, schema);
  build_numbers(keywords, schema);
  build_text(keywords, schema);
  build_arrays(keywords, schema);
  build_objects(keywords, schema);
  build_applicators(keywords, schema);
  build_references(keywords, schema);
  graph_.nodes[id] = std::move(schema);
}

// The keyword of the schema being built that `at` is the value of, or a part of; $ref where it is
// neither, but what a reference led to.
std::string_view SchemaCompilation::keyword_of(JsonIndex at) const {
  if (tree_[at].parent == kNoJson) return "";
  while (tree_[at].parent != here_.at && tree_[at].parent != kNoJson) at = tree_[at].parent;
  return tree_[at].parent == kNoJson ? "$ref" : tree_[at].name;
}

void SchemaCompilation::invalid(JsonIndex at, std::string reason) {
  sink_.add(at, keyword_of(at), std::move(reason), FindingKind::kInvalid);
}

void SchemaCompilation::unsupported(JsonIndex at, std::string reason) {
  sink_.add(at, keyword_of(at), std::move(reason), FindingKind::kUnsupported);
}

void SchemaCompilation::too_large(JsonIndex at, std::string reason) {
  sink_.add(at, keyword_of(at), std::move(reason), FindingKind::kTooLarge);
}

void SchemaCompilation::give_up(JsonIndex at, std::string_view keyword, std::string reason,
                                FindingKind kind) {
  if (!gave_up_) sink_.add(at, keyword, std::move(reason), kind);
  gave_up_ = true;
}

std::variant<SchemaGraph, GuidedFindings> compile_schema(std::string_view json, RegexPool& pool,
                                                         const SchemaOptions& options,
                                                         const GuidedLimits& limits) {
  return SchemaCompilation(pool, options, limits).run(json);
}

}  // namespace tessera::guided

// schema_compilation.hpp — one run of compile_schema: from places in the JSON to nodes of the
// graph.
//
// Only what the root reaches is compiled, each (place, dynamic scope) once, from a list of what is
// still to do; so cycles of references are edges and nothing recurses. A place that says nothing is
// kTrueSchema, one that only names types is shared, one that only refers is its target.
//
// The dynamic scope matters to $dynamicRef and $recursiveRef alone: it is kept as what they can ask
// of it, the outermost resource met so far for each dynamic anchor. Where no such anchor exists
// there is one scope, and so one node for a place.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "engine/guided/json_reader.hpp"
#include "engine/guided/schema.hpp"
#include "engine/guided/schema_compiler.hpp"
#include "engine/guided/schema_keywords.hpp"
#include "engine/guided/schema_resources.hpp"

namespace tessera::guided {

// Interned: equal scopes have one id; 0 is the one without bindings.
using ScopeId = std::uint32_t;

// Where a schema stands and in what surroundings it is read.
struct SchemaPlace {
  JsonIndex at = 0;
  ResourceId resource = 0;
  ScopeId scope = 0;
};

class SchemaCompilation {
 public:
  SchemaCompilation(RegexPool& pool, const SchemaOptions& options, const GuidedLimits& limits);

  std::variant<SchemaGraph, GuidedFindings> run(std::string_view json);

 private:
  // The keywords of one object that count in its draft, by Keyword; kNoJson where absent.
  using Keywords = std::array<JsonIndex, kNumKeywords>;
  // What link() can do with an object without making a node.
  struct Shape {
    enum class Kind : std::uint8_t { kEmpty, kTypes, kReference, kFull };
    Kind kind = Kind::kEmpty;
    JsonIndex place = kNoJson;  // of `type`, or of the reference
    Keyword reference = Keyword::kNone;
  };

  // schema_links.cpp: places to nodes
  SchemaId link(SchemaPlace place);
  SchemaId link_child(JsonIndex at);  // of the schema being built
  std::optional<SchemaId> link_step(SchemaPlace& place, Shape& shape);
  SchemaId link_boolean(const SchemaPlace& place);
  Shape shape_of(const SchemaPlace& place) const;
  bool counts(const KeywordInfo& info, const SchemaResource& resource) const;
  std::optional<SchemaPlace> target_of(JsonIndex at, Keyword keyword, const SchemaPlace& from);
  void enter(SchemaPlace& place);
  ScopeId enter_scope(ScopeId scope, const SchemaPlace& place);
  std::optional<SchemaId> known(const SchemaPlace& place) const;
  void remember(const SchemaPlace& place, SchemaId id);
  SchemaId add_node(const SchemaPlace& place);
  SchemaId new_node(const SchemaPlace& place);
  SchemaId types_node(const SchemaPlace& place, std::uint8_t types);
  void for_each_loop(const auto& edges, const auto& on_loop);
  void settle_loops();

  // schema_compiler.cpp: one node
  void build(SchemaId id, const SchemaPlace& place);
  Keywords gather(const SchemaPlace& place) const;

  // schema_assertions.cpp
  std::optional<std::uint8_t> read_types(JsonIndex at);
  void build_values(const Keywords& keywords, Schema& schema);
  void build_numbers(const Keywords& keywords, Schema& schema);
  void build_text(const Keywords& keywords, Schema& schema);
  void build_bound(JsonIndex bound, JsonIndex exclusive, std::vector<NumberBound>& bounds);
  void read_pattern(JsonIndex at, std::vector<RegexId>& into);
  std::optional<RegexId> pattern(JsonIndex at, std::string_view text);
  void read_format(JsonIndex at, std::vector<RegexId>& into);
  std::optional<Decimal> read_number(JsonIndex at);
  std::optional<std::uint64_t> read_count(JsonIndex at);
  void read_count_into(JsonIndex at, std::uint64_t& into);
  std::optional<ValueId> read_value(JsonIndex at);
  std::vector<std::string> read_names(JsonIndex at);

  // schema_applicators.cpp
  void build_arrays(const Keywords& keywords, Schema& schema);
  void build_items(const Keywords& keywords, Schema& schema);
  void build_objects(const Keywords& keywords, Schema& schema);
  void build_dependencies(const Keywords& keywords, Schema& schema);
  void build_applicators(const Keywords& keywords, Schema& schema);
  void build_references(const Keywords& keywords, Schema& schema);
  std::vector<SchemaId> read_schemas(JsonIndex at);
  bool is_object(JsonIndex at);

  std::string_view keyword_of(JsonIndex at) const;
  bool done_for() const { return gave_up_ || sink_.full(); }
  void invalid(JsonIndex at, std::string reason);
  void unsupported(JsonIndex at, std::string reason);
  void too_large(JsonIndex at, std::string reason);
  // The last finding: nothing more is compiled.
  void give_up(JsonIndex at, std::string_view keyword, std::string reason, FindingKind kind);

  RegexPool& pool_;
  const SchemaOptions& options_;
  const GuidedLimits& limits_;
  JsonTree tree_;
  SchemaGraph graph_;
  FindingSink sink_;
  SchemaResources resources_;

  struct Pending {
    SchemaId id;
    SchemaPlace place;
  };
  std::vector<Pending> pending_;  // in the order met; also those that are done
  bool gave_up_ = false;
  SchemaPlace here_;  // of the schema being built
  Draft draft_ = Draft::k2020_12;

  std::vector<SchemaId> node_of_place_;  // in scope 0; kNoNode where there is none yet
  std::unordered_map<std::uint64_t, SchemaId> node_of_scoped_place_;
  std::vector<JsonIndex> place_of_node_;                // for findings
  std::array<SchemaId, kTypeAny + 1> node_of_types_{};  // 0 where there is none yet
  bool any_reference_ = false;

  using Bindings = std::map<std::string_view, JsonIndex>;  // "" is $recursiveAnchor
  std::vector<Bindings> scopes_{1};
  std::map<Bindings, ScopeId> scope_ids_;
  std::map<std::pair<ScopeId, ResourceId>, ScopeId> entered_;

  std::unordered_map<std::string_view, std::optional<RegexId>> patterns_;
  std::unordered_map<std::string_view, std::optional<RegexId>> formats_;
  std::uint64_t scope_work_ = 0;
  std::size_t num_properties_ = 0;
  std::size_t num_names_ = 0;  // in required, dependentRequired
  std::size_t num_values_ = 0;
  std::size_t value_bytes_ = 0;
};

}  // namespace tessera::guided

#include <algorithm>

#include "engine/guided/schema_compilation.hpp"

namespace tessera::guided {
namespace {

constexpr SchemaId kNoNode = ~SchemaId{0};
constexpr std::uint64_t kMaxScopeWork = 200'000;  // bindings copied, all in all

std::uint64_t scoped_key(const SchemaPlace& place) {
  return std::uint64_t{place.scope} << 32 | place.at;
}

// The schemas that apply to the same value as `schema` itself.
constexpr auto for_each_in_place = [](Schema& schema, const auto& visit) {
  for (SchemaId& id : schema.all_of) visit(id);
  for (auto* groups : {&schema.any_of, &schema.one_of}) {
    for (auto& branches : *groups) {
      for (SchemaId& id : branches) visit(id);
    }
  }
  for (SchemaId& id : schema.none_of) visit(id);
  for (auto* part : {&schema.if_, &schema.then_, &schema.else_}) {
    if (*part) visit(**part);
  }
  for (auto& [name, id] : schema.dependent_schemas) visit(id);
};

}  // namespace

SchemaId SchemaCompilation::link_child(JsonIndex at) {
  return link({.at = at, .resource = here_.resource, .scope = here_.scope});
}

// Follows schemas that are nothing but a reference, to the first that is more.
SchemaId SchemaCompilation::link(SchemaPlace place) {
  std::vector<SchemaPlace> chain;
  std::optional<SchemaId> id;
  while (!id) {
    Shape shape;
    id = link_step(place, shape);
    if (id) break;
    chain.push_back(place);
    // Where the references run in a circle, it comes back to this: nothing is ever shown to satisfy
    // it.
    remember(place, kFalseSchema);
    const auto target = target_of(shape.place, shape.reference, place);
    if (!target) id = kTrueSchema;  // there is a finding
    if (target) place = *target;
  }
  for (const SchemaPlace& step : chain) remember(step, *id);
  return *id;
}

// The node of a place; nullopt if it is only the reference that `shape` names. Settles the place's
// resource and scope.
std::optional<SchemaId> SchemaCompilation::link_step(SchemaPlace& place, Shape& shape) {
  if (tree_[place.at].kind != JsonKind::kObject) return link_boolean(place);
  enter(place);
  if (const auto id = known(place)) return id;
  shape = shape_of(place);
  switch (shape.kind) {
    case Shape::Kind::kEmpty:
      return kTrueSchema;
    case Shape::Kind::kReference:
      return std::nullopt;
    case Shape::Kind::kTypes: {
      const SchemaId id = types_node(place, read_types(shape.place).value_or(kTypeAny));
      remember(place, id);
      return id;
    }
    case Shape::Kind::kFull:
      break;
  }
  return new_node(place);
}

SchemaId SchemaCompilation::link_boolean(const SchemaPlace& place) {
  const JsonNode& node = tree_[place.at];
  const bool is_boolean = node.kind == JsonKind::kBoolean;
  const bool always = node.name == "additionalProperties" || node.name == "additionalItems";
  const bool too_early = resources_[place.resource].draft == Draft::k4 && !always;
  const SchemaId id = is_boolean && !node.boolean ? kFalseSchema : kTrueSchema;
  if ((is_boolean && !too_early) || known(place)) return id;
  invalid(place.at, is_boolean ? "draft 4 has no boolean schemas; use {} or {\"not\":{}}"
                               : "a schema must be an object or a boolean");
  remember(place, id);
  return id;
}

bool SchemaCompilation::counts(const KeywordInfo& info, const SchemaResource& resource) const {
  return info.in(resource.draft) && (info.vocabulary & resource.vocabularies) != 0;
}

SchemaCompilation::Shape SchemaCompilation::shape_of(const SchemaPlace& place) const {
  const SchemaResource& resource = resources_[place.resource];
  Shape shape;
  for (JsonIndex at = place.at + 1; at != tree_[place.at].next; at = tree_[at].next) {
    const KeywordInfo* info = find_keyword(tree_[at].name);
    if (info == nullptr || !counts(*info, resource)) continue;
    Shape::Kind kind = Shape::Kind::kFull;
    switch (info->keyword) {
      case Keyword::kAnchor:
      case Keyword::kDefinitions:
      case Keyword::kDynamicAnchor:
      case Keyword::kId:
      case Keyword::kLegacyId:
      case Keyword::kRecursiveAnchor:
      case Keyword::kSchema:
      case Keyword::kVocabulary:
        continue;
      case Keyword::kRef:
        if (resource.draft <= Draft::k7) return {Shape::Kind::kReference, at, Keyword::kRef};
        kind = Shape::Kind::kReference;
        break;
      case Keyword::kDynamicRef:
      case Keyword::kRecursiveRef:
        kind = Shape::Kind::kReference;
        break;
      case Keyword::kType:
        kind = Shape::Kind::kTypes;
        break;
      default:
        break;
    }
    const bool alone = shape.kind == Shape::Kind::kEmpty;
    shape = {alone ? kind : Shape::Kind::kFull, at, info->keyword};
  }
  return shape;
}

// Where a $ref, $dynamicRef or $recursiveRef at `at` leads. nullopt with a finding.
std::optional<SchemaPlace> SchemaCompilation::target_of(JsonIndex at, Keyword keyword,
                                                        const SchemaPlace& from) {
  any_reference_ = true;
  const auto target = resources_.resolve(at, tree_[at].name, from.resource);
  node_of_place_.resize(tree_.size(), kNoNode);
  if (!target) return std::nullopt;
  SchemaPlace to{.at = target->place, .resource = target->resource, .scope = from.scope};
  const bool recursive =
      keyword == Keyword::kRecursiveRef && resources_[target->resource].recursive_anchor;
  const bool dynamic = keyword == Keyword::kDynamicRef && !target->dynamic_anchor.empty();
  if (!recursive && !dynamic) return to;
  const Bindings& bindings = scopes_[from.scope];
  const auto bound = bindings.find(recursive ? std::string_view() : target->dynamic_anchor);
  if (bound == bindings.end()) return to;
  to.at = bound->second;
  to.resource = resources_.around(to.at);
  return to;
}

// Settles the resource that a place is in and adds that resource to the dynamic scope.
void SchemaCompilation::enter(SchemaPlace& place) {
  if (const auto resource = resources_.beginning_at(place.at)) place.resource = *resource;
  if (resources_.any_dynamic()) place.scope = enter_scope(place.scope, place);
}

ScopeId SchemaCompilation::enter_scope(ScopeId scope, const SchemaPlace& place) {
  const SchemaResource& resource = resources_[place.resource];
  const auto [entry, is_new] = entered_.try_emplace({scope, place.resource}, scope);
  if (!is_new) return entry->second;
  Bindings bindings = scopes_[scope];
  for (const auto& [name, anchor] : resource.anchors) {
    if (anchor.dynamic) bindings.try_emplace(name, anchor.place);
  }
  if (resource.recursive_anchor) bindings.try_emplace(std::string_view(), resource.root);
  scope_work_ += bindings.size() + resource.anchors.size();
  if (scope_work_ > kMaxScopeWork) {
    give_up(place.at, "$dynamicAnchor", "the dynamic anchors can be met in too many ways",
            FindingKind::kTooComplex);
    return scope;
  }
  const auto [known, is_new_scope] =
      scope_ids_.try_emplace(bindings, static_cast<ScopeId>(scopes_.size()));
  if (is_new_scope) scopes_.push_back(std::move(bindings));
  return entry->second = known->second;
}

std::optional<SchemaId> SchemaCompilation::known(const SchemaPlace& place) const {
  if (place.scope == 0) {
    const SchemaId id = node_of_place_[place.at];
    return id == kNoNode ? std::nullopt : std::optional(id);
  }
  const auto found = node_of_scoped_place_.find(scoped_key(place));
  return found == node_of_scoped_place_.end() ? std::nullopt : std::optional(found->second);
}

void SchemaCompilation::remember(const SchemaPlace& place, SchemaId id) {
  if (place.scope == 0) {
    node_of_place_[place.at] = id;
  } else {
    node_of_scoped_place_[scoped_key(place)] = id;
  }
}

SchemaId SchemaCompilation::add_node(const SchemaPlace& place) {
  const auto id = static_cast<SchemaId>(graph_.nodes.size());
  Schema& node = graph_.nodes.emplace_back();
  node.document = resources_[place.resource].document;
  node.offset = tree_[place.at].offset;
  place_of_node_.push_back(place.at);
  return id;
}

SchemaId SchemaCompilation::new_node(const SchemaPlace& place) {
  const SchemaId id = add_node(place);
  remember(place, id);
  pending_.push_back({id, place});
  return id;
}

SchemaId SchemaCompilation::types_node(const SchemaPlace& place, std::uint8_t types) {
  if (types == kTypeAny) return kTrueSchema;
  SchemaId& id = node_of_types_[types];
  if (id != 0) return id;
  id = add_node(place);
  graph_.nodes[id].types = types;
  return id;
}

// Depth-first over the edges that `edges(node, visit)` names, white-grey-black, over a list instead
// of the call stack; `on_loop(from, edge)` is told each edge that leads back to where it came from.
void SchemaCompilation::for_each_loop(const auto& edges, const auto& on_loop) {
  enum : std::uint8_t { kNew, kOpen, kDone };
  std::vector<std::uint8_t> state(graph_.nodes.size(), kNew);
  std::vector<std::pair<SchemaId, bool>> todo;  // true: all within has been visited
  for (SchemaId start = 0; start < graph_.nodes.size(); ++start) {
    if (state[start] == kNew) todo.emplace_back(start, false);
    while (!todo.empty()) {
      const auto [id, leaving] = todo.back();
      todo.pop_back();
      if (leaving) {
        state[id] = kDone;
        continue;
      }
      if (state[id] != kNew) continue;
      state[id] = kOpen;
      todo.emplace_back(id, true);
      edges(graph_.nodes[id], [&, id = id](SchemaId& to) {
        if (state[to] == kNew) todo.emplace_back(to, false);
        if (state[to] == kOpen) on_loop(id, to);
      });
    }
  }
}

// A schema that applies itself to the value it is applied to: the specification leaves undefined
// what that means. Where it is a condition among others (allOf, $ref) no value is ever shown to
// satisfy it, so it allows none; anything else is refused.
void SchemaCompilation::settle_loops() {
  if (!any_reference_) return;
  const auto conditions = [](Schema& schema, const auto& visit) {
    for (SchemaId& id : schema.all_of) visit(id);
  };
  for_each_loop(conditions, [](SchemaId, SchemaId& edge) { edge = kFalseSchema; });
  for_each_loop(for_each_in_place, [&](SchemaId from, SchemaId& to) {
    if (sink_.full()) return;
    sink_.add(place_of_node_[from], "$ref",
              "the schema leads back to itself for the same value (to '" +
                  sink_.pointer(place_of_node_[to]) + "'), which has no meaning",
              FindingKind::kInvalid);
  });
}

}  // namespace tessera::guided

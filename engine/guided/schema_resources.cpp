#include "engine/guided/schema_resources.hpp"

#include <utility>

#include "engine/guided/schema_uri.hpp"

namespace tessera::guided {
namespace {

constexpr std::size_t kMaxUriBytes = 4096;  // of a resource, resolved

bool names_a_place(const JsonNode& node) {
  const std::string_view name = node.name;
  if (name == "id") return node.kind == JsonKind::kString;  // a name that properties have, too
  return name == "$id" || name == "$anchor" || name == "$dynamicAnchor" ||
         name == "$recursiveAnchor";
}

// The bits of a vocabulary of 2019-09 or 2020-12; 0 if it is none, or one that asserts nothing.
std::uint8_t vocabulary_named(std::string_view uri, Draft draft) {
  constexpr std::string_view kOurs = "https://json-schema.org/draft/20";
  if (!uri.starts_with(kOurs)) return 0;
  const std::string_view name = uri.substr(uri.rfind('/') + 1);
  if (name == "core") return kVocabularyCore;
  if (name == "applicator") {
    const bool both = draft == Draft::k2019_09;  // where unevaluated* was one of the applicators
    return both ? kVocabularyApplicator | kVocabularyUnevaluated : kVocabularyApplicator;
  }
  if (name == "unevaluated") return kVocabularyUnevaluated;
  if (name == "validation") return kVocabularyValidation;
  if (name == "format-assertion") return kVocabularyFormat | kVocabularyFormatAssertion;
  if (name.starts_with("format")) return kVocabularyFormat;
  return 0;
}

std::string quoted(std::string_view text) {
  return "'" + brief(std::string(text)) + "'";
}

}  // namespace

bool SchemaResources::open(std::string_view json) {
  return open_document("", std::make_shared<const std::string>(json)).has_value();
}

std::optional<ResourceId> SchemaResources::open_document(const std::string& uri,
                                                         std::shared_ptr<const std::string> text) {
  source_bytes_ += text->size();
  if (source_bytes_ > limits_.max_source_bytes) {
    sink_.findings.push_back({.pointer = "",
                              .keyword = "",
                              .reason = "the schema and what it refers to have more than " +
                                        std::to_string(limits_.max_source_bytes) + " bytes",
                              .kind = FindingKind::kTooLarge});
    return std::nullopt;
  }
  const std::size_t told = sink_.findings.size();
  const auto root =
      tree_.append(*text, limits_.max_source_depth, limits_.max_findings, sink_.findings);
  if (!uri.empty()) {
    for (std::size_t i = told; i < sink_.findings.size(); ++i) {
      sink_.findings[i].pointer.insert(0, brief(uri) + "#");
    }
  }
  if (!root) return std::nullopt;
  sink_.begin_document(*root, uri);
  documents_.push_back({.uri = uri, .text = std::move(text)});
  const ResourceId id = add({.uri = uri,
                             .root = *root,
                             .document = static_cast<std::uint32_t>(documents_.size() - 1),
                             .draft = options_.default_draft});
  if (tree_[*root].kind != JsonKind::kObject) return id;
  read_dialect(*root, id);
  scan(id);
  return id;
}

ResourceId SchemaResources::add(SchemaResource resource) {
  const auto id = static_cast<ResourceId>(resources_.size());
  by_root_.emplace(resource.root, id);
  by_uri_.emplace(resource.uri, id);
  resources_.push_back(std::move(resource));
  return id;
}

// $schema of a resource's root: the draft, or a metaschema of the tenant's that names its parts.
void SchemaResources::read_dialect(JsonIndex object, ResourceId resource) {
  const JsonIndex place = tree_.find(object, "$schema");
  if (place == kNoJson) return;
  if (tree_[place].kind != JsonKind::kString) {
    sink_.add(place, "$schema", "must be a string", FindingKind::kInvalid);
    return;
  }
  const std::string_view name = tree_[place].text;
  resources_[resource].draft_named = true;
  if (const auto draft = draft_named(name)) {
    resources_[resource].draft = *draft;
    resources_[resource].vocabularies = kVocabularyAll;
    return;
  }
  if (split_fragment(name).uri == "http://json-schema.org/schema") return;  // whichever is newest
  const std::string* text = bundled(std::string(split_fragment(name).uri));
  if (text == nullptr) {
    sink_.add(place, "$schema", quoted(name) + " is not one of drafts 4, 6, 7, 2019-09 and 2020-12",
              FindingKind::kUnsupported);
    return;
  }
  GuidedFindings ignored;
  const auto metaschema = tree_.append(*text, limits_.max_source_depth, 1, ignored);
  if (!metaschema || tree_[*metaschema].kind != JsonKind::kObject) {
    sink_.add(place, "$schema", quoted(name) + " is no schema", FindingKind::kInvalid);
    return;
  }
  read_vocabularies(*metaschema, place, resources_[resource]);
}

void SchemaResources::read_vocabularies(JsonIndex metaschema, JsonIndex place,
                                        SchemaResource& resource) {
  const JsonIndex dialect = tree_.find(metaschema, "$schema");
  if (dialect != kNoJson) {
    if (const auto draft = draft_named(tree_[dialect].text)) resource.draft = *draft;
  }
  const JsonIndex list = tree_.find(metaschema, "$vocabulary");
  if (list == kNoJson || tree_[list].kind != JsonKind::kObject) return;
  resource.vocabularies = 0;
  for (JsonIndex at = list + 1; at != tree_[list].next; at = tree_[at].next) {
    const std::string_view uri = tree_[at].name;
    const std::uint8_t bit = vocabulary_named(uri, resource.draft);
    resource.vocabularies |= bit;
    const bool only_notes = uri.ends_with("/vocab/meta-data") || uri.ends_with("/vocab/content");
    if (bit == 0 && !only_notes && tree_[at].boolean) {
      sink_.add(place, "$vocabulary",
                "the metaschema requires the unknown vocabulary " + quoted(uri),
                FindingKind::kUnsupported);
    }
  }
}

bool SchemaResources::worth_scanning(JsonIndex root) const {
  for (JsonIndex at = root + 1; at < tree_[root].next; ++at) {
    if (names_a_place(tree_[at])) return true;
  }
  return false;
}

// Every place where a schema can stand is visited once, with the resource it belongs to.
void SchemaResources::scan(ResourceId root) {
  const JsonIndex start = resources_[root].root;
  if (!worth_scanning(start)) return;
  std::vector<std::pair<JsonIndex, ResourceId>> open = {{start, root}};
  while (!open.empty()) {
    const auto [object, outer] = open.back();
    open.pop_back();
    const ResourceId resource = scan_object(object, outer);
    const Draft draft = resources_[resource].draft;
    const auto push = [&](JsonIndex place) {
      if (tree_[place].kind == JsonKind::kObject) open.emplace_back(place, resource);
    };
    for (JsonIndex at = object + 1; at != tree_[object].next; at = tree_[at].next) {
      const JsonKind kind = tree_[at].kind;
      if (kind != JsonKind::kObject && kind != JsonKind::kArray) continue;
      const KeywordInfo* info = find_keyword(tree_[at].name);
      if (info == nullptr || info->subschemas == Subschemas::kNowhere || !info->in(draft)) continue;
      const bool deep = info->subschemas == Subschemas::kMembers || kind == JsonKind::kArray;
      if (!deep) push(at);
      if (!deep) continue;
      for (JsonIndex in = at + 1; in != tree_[at].next; in = tree_[in].next) push(in);
    }
  }
}

ResourceId SchemaResources::scan_object(JsonIndex object, ResourceId outer) {
  const ResourceId resource = read_id(object, outer);
  read_anchors(object, resource);
  return resource;
}

// Resolved URIs can be far longer than what was written: a long base under many short $ids.
bool SchemaResources::afford_uri(JsonIndex place, std::string_view uri) {
  uri_bytes_ += uri.size();
  if (uri_bytes_ <= 4 * limits_.max_source_bytes && uri.size() <= kMaxUriBytes) return true;
  sink_.add(place, tree_[place].name, "the URIs of this schema are too long",
            FindingKind::kTooLarge);
  return false;
}

// $id (draft 4: id): a URI of its own makes a resource, a mere fragment an anchor (up to draft 7).
ResourceId SchemaResources::read_id(JsonIndex object, ResourceId outer) {
  Draft draft = resources_[outer].draft;
  const JsonIndex dialect = tree_.find(object, "$schema");
  if (dialect != kNoJson) draft = draft_named(tree_[dialect].text).value_or(draft);
  const JsonIndex place = tree_.find(object, draft == Draft::k4 ? "id" : "$id");
  if (place == kNoJson) return outer;
  if (draft <= Draft::k7 && tree_.find(object, "$ref") != kNoJson) return outer;
  if (tree_[place].kind != JsonKind::kString) {
    sink_.add(place, tree_[place].name, "must be a string", FindingKind::kInvalid);
    return outer;
  }
  const SplitUri id = split_fragment(tree_[place].text);
  // Up to draft 7; and where no draft is named, where generators of older schemas still do it.
  const bool draft_known = resources_[outer].draft_named || dialect != kNoJson;
  const bool may_be_anchor = draft <= Draft::k7 || !draft_known;
  if (!id.fragment.empty() && !may_be_anchor) {
    sink_.add(place, "$id", "must not have a fragment; $anchor names a place",
              FindingKind::kInvalid);
    return outer;
  }
  ResourceId resource = outer;
  if (!id.uri.empty()) {
    std::string uri = resolve_uri(resources_[outer].uri, id.uri);
    if (!afford_uri(place, uri)) return outer;
    if (resources_[outer].root == object) {
      by_uri_.emplace(uri, outer);
      resources_[outer].uri = std::move(uri);
    } else {
      resource = add({.uri = std::move(uri),
                      .root = object,
                      .document = resources_[outer].document,
                      .draft = resources_[outer].draft,
                      .draft_named = resources_[outer].draft_named,
                      .vocabularies = resources_[outer].vocabularies});
      read_dialect(object, resource);
    }
  }
  if (!id.fragment.empty()) {
    resources_[resource].anchors.try_emplace(id.fragment, SchemaResource::Anchor{object, false});
  }
  return resource;
}

void SchemaResources::read_anchors(JsonIndex object, ResourceId resource) {
  SchemaResource& here = resources_[resource];
  if (here.draft < Draft::k2019_09) return;
  const auto read = [&](std::string_view keyword, bool dynamic) {
    const JsonIndex place = tree_.find(object, keyword);
    if (place == kNoJson) return;
    if (tree_[place].kind != JsonKind::kString) {
      sink_.add(place, keyword, "must be a string", FindingKind::kInvalid);
      return;
    }
    here.anchors.insert_or_assign(tree_[place].text, SchemaResource::Anchor{object, dynamic});
    any_dynamic_ |= dynamic;
  };
  read("$anchor", false);
  if (here.draft == Draft::k2020_12) read("$dynamicAnchor", true);
  if (here.draft != Draft::k2019_09 || here.root != object) return;
  const JsonIndex place = tree_.find(object, "$recursiveAnchor");
  if (place == kNoJson) return;
  here.recursive_anchor = tree_[place].boolean;
  any_dynamic_ |= here.recursive_anchor;
}

std::optional<ResourceId> SchemaResources::beginning_at(JsonIndex place) const {
  const auto found = by_root_.find(place);
  if (found == by_root_.end()) return std::nullopt;
  return found->second;
}

ResourceId SchemaResources::around(JsonIndex place) const {
  if (resources_.size() == 1) return 0;
  for (; tree_[place].parent != kNoJson; place = tree_[place].parent) {
    if (const auto resource = beginning_at(place)) return *resource;
  }
  return beginning_at(place).value_or(0);
}

}  // namespace tessera::guided

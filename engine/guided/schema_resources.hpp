// schema_resources.hpp — which URIs and anchors a schema's parts have, and where a reference leads.
//
// A resource is a schema with a URI of its own: a document, or a subschema with $id inside one. It
// has a base URI, a draft and anchors; what stands in it belongs to the innermost resource around.
// Documents come from the tenant (SchemaOptions::documents) and from the metaschemas we carry;
// nothing is fetched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/guided/finding_sink.hpp"
#include "engine/guided/json_reader.hpp"
#include "engine/guided/schema.hpp"
#include "engine/guided/schema_compiler.hpp"
#include "engine/guided/schema_keywords.hpp"

namespace tessera::guided {

using ResourceId = std::uint32_t;

struct SchemaResource {
  struct Anchor {
    JsonIndex place = 0;
    bool dynamic = false;
  };

  std::string uri;  // without fragment; empty or relative where nothing says more
  JsonIndex root = 0;
  std::uint32_t document = 0;
  Draft draft = Draft::k2020_12;
  bool draft_named = false;  // $schema says so, here or around
  std::uint8_t vocabularies = kVocabularyAll;
  bool recursive_anchor = false;  // 2019-09: the root says $recursiveAnchor: true
  std::unordered_map<std::string_view, Anchor> anchors = {};
};

// Not thread-safe; part of one compilation.
class SchemaResources {
 public:
  struct Target {
    JsonIndex place;
    ResourceId resource;
    std::string_view dynamic_anchor = {};  // if it was named by one
  };

  SchemaResources(JsonTree& tree, std::vector<SchemaGraph::Document>& documents,
                  const SchemaOptions& options, const GuidedLimits& limits, FindingSink& sink)
      : tree_(tree), documents_(documents), options_(options), limits_(limits), sink_(sink) {}

  // Reads the tenant's schema, which becomes document and resource 0. False with findings.
  bool open(std::string_view json);

  const SchemaResource& operator[](ResourceId id) const { return resources_[id]; }
  // The resource that begins at this place, if one does.
  std::optional<ResourceId> beginning_at(JsonIndex place) const;
  // The innermost resource around a place.
  ResourceId around(JsonIndex place) const;
  // Where the reference leads that stands at `place` (a string) in `resource`. nullopt with a
  // finding if nowhere. A document may be read on the way, so the tree may have grown.
  std::optional<Target> resolve(JsonIndex place, std::string_view keyword, ResourceId resource);
  bool any_dynamic() const { return any_dynamic_; }

 private:
  std::optional<ResourceId> open_document(const std::string& uri,
                                          std::shared_ptr<const std::string> text);
  std::optional<ResourceId> load(const std::string& uri);
  const std::string* bundled(const std::string& uri) const;
  bool worth_scanning(JsonIndex root) const;
  void scan(ResourceId root);
  ResourceId scan_object(JsonIndex object, ResourceId resource);
  ResourceId read_id(JsonIndex object, ResourceId resource);
  void read_anchors(JsonIndex object, ResourceId resource);
  void read_dialect(JsonIndex object, ResourceId resource);
  void read_vocabularies(JsonIndex metaschema, JsonIndex place, SchemaResource& resource);
  ResourceId add(SchemaResource resource);
  bool afford_uri(JsonIndex place, std::string_view uri);
  std::optional<Target> follow_fragment(ResourceId resource, std::string_view fragment);
  JsonIndex document_root(JsonIndex place) const;
  JsonIndex follow_pointer(JsonIndex from, std::string_view pointer) const;

  JsonTree& tree_;
  std::vector<SchemaGraph::Document>& documents_;
  const SchemaOptions& options_;
  const GuidedLimits& limits_;
  FindingSink& sink_;
  std::vector<SchemaResource> resources_;
  std::unordered_map<std::string, ResourceId> by_uri_;
  std::unordered_map<JsonIndex, ResourceId> by_root_;
  std::size_t source_bytes_ = 0;
  std::size_t uri_bytes_ = 0;
  bool any_dynamic_ = false;
};

}  // namespace tessera::guided

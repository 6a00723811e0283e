#include <charconv>
#include <utility>

#include "engine/guided/schema_metaschemas.hpp"
#include "engine/guided/schema_resources.hpp"
#include "engine/guided/schema_uri.hpp"

namespace tessera::guided {
namespace {

std::string quoted(std::string_view text) {
  return "'" + brief(std::string(text)) + "'";
}

}  // namespace

const std::string* SchemaResources::bundled(const std::string& uri) const {
  for (const auto& [name, text] : options_.documents) {
    if (name == uri) return &text;
  }
  return nullptr;
}

std::optional<ResourceId> SchemaResources::load(const std::string& uri) {
  const auto known = by_uri_.find(uri);
  if (known != by_uri_.end()) return known->second;
  if (const std::string* text = bundled(uri)) {
    return open_document(uri, std::make_shared<const std::string>(*text));
  }
  if (const auto draft = draft_named(uri)) return open_document(uri, metaschema_text(*draft));
  return std::nullopt;
}

std::optional<SchemaResources::Target> SchemaResources::resolve(JsonIndex place,
                                                                std::string_view keyword,
                                                                ResourceId resource) {
  if (tree_[place].kind != JsonKind::kString) {
    sink_.add(place, keyword, "must be a string", FindingKind::kInvalid);
    return std::nullopt;
  }
  const std::string_view text = tree_[place].text;
  const SplitUri reference = split_fragment(text);
  ResourceId to = resource;
  if (!reference.uri.empty()) {
    const std::size_t told = sink_.findings.size();
    const auto loaded = load(resolve_uri(resources_[resource].uri, reference.uri));
    if (!loaded && sink_.findings.size() != told) return std::nullopt;  // no schema; said there
    if (!loaded) {
      sink_.add(place, keyword,
                quoted(text) +
                    " is not part of this schema, and nothing is fetched; put it into "
                    "$defs with its $id",
                FindingKind::kUnsupported);
      return std::nullopt;
    }
    to = *loaded;
  }
  auto target = follow_fragment(to, reference.fragment);
  if (!target) {
    sink_.add(place, keyword, quoted(text) + " leads nowhere", FindingKind::kInvalid);
  }
  return target;
}

// A pointer is one from the resource's root. Many schemas give their parts ids without meaning to
// move the base, and point from the document's root all the same: where the first leads nowhere,
// the second is what is meant.
std::optional<SchemaResources::Target> SchemaResources::follow_fragment(ResourceId resource,
                                                                        std::string_view fragment) {
  const JsonIndex root = resources_[resource].root;
  if (fragment.empty()) return Target{root, resource};
  std::optional<std::string> decoded;
  if (fragment.find('%') != std::string_view::npos) {
    decoded = percent_decode(fragment);
    if (decoded) fragment = *decoded;
  }
  if (fragment.starts_with('/')) {
    JsonIndex place = follow_pointer(root, fragment);
    if (place == kNoJson) place = follow_pointer(document_root(root), fragment);
    if (place == kNoJson) return std::nullopt;
    return Target{place, around(place)};
  }
  const auto& anchors = resources_[resource].anchors;
  const auto anchor = anchors.find(fragment);
  if (anchor == anchors.end()) return std::nullopt;
  return Target{anchor->second.place, resource,
                anchor->second.dynamic ? anchor->first : std::string_view()};
}

JsonIndex SchemaResources::document_root(JsonIndex place) const {
  while (tree_[place].parent != kNoJson) place = tree_[place].parent;
  return place;
}

JsonIndex SchemaResources::follow_pointer(JsonIndex from, std::string_view pointer) const {
  std::string unescaped;
  while (!pointer.empty() && from != kNoJson) {
    pointer.remove_prefix(1);
    std::string_view token = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(token.size());
    if (token.find('~') != std::string_view::npos) {
      unescaped.clear();
      for (std::size_t i = 0; i < token.size(); ++i) {
        const bool escape =
            token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1');
        unescaped.push_back(!escape ? token[i] : token[i + 1] == '0' ? '~' : '/');
        i += escape ? 1 : 0;
      }
      token = unescaped;
    }
    if (tree_[from].kind == JsonKind::kObject) {
      from = tree_.find(from, token);
      continue;
    }
    std::size_t position = 0;
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), position);
    const bool is_number = error == std::errc{} && end == token.data() + token.size() &&
                           (token == "0" || token[0] != '0');
    from = is_number ? tree_.item(from, position) : kNoJson;
  }
  return from;
}

}  // namespace tessera::guided

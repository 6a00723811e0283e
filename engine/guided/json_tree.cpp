#include <algorithm>

#include "engine/guided/json_reader.hpp"

namespace tessera::guided {

const std::vector<JsonIndex>& JsonTree::children_of(JsonIndex container) const {
  const auto [entry, is_new] = indexes_.try_emplace(container);
  std::vector<JsonIndex>& children = entry->second;
  if (!is_new) return children;
  children.reserve(nodes_[container].count);
  for (JsonIndex at = container + 1; at != nodes_[container].next; at = nodes_[at].next) {
    children.push_back(at);
  }
  if (nodes_[container].kind != JsonKind::kObject) return children;
  std::sort(children.begin(), children.end(),
            [&](JsonIndex a, JsonIndex b) { return name_less(nodes_[a].name, nodes_[b].name); });
  return children;
}

JsonIndex JsonTree::find(JsonIndex object, std::string_view name) const {
  const JsonNode& node = nodes_[object];
  if (node.kind != JsonKind::kObject) return kNoJson;
  if (node.count < kIndexedFrom) {
    for (JsonIndex at = object + 1; at != node.next; at = nodes_[at].next) {
      if (nodes_[at].name == name) return at;
    }
    return kNoJson;
  }
  const std::vector<JsonIndex>& members = children_of(object);
  const auto found = std::lower_bound(
      members.begin(), members.end(), name,
      [&](JsonIndex at, std::string_view wanted) { return name_less(nodes_[at].name, wanted); });
  return found != members.end() && nodes_[*found].name == name ? *found : kNoJson;
}

JsonIndex JsonTree::item(JsonIndex array, std::size_t position) const {
  const JsonNode& node = nodes_[array];
  if (node.kind != JsonKind::kArray || position >= node.count) return kNoJson;
  if (node.count >= kIndexedFrom) return children_of(array)[position];
  JsonIndex at = array + 1;
  for (std::size_t i = 0; i < position; ++i) at = nodes_[at].next;
  return at;
}

JsonIndex JsonTree::at_offset(std::size_t offset) const {
  const auto found = std::lower_bound(
      nodes_.begin(), nodes_.end(), offset,
      [](const JsonNode& node, std::size_t wanted) { return node.offset < wanted; });
  if (found == nodes_.end() || found->offset != offset) return kNoJson;
  return static_cast<JsonIndex>(found - nodes_.begin());
}

std::string JsonTree::pointer(JsonIndex at) const {
  std::vector<JsonIndex> path;
  for (; nodes_[at].parent != kNoJson; at = nodes_[at].parent) path.push_back(at);
  std::string pointer;
  for (auto step = path.rbegin(); step != path.rend(); ++step) {
    pointer.push_back('/');
    const JsonIndex parent = nodes_[*step].parent;
    if (nodes_[parent].kind == JsonKind::kArray) {
      std::size_t position = 0;
      for (JsonIndex i = parent + 1; i != *step; i = nodes_[i].next) ++position;
      pointer += std::to_string(position);
      continue;
    }
    for (const char byte : nodes_[*step].name) {
      if (byte == '~')
        pointer += "~0";
      else if (byte == '/')
        pointer += "~1";
      else
        pointer.push_back(byte);
    }
  }
  return pointer;
}

}  // namespace tessera::guided

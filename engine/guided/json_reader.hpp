// json_reader.hpp — a JSON text as a flat tree: order kept, numbers as written, every byte's place.
//
// Made for schemas, which are hostile input and whose faults are told by place: one pass, no
// recursion, nodes in the order of the text in one array (a node's children follow it; `next` leads
// past them), strings without escapes are views of the source. A member's name given twice is a
// finding: JSON leaves open which would count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/guided/guided_finding.hpp"
#include "engine/guided/value_table.hpp"

namespace tessera::guided {

using JsonIndex = std::uint32_t;
inline constexpr JsonIndex kNoJson = ~JsonIndex{0};

// For findings: text of the tenant's, cut between code points if it is longer than `max_bytes`.
std::string brief(std::string text, std::size_t max_bytes = 500);

struct JsonNode {
  JsonKind kind = JsonKind::kNull;
  bool boolean = false;
  std::uint32_t offset = 0;    // of its first byte in its source
  JsonIndex parent = kNoJson;  // kNoJson at a root
  JsonIndex next = 0;          // the first node after this one and all within
  std::uint32_t count = 0;     // items or members
  std::string_view text = {};  // a string decoded; a number as written
  std::string_view name = {};  // as a member, decoded
};

// Not thread-safe. Move-only: its views point into it and into the sources.
class JsonTree {
 public:
  JsonTree() = default;
  JsonTree(JsonTree&&) = default;
  JsonTree& operator=(JsonTree&&) = default;

  // Reads one more text, which must outlive the tree, and returns its root; nullopt with findings
  // if it is no JSON (RFC 8259), not UTF-8, deeper than `max_depth`, or names a member twice. A
  // lone surrogate as an escape is a finding too: no text of a model could ever match it.
  std::optional<JsonIndex> append(std::string_view source, int max_depth, std::size_t max_findings,
                                  GuidedFindings& findings);

  const JsonNode& operator[](JsonIndex at) const { return nodes_[at]; }
  std::size_t size() const { return nodes_.size(); }
  JsonIndex first_child(JsonIndex at) const { return at + 1; }
  // The member of an object with that name, the item of an array; kNoJson if there is none. Large
  // ones are indexed when they are first asked.
  JsonIndex find(JsonIndex object, std::string_view name) const;
  JsonIndex item(JsonIndex array, std::size_t position) const;
  // The JSON pointer (RFC 6901) from its root. Counts along the way: for findings.
  std::string pointer(JsonIndex at) const;
  // Of a tree of one text: the node that begins at that byte; kNoJson if none does.
  JsonIndex at_offset(std::size_t offset) const;

 private:
  class Reader;

  // An order of names, the cheapest: by length first.
  static bool name_less(std::string_view a, std::string_view b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  }
  static constexpr std::uint32_t kIndexedFrom = 16;  // children; fewer are compared one by one

  const std::vector<JsonIndex>& children_of(JsonIndex container) const;

  std::vector<JsonNode> nodes_;
  std::deque<std::string> decoded_;  // strings that had escapes
  // Children of large containers: of an object by name, of an array in order.
  mutable std::unordered_map<JsonIndex, std::vector<JsonIndex>> indexes_;
};

}  // namespace tessera::guided

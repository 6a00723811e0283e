#include "engine/guided/finding_sink.hpp"

#include <algorithm>

namespace tessera::guided {

void FindingSink::add(JsonIndex place, std::string_view keyword, std::string reason,
                      FindingKind kind) {
  if (full()) return;
  findings.push_back({.pointer = pointer(place),
                      .keyword = brief(std::string(keyword)),
                      .reason = std::move(reason),
                      .offset = tree_[place].offset,
                      .kind = kind});
}

std::string FindingSink::pointer(JsonIndex place) const {
  std::string prefix;
  for (const auto& [root, uri] : roots_) {
    if (root <= place && !uri.empty()) prefix = uri + "#";
  }
  return brief(prefix + tree_.pointer(place));
}

GuidedFindings FindingSink::in_order() {
  std::ranges::stable_sort(findings, {}, &GuidedFinding::offset);
  return std::move(findings);
}

}  // namespace tessera::guided

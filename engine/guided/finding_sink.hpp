// finding_sink.hpp — the findings of one compilation, as they are met.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/guided/guided_finding.hpp"
#include "engine/guided/json_reader.hpp"

namespace tessera::guided {

// Keeps the first `max`. Names places of the tree, which outlives it, by pointer.
class FindingSink {
 public:
  FindingSink(const JsonTree& tree, std::size_t max) : tree_(tree), max_(max) {}

  // Places from `root` on belong to the document of that name; the tenant's own has none.
  void begin_document(JsonIndex root, std::string uri) {
    roots_.emplace_back(root, std::move(uri));
  }
  void add(JsonIndex place, std::string_view keyword, std::string reason, FindingKind kind);
  std::string pointer(JsonIndex place) const;
  bool full() const { return findings.size() >= max_; }
  GuidedFindings in_order();  // of the text; the sink is done with

  GuidedFindings findings;

 private:
  const JsonTree& tree_;
  std::size_t max_;
  std::vector<std::pair<JsonIndex, std::string>> roots_;  // ascending
};

}  // namespace tessera::guided

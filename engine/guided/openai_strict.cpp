#include "engine/guided/openai_strict.hpp"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/guided/json_reader.hpp"
#include "engine/guided/schema_keywords.hpp"

namespace tessera::guided {
namespace {

// One walk over every place where a schema stands.
class StrictCheck {
 public:
  explicit StrictCheck(const GuidedLimits& limits) : limits_(limits) {}

  GuidedFindings run(std::string_view json) {
    const auto root = tree_.append(json, limits_.max_source_depth, limits_.max_findings, findings_);
    if (!root) return std::move(findings_);
    if (!says_object(*root)) add(*root, "type", "the root must be an object");
    open_.push_back({*root, 0});
    while (!open_.empty() && findings_.size() < limits_.max_findings) {
      const auto [place, level] = open_.back();
      open_.pop_back();
      if (tree_[place].kind == JsonKind::kObject) visit(place, level);
    }
    check_totals(*root);
    std::ranges::stable_sort(findings_, {}, &GuidedFinding::offset);
    return std::move(findings_);
  }

 private:
  void add(JsonIndex place, std::string_view keyword, std::string reason) {
    if (findings_.size() >= limits_.max_findings) return;
    findings_.push_back({.pointer = brief(tree_.pointer(place)),
                         .keyword = std::string(keyword),
                         .reason = "strict: " + std::move(reason),
                         .offset = tree_[place].offset});
  }

  bool says_object(JsonIndex schema) const {
    if (tree_.find(schema, "properties") != kNoJson) return true;
    const JsonIndex type = tree_.find(schema, "type");
    if (type == kNoJson) return false;
    for (JsonIndex at = type; at != tree_[type].next; ++at) {
      if (tree_[at].text == "object") return true;
    }
    return false;
  }

  void visit(JsonIndex schema, int level) {
    if (says_object(schema)) {
      if (++level == OpenAiStrictLimits::kMaxLevels + 1) {
        add(schema, "", "objects are nested deeper than 10 levels");
      }
      check_object(schema);
    }
    for (JsonIndex at = schema + 1; at != tree_[schema].next; at = tree_[at].next) {
      const KeywordInfo* info = find_keyword(tree_[at].name);
      if (info == nullptr) continue;
      if (info->keyword == Keyword::kEnum || info->keyword == Keyword::kConst) count_values(at);
      if (info->subschemas == Subschemas::kNowhere) continue;
      const bool members = info->subschemas == Subschemas::kMembers;
      if (!members && tree_[at].kind == JsonKind::kObject) open_.emplace_back(at, level);
      if (!members && tree_[at].kind != JsonKind::kArray) continue;
      for (JsonIndex in = at + 1; in != tree_[at].next; in = tree_[in].next) {
        open_.emplace_back(in, level);
        name_bytes_ += tree_[in].name.size();
      }
    }
  }

  void check_object(JsonIndex schema) {
    const JsonIndex closed = tree_.find(schema, "additionalProperties");
    if (closed == kNoJson || tree_[closed].kind != JsonKind::kBoolean || tree_[closed].boolean) {
      add(closed == kNoJson ? schema : closed, "additionalProperties", "must be given as false");
    }
    const JsonIndex properties = tree_.find(schema, "properties");
    if (properties == kNoJson) return;
    num_properties_ += tree_[properties].count;
    std::unordered_set<std::string_view> required;
    if (const JsonIndex list = tree_.find(schema, "required"); list != kNoJson) {
      for (JsonIndex at = list + 1; at < tree_[list].next; ++at) required.insert(tree_[at].text);
    }
    for (JsonIndex at = properties + 1; at != tree_[properties].next; at = tree_[at].next) {
      if (required.contains(tree_[at].name)) continue;
      add(at, "required",
          "every property must be listed in 'required'; a null type makes it optional");
    }
  }

  void count_values(JsonIndex list) {
    if (tree_[list].kind == JsonKind::kArray) num_values_ += tree_[list].count;
    for (JsonIndex at = list; at != tree_[list].next; ++at) name_bytes_ += tree_[at].text.size();
  }

  void check_totals(JsonIndex root) {
    if (num_properties_ > OpenAiStrictLimits::kMaxProperties) {
      add(root, "properties", "more than 5000 properties in all");
    }
    if (num_values_ > OpenAiStrictLimits::kMaxEnumValues) {
      add(root, "enum", "more than 1000 enum values in all");
    }
    if (name_bytes_ > OpenAiStrictLimits::kMaxNameBytes) {
      add(root, "", "names and enum values have more than 120000 characters in all");
    }
  }

  const GuidedLimits& limits_;
  JsonTree tree_;
  GuidedFindings findings_;
  std::vector<std::pair<JsonIndex, int>> open_;
  std::size_t num_properties_ = 0;
  std::size_t num_values_ = 0;
  std::size_t name_bytes_ = 0;
};

}  // namespace

GuidedFindings check_openai_strict(std::string_view json, const GuidedLimits& limits) {
  return StrictCheck(limits).run(json);
}

}  // namespace tessera::guided

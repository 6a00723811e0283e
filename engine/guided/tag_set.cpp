#include "engine/guided/tag_set.hpp"

#include <algorithm>
#include <utility>

namespace tessera::guided {
namespace {

GuidedFinding finding(std::string pointer, std::string keyword, std::string reason) {
  return {
      .pointer = std::move(pointer), .keyword = std::move(keyword), .reason = std::move(reason)};
}

}  // namespace

std::variant<std::unique_ptr<TagSet>, GuidedFindings> TagSet::make(
    const TagRules& rules, const BodyRecognizerMaker& make_body, const GuidedLimits& limits) {
  std::unique_ptr<TagSet> set(new TagSet());
  GuidedFindings findings;
  if (rules.tags.empty()) findings.push_back(finding("/tags", "tags", "There are no tags."));
  for (const Tag& tag : rules.tags)
    set->entries_.push_back({nullptr, tag.begin, tag.end, tag.begin_token, tag.end_token});
  for (TagIndex tag = 0; tag < set->size(); ++tag) set->add_begin(tag);
  if (rules.free_text) set->check_triggers(rules, findings);
  for (TagIndex tag = 0; tag < set->size(); ++tag) set->check_tag(rules, tag, findings);
  set->make_bodies(rules, make_body, limits.max_findings, findings);
  if (findings.empty()) return set;
  if (findings.size() > limits.max_findings) findings.resize(limits.max_findings);
  return findings;
}

void TagSet::add_begin(TagIndex tag) {
  const Entry& entry = entries_[tag];
  std::uint32_t node = kTextRoot;
  if (entry.begin_token) {
    const auto [root, is_new] =
        token_roots_.try_emplace(*entry.begin_token, static_cast<std::uint32_t>(begins_.size()));
    if (is_new) begins_.emplace_back();
    node = root->second;
  }
  for (const char c : entry.begin) {
    const auto byte = static_cast<std::uint8_t>(c);
    std::uint32_t next = step(node, byte);
    if (next == kNoBegin) {
      next = static_cast<std::uint32_t>(begins_.size());
      auto& edges = begins_[node].next;
      edges.insert(std::ranges::lower_bound(edges, std::pair(byte, std::uint32_t{0})),
                   {byte, next});
      begins_.emplace_back();
    }
    node = next;
  }
  begins_[node].tags.push_back(tag);
}

std::uint32_t TagSet::step(std::uint32_t node, std::uint8_t byte) const {
  const auto& edges = begins_[node].next;
  const auto at = std::ranges::lower_bound(edges, std::pair(byte, std::uint32_t{0}));
  return at != edges.end() && at->first == byte ? at->second : kNoBegin;
}

std::uint32_t TagSet::root_of(TokenId token) const {
  const auto root = token_roots_.find(token);
  return root != token_roots_.end() ? root->second : kNoBegin;
}

std::uint32_t TagSet::find(std::string_view begin) const {
  std::uint32_t node = kTextRoot;
  for (const char c : begin) {
    node = step(node, static_cast<std::uint8_t>(c));
    if (node == kNoBegin) break;
  }
  return node;
}

void TagSet::check_triggers(const TagRules& rules, GuidedFindings& findings) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < rules.triggers.size(); ++i) {
    const std::string& trigger = rules.triggers[i];
    const std::string pointer = "/triggers/" + std::to_string(i);
    bytes += trigger.size();
    trigger_begins_.push_back(find(trigger));
    if (trigger.empty()) {
      findings.push_back(finding(pointer, "triggers", "A trigger is not empty."));
    } else if (trigger_begins_.back() == kNoBegin) {
      findings.push_back(
          finding(pointer, "triggers", "No tag begins with the trigger '" + trigger + "'."));
    }
  }
  if (bytes > kMaxTriggerBytes)
    findings.push_back(
        finding("/triggers", "triggers",
                "The triggers have more than " + std::to_string(kMaxTriggerBytes) + " bytes."));
  if (findings.empty()) triggers_ = TagTriggers(rules.triggers);
}

// A tag that free text cannot lead to would never be generated.
void TagSet::check_tag(const TagRules& rules, TagIndex tag, GuidedFindings& findings) const {
  const Entry& entry = entries_[tag];
  const std::string pointer = "/tags/" + std::to_string(tag);
  if (entry.begin_token) return;
  if (entry.begin.empty()) {
    findings.push_back(finding(pointer, "begin", "A tag begins with a text or a special token."));
  } else if (rules.free_text && findings.empty()) {
    TagTriggers::State state = TagTriggers::kRoot;
    std::size_t read = 0;
    while (read < entry.begin.size() && triggers_.found(state).empty())
      state = triggers_.step(state, static_cast<std::uint8_t>(entry.begin[read++]));
    const bool its_own = std::ranges::any_of(triggers_.found(state), [&](std::uint32_t trigger) {
      return entry.begin.starts_with(rules.triggers[trigger]);
    });
    if (its_own) return;
    const bool none = triggers_.found(state).empty();
    findings.push_back(finding(pointer, "begin",
                               none ? "None of the triggers begins this tag."
                                    : "Another trigger within its begin comes first."));
  }
}

// Tags that share a body (the same object) share its recognizer.
void TagSet::make_bodies(const TagRules& rules, const BodyRecognizerMaker& make_body,
                         std::size_t limit, GuidedFindings& findings) {
  std::map<const ConstraintSpec*, Recognizer*> made;
  for (TagIndex tag = 0; tag < size() && findings.size() < limit; ++tag) {
    const std::string pointer = "/tags/" + std::to_string(tag);
    const ConstraintSpec* spec = rules.tags[tag].body.get();
    if (spec == nullptr) {
      findings.push_back(finding(pointer, "body", "This tag has no body."));
      continue;
    }
    if (const auto known = made.find(spec); known != made.end()) {
      entries_[tag].body = known->second;
      continue;
    }
    auto body = make_body(*spec);
    if (auto* wrong = std::get_if<GuidedFindings>(&body)) {
      for (GuidedFinding& one : *wrong) {
        const bool plain = !one.pointer.empty() && one.pointer[0] != '/';
        one.pointer = pointer + (plain ? "/" : "") + one.pointer;
        findings.push_back(std::move(one));
      }
      continue;
    }
    bodies_.push_back(std::get<std::unique_ptr<Recognizer>>(std::move(body)));
    entries_[tag].body = made[spec] = bodies_.back().get();
    if (bodies_.back()->start().dead())
      findings.push_back(finding(pointer, "body", "Nothing can be this tag's body."));
  }
}

std::size_t TagSet::bytes() const {
  std::size_t total = triggers_.bytes() + begins_.capacity() * sizeof(TagBegin);
  for (const TagBegin& begin : begins_) total += begin.next.size() * sizeof(begin.next[0]);
  for (const auto& body : bodies_) total += body->bytes();
  return total;
}

}  // namespace tessera::guided

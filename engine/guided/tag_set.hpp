// tag_set.hpp — the tags of a constraint, checked: their begins as a trie, their bodies made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/guided/constraint.hpp"
#include "engine/guided/fuel.hpp"
#include "engine/guided/guided_finding.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/tag_recognizer.hpp"
#include "engine/guided/tag_triggers.hpp"

namespace tessera::guided {

using TagIndex = std::uint32_t;

// A place in the begins of tags: what was read of them, shared by all that begin so.
struct TagBegin {
  std::vector<std::pair<std::uint8_t, std::uint32_t>> next;  // by byte, sorted
  std::vector<TagIndex> tags;                                // whose begin is complete here
};

// Immutable once made, but for the bodies, which are recognizers.
class TagSet {
 public:
  static constexpr std::uint32_t kNoBegin = ~std::uint32_t{0};
  static constexpr std::uint32_t kTextRoot = 0;  // of the tags that no special token opens
  static constexpr std::size_t kMaxTriggerBytes = 16 << 10;  // of all triggers

  struct Entry {
    Recognizer* body;
    std::string begin;
    std::string end;
    std::optional<TokenId> begin_token;
    std::optional<TokenId> end_token;
  };

  // Findings: triggers and tags that can never be met, and all those of the bodies.
  static std::variant<std::unique_ptr<TagSet>, GuidedFindings> make(
      const TagRules& rules, const BodyRecognizerMaker& make_body, const GuidedLimits& limits);

  const Entry& operator[](TagIndex tag) const { return entries_[tag]; }
  std::size_t size() const { return entries_.size(); }
  const TagBegin& begin(std::uint32_t node) const { return begins_[node]; }
  std::uint32_t step(std::uint32_t node, std::uint8_t byte) const;  // kNoBegin if there is none
  std::uint32_t root_of(TokenId token) const;  // of the tags it opens; kNoBegin if there are none
  const std::map<TokenId, std::uint32_t>& token_roots() const { return token_roots_; }
  const TagTriggers& triggers() const { return triggers_; }
  // Where the begins stand that a found trigger leads to.
  std::uint32_t begin_of_trigger(std::uint32_t trigger) const { return trigger_begins_[trigger]; }
  std::size_t bytes() const;

 private:
  TagSet() : begins_(1) {}

  void check_triggers(const TagRules& rules, GuidedFindings& findings);
  void check_tag(const TagRules& rules, TagIndex tag, GuidedFindings& findings) const;
  void make_bodies(const TagRules& rules, const BodyRecognizerMaker& make_body, std::size_t limit,
                   GuidedFindings& findings);
  void add_begin(TagIndex tag);
  std::uint32_t find(std::string_view begin) const;

  std::vector<Entry> entries_;
  std::vector<std::unique_ptr<Recognizer>> bodies_;
  std::vector<TagBegin> begins_;
  std::map<TokenId, std::uint32_t> token_roots_;
  TagTriggers triggers_;
  std::vector<std::uint32_t> trigger_begins_;
};

}  // namespace tessera::guided

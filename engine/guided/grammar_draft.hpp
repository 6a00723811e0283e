// grammar_draft.hpp — a grammar as it was written: what both front ends make.
//
// Rules are trees of expressions over regular languages. Nothing has been decided yet about what
// becomes a lexeme and what a production; lower_grammar (grammar.hpp) does that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/guided/fuel.hpp"
#include "engine/guided/guided_finding.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

using ExprId = std::uint32_t;

struct GrammarExpr {
  enum class Kind : std::uint8_t {
    kRegex,      // a text of `regex`
    kReference,  // a text of rule `index`
    kDocument,   // a text of child `index`
    kSequence,   // `parts`, one after the other; no parts: the empty text
    kChoice,     // one of `parts`
    kRepeat,     // parts[0], `min` to `max` times
  };

  Kind kind = Kind::kSequence;
  RegexId regex = RegexPool::kNothing;
  std::uint32_t index = 0;
  std::uint32_t min = 0;
  std::uint32_t max = RegexPool::kUnbounded;
  std::vector<ExprId> parts = {};
  std::size_t offset = 0;  // byte in the source
};

struct GrammarRule {
  std::string name;
  bool terminal = false;  // one lexeme, whatever it is made of
  std::optional<ExprId> body = {};
  std::size_t offset = 0;  // where it is defined, or else first asked for
};

struct GrammarDraft {
  std::vector<GrammarExpr> exprs;
  std::vector<GrammarRule> rules;
  std::unordered_map<std::string, std::uint32_t> rule_index;
  std::vector<std::uint32_t> ignored;  // terminals that may stand between any two lexemes
  std::vector<std::unique_ptr<Recognizer>> children;
  std::uint32_t start = 0;

  ExprId add(GrammarExpr expr) {
    exprs.push_back(std::move(expr));
    return static_cast<ExprId>(exprs.size() - 1);
  }
  // The rule of that name, defined or not yet.
  std::uint32_t rule(std::string_view name, std::size_t offset) {
    const auto [it, is_new] =
        rule_index.try_emplace(std::string(name), static_cast<std::uint32_t>(rules.size()));
    if (is_new) rules.push_back({.name = std::string(name), .offset = offset});
    return it->second;
  }
};

// Gathers what is wrong, each with its "line:column"; beyond `limit` nothing is added.
class GrammarFindings {
 public:
  GrammarFindings(std::string_view source, std::size_t limit) : source_(source), limit_(limit) {}

  void add(std::size_t offset, std::string keyword, std::string reason);
  bool empty() const { return findings_.empty(); }
  GuidedFindings take() { return std::move(findings_); }

 private:
  std::string_view source_;
  std::size_t limit_;
  GuidedFindings findings_;
};

}  // namespace tessera::guided

// grammar_regular.hpp — which parts of a grammar are regular, and as what regular language.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/guided/grammar_draft.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// The draft and the pool outlive it; the draft does not change meanwhile.
class RegularParts {
 public:
  // `merge`: rules may become lexemes too, not only terminals. A rule that uses itself only at its
  // end, or only at its beginning, is regular as well (X -> a X | b is a*b; Arden 1961).
  RegularParts(const GrammarDraft& draft, RegexPool& pool, bool merge);

  // The language of a rule that is one lexeme.
  std::optional<RegexId> rule(std::uint32_t index) const { return rules_[index]; }
  // The language of an expression if all of it is one lexeme.
  std::optional<RegexId> expr(ExprId expr);
  bool has_reference(ExprId expr) const;

 private:
  enum class End : std::uint8_t { kRight, kLeft };  // where a rule may use itself

  // The texts of an expression: `with` followed (or preceded) by the rule itself, and `without`.
  struct Linear {
    RegexId with = RegexPool::kNothing;
    RegexId without = RegexPool::kNothing;
  };

  std::vector<std::uint32_t> uses(ExprId expr) const;
  void resolve_all();
  std::optional<RegexId> resolve(std::uint32_t rule);
  std::optional<Linear> linear(ExprId expr, std::uint32_t self, End end);
  std::optional<Linear> linear_sequence(const GrammarExpr& expr, std::uint32_t self, End end);
  std::optional<Linear> linear_choice(const GrammarExpr& expr, std::uint32_t self, End end);
  std::optional<Linear> linear_repeat(const GrammarExpr& expr, std::uint32_t self, End end);
  RegexId join(RegexId first, RegexId second, End end);

  const GrammarDraft& draft_;
  RegexPool& pool_;
  bool merge_;
  std::vector<std::optional<RegexId>> rules_;
  std::vector<std::optional<std::optional<RegexId>>> exprs_;  // once asked for
};

}  // namespace tessera::guided

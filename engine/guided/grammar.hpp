// grammar.hpp — a context-free grammar over lexemes, reduced and laid flat for the Earley rows.
//
// A symbol is a lexeme, a nonterminal or the end of a rule. All rules' right sides lie behind each
// other in `symbols`, each closed by its end with the head in it, so that a dotted rule is one
// index: symbols[dot] is what comes next and dot + 1 is the rule after it. Every lexeme has a text,
// none of them the empty one, and every nonterminal derives some text: hence no item of a row is a
// dead end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/guided/fuel.hpp"
#include "engine/guided/grammar_draft.hpp"
#include "engine/guided/guided_finding.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

using LexemeId = std::uint32_t;
using NonterminalId = std::uint32_t;
using Dot = std::uint32_t;  // index into Grammar::symbols

struct GrammarSymbol {
  enum class Kind : std::uint32_t { kNonterminal = 0, kLexeme = 1, kEnd = 2 };

  Kind kind = Kind::kEnd;
  std::uint32_t index = 0;  // of the lexeme or nonterminal; the head for kEnd

  bool operator==(const GrammarSymbol&) const = default;
  auto operator<=>(const GrammarSymbol&) const = default;
};

struct GrammarLexeme {
  static constexpr std::uint32_t kNoChild = ~std::uint32_t{0};

  RegexId regex = RegexPool::kNothing;
  std::uint32_t child = kNoChild;  // a document of this child instead
};

struct GrammarNonterminal {
  std::vector<Dot> rules;    // the first symbol of each; a rule without symbols is left out
  std::vector<Dot> initial;  // where a derivation may begin: leading nullable symbols skipped
  bool nullable = false;
};

struct Grammar {
  std::vector<GrammarLexeme> lexemes;
  std::vector<LexemeId> ignored;
  std::vector<GrammarSymbol> symbols;
  std::vector<GrammarNonterminal> nonterminals;
  std::vector<std::unique_ptr<Recognizer>> children;
  Dot start = 0;  // the rule (accept) -> (start symbol)

  std::size_t bytes() const;
};

// Without `ignored` text, whatever is regular and not recursive becomes one lexeme, as large as it
// can be: a grammar over characters is then as fast as one over tokens. With it, a terminal is a
// lexeme. Findings: rules that are undefined or derive no text, terminals that use themselves or
// match nothing, and repetitions that are too large.
std::variant<Grammar, GuidedFindings> lower_grammar(GrammarDraft draft, std::string_view source,
                                                    RegexPool& pool, const GuidedLimits& limits);

}  // namespace tessera::guided

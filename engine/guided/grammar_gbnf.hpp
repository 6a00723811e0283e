// grammar_gbnf.hpp — llama.cpp's grammars: name ::= "text" [a-z]+ ( other | ... ){1,3} # comment
#pragma once

#include <string_view>
#include <variant>

#include "engine/guided/grammar_draft.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// The start rule is `root`. A rule ends where the next one begins (name ::=), so that its right
// side may be broken into lines anywhere. Findings: all faults of syntax, one a rule.
std::variant<GrammarDraft, GuidedFindings> parse_gbnf(std::string_view text, RegexPool& pool,
                                                      const GuidedLimits& limits);

}  // namespace tessera::guided

// grammar_lark.hpp — Lark's grammars: rules in lower case, terminals in upper case, EBNF.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "engine/guided/grammar_draft.hpp"
#include "engine/guided/grammar_recognizer.hpp"
#include "engine/guided/regex_pool.hpp"
#include "storage/result.hpp"

namespace tessera::guided {

// The start rule is `start`. Findings: all faults of syntax, at most one a statement, and those of
// embedded schemas.
std::variant<GrammarDraft, GuidedFindings> parse_lark(std::string_view text, RegexPool& pool,
                                                      const GuidedLimits& limits,
                                                      const SchemaRecognizerMaker& make_schema);

// A terminal of Lark's `common` library as a pattern; nullopt if there is none of that name.
std::optional<std::string_view> common_terminal(std::string_view name);

// /pattern/flags as ECMA-262 writes it: `.` is any character but a newline (with s, any), x leaves
// out blanks and comments, i ignores case. \d and \w stay ASCII's. Errors: kUnsupportedParameter
// for flags that cannot be kept (l; m where there is a ^ or $).
Result<std::string> lark_pattern(std::string_view pattern, std::string_view flags);

}  // namespace tessera::guided

// grammar_recognizer.hpp — context-free grammars as recognizers: Lark's syntax and llama.cpp's
// GBNF.
//
// A grammar's language is what its rules derive over lexemes, where a lexeme's text is any string
// of its regular language: a text is accepted if *some* way of cutting it into lexemes derives it.
// There is no maximal munch, so that nothing is refused that the grammar derives; "selectx" is
// SELECT and a name unless the grammar asks for a space between them. Priorities of terminals and
// rules, aliases and the `?`/`!`/`_` marks shape a parse tree and hence change nothing here.
//
// Both front ends tell everything that is wrong at once; a finding's pointer is "line:column".
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <variant>

#include "engine/guided/fuel.hpp"
#include "engine/guided/guided_finding.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

using RecognizerOrFindings = std::variant<std::unique_ptr<Recognizer>, GuidedFindings>;

// Makes the recognizer of the JSON documents of a schema, for `%json { ... }` in a Lark grammar.
using SchemaRecognizerMaker = std::function<RecognizerOrFindings(std::string_view schema)>;

// `pool` and `fuel` (the pool's) outlive the recognizer. The start rule is `start`. Lark's rules,
// terminals, EBNF operators, %ignore and %import common.* are there; templates, %declare,
// %override, %extend and imports from files are refused by name. FuelExhausted comes through.
RecognizerOrFindings make_lark_recognizer(std::string_view text, RegexPool& pool, Fuel& fuel,
                                          const GuidedLimits& limits,
                                          const SchemaRecognizerMaker& make_schema);

// llama.cpp's dialect; the start rule is `root`. Tokens by name (<think>) are refused.
RecognizerOrFindings make_gbnf_recognizer(std::string_view text, RegexPool& pool, Fuel& fuel,
                                          const GuidedLimits& limits);

}  // namespace tessera::guided

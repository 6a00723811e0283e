#include "engine/guided/grammar_recognizer.hpp"

#include <utility>

#include "engine/guided/earley_recognizer.hpp"
#include "engine/guided/grammar.hpp"
#include "engine/guided/grammar_gbnf.hpp"
#include "engine/guided/grammar_lark.hpp"

namespace tessera::guided {
namespace {

RecognizerOrFindings recognizer_of(std::variant<GrammarDraft, GuidedFindings> parsed,
                                   std::string_view text, RegexPool& pool, Fuel& fuel,
                                   const GuidedLimits& limits) {
  if (auto* findings = std::get_if<GuidedFindings>(&parsed)) return std::move(*findings);
  auto lowered = lower_grammar(std::get<GrammarDraft>(std::move(parsed)), text, pool, limits);
  if (auto* findings = std::get_if<GuidedFindings>(&lowered)) return std::move(*findings);
  return std::make_unique<EarleyRecognizer>(std::get<Grammar>(std::move(lowered)), pool, fuel,
                                            limits);
}

}  // namespace

RecognizerOrFindings make_lark_recognizer(std::string_view text, RegexPool& pool, Fuel& fuel,
                                          const GuidedLimits& limits,
                                          const SchemaRecognizerMaker& make_schema) {
  return recognizer_of(parse_lark(text, pool, limits, make_schema), text, pool, fuel, limits);
}

RecognizerOrFindings make_gbnf_recognizer(std::string_view text, RegexPool& pool, Fuel& fuel,
                                          const GuidedLimits& limits) {
  return recognizer_of(parse_gbnf(text, pool, limits), text, pool, fuel, limits);
}

}  // namespace tessera::guided

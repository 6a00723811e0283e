// tag_recognizer.hpp — free text with marked parts that follow constraints of their own.
//
// In free text a trigger is looked for byte by byte (Aho and Corasick 1975). Once it is complete
// the rest of the begin of one of its tags must follow, then a text of that tag's body, then its
// end; until then every byte is free, so nothing but a broken tag is excluded. A special token has
// no bytes: one that opens a tag is its trigger by itself. Where texts are ambiguous (one begin is
// a prefix of another, a body may contain its own end) all readings are followed at once.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/guided/constraint.hpp"
#include "engine/guided/fuel.hpp"
#include "engine/guided/guided_finding.hpp"
#include "engine/guided/recognizer.hpp"

namespace tessera::guided {

// Makes the recognizer of a tag's body: called once for each distinct body when the tags are
// compiled, so that all findings of all bodies are told before anything is generated.
using BodyRecognizerMaker =
    std::function<std::variant<std::unique_ptr<Recognizer>, GuidedFindings>(const ConstraintSpec&)>;

// `free_tokens`: special tokens that may stand in free text (the vocabulary's but for its end
// tokens; those with which a tag begins are taken out here). Findings: "/tags/3" and the body's own
// pointer behind it, "/triggers/0", ... `fuel` outlives the recognizer; FuelExhausted comes
// through.
std::variant<std::unique_ptr<Recognizer>, GuidedFindings> make_tag_recognizer(
    const TagRules& rules, std::vector<TokenId> free_tokens, const BodyRecognizerMaker& make_body,
    Fuel& fuel, const GuidedLimits& limits);

// Any text up to and with the first `until` or the special token `until_token`, whichever is given
// and comes first. Reasoning.
struct FreeSegment {
  std::string from = {};  // with which it begins, if it has to be opened; empty: it is open
  std::string until = {};
  std::optional<TokenId> until_token = {};
  std::vector<TokenId> free_tokens = {};
};

// A segment and then a text of `then`. One that has to be opened need not be: a text that does not
// begin with all of `from` is one of `then`.
std::unique_ptr<Recognizer> make_free_until_recognizer(FreeSegment segment,
                                                       std::unique_ptr<Recognizer> then);

}  // namespace tessera::guided

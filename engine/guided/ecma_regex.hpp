// ecma_regex.hpp — JSON Schema's `pattern` (ECMA-262, Unicode mode with annex B's leniency).
//
// A pattern is searched for, not matched whole: "a" is every string with an a in it. Lookahead and
// lookbehind become intersections and complements where they can; what is not regular
// (back-references) is refused by name.
#pragma once

#include <string_view>

#include "engine/guided/regex_pool.hpp"
#include "storage/result.hpp"

namespace tessera::guided {

// The language of strings in which `pattern` finds a match. Errors: kInvalidValue (not a regular
// expression; with the byte), kUnsupportedParameter (a construct that cannot be enforced).
Result<RegexId> parse_ecma_search(std::string_view pattern, RegexPool& pool,
                                  const GuidedLimits& limits);
// The language that `pattern` matches as a whole (the `regex` constraint).
Result<RegexId> parse_ecma_whole(std::string_view pattern, RegexPool& pool,
                                 const GuidedLimits& limits);

}  // namespace tessera::guided

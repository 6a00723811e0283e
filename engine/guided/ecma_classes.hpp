// ecma_classes.hpp — the sets of characters that ECMA-262 names.
#pragma once

#include <optional>
#include <string_view>

#include "engine/text/code_point_set.hpp"

namespace tessera::guided {

const CodePointSet& ecma_digits();             // \d
const CodePointSet& ecma_word_characters();    // \w
const CodePointSet& ecma_white_space();        // \s: WhiteSpace and LineTerminator
const CodePointSet& ecma_all_but_line_ends();  // .
// \p{expression}: a general category by either name, a script; nullopt if it is not known here.
std::optional<CodePointSet> ecma_property(std::string_view expression);
// The set with all upper and lower case forms of its letters.
CodePointSet ecma_ignoring_case(const CodePointSet& set);

}  // namespace tessera::guided

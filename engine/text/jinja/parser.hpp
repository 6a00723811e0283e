// parser.hpp — tokens to the tree of ast.hpp.
//
// Recursive descent, in the order of Jinja's own grammar (its parser.py defines the language), so
// that precedence and odd corners agree. Not supported, and refused: include, import, extends,
// block, autoescape, trans, do and recursive loops.
#pragma once

#include <string_view>

#include "engine/text/jinja/ast.hpp"

namespace tessera::jinja {

// Throws Failure (kSyntax) with the line. `depth_max` bounds the nesting of the source.
Template parse(std::string_view source, int depth_max);

}  // namespace tessera::jinja

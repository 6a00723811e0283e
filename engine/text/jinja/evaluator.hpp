// evaluator.hpp — runs a parsed template: one rendering, one evaluator.
#pragma once

#include <string>

#include "engine/text/jinja/ast.hpp"
#include "engine/text/jinja/runtime.hpp"
#include "engine/text/jinja/value.hpp"

namespace tessera::jinja {

// Renders `parsed` with the members of the dict `variables`. Throws Failure.
std::string render(const Template& parsed, const Value& variables, Runtime& runtime);

}  // namespace tessera::jinja

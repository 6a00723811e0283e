// operators.hpp — Python's operators on template values. All fail where Python raises.
#pragma once

#include "engine/text/jinja/ast.hpp"
#include "engine/text/jinja/runtime.hpp"
#include "engine/text/jinja/value.hpp"

namespace tessera::jinja {

Value binary(Runtime& runtime, BinaryOperator op, const Value& left, const Value& right);
Value unary(UnaryOperator op, const Value& operand);
bool compare(Comparison op, const Value& left, const Value& right);

// a < b. Fails if the two have no order.
bool less(const Value& a, const Value& b);
bool contains(const Value& container, const Value& item);  // item in container

}  // namespace tessera::jinja

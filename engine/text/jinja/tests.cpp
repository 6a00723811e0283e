#include <string>

#include "engine/text/jinja/builtins.hpp"
#include "engine/text/jinja/operators.hpp"
#include "engine/text/jinja/python_format.hpp"
#include "engine/text/jinja/python_text.hpp"

namespace tessera::jinja {
namespace {

using Predicate = bool (*)(const Value&);

// A test without arguments.
template <Predicate predicate>
bool plain(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("test", arguments, {});
  return predicate(input);
}

template <Comparison comparison>
bool compares(Runtime&, const Value& input, const Arguments& arguments) {
  return compare(comparison, input, Bound("test", arguments, {"other"}).required(0));
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.boolean() != nullptr;
}
bool is_string(const Value& value) {
  return value.is_string();
}
bool is_mapping(const Value& value) {
  return value.dict() != nullptr;
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_integer(const Value& value) {
  return value.is_integer();
}
bool is_float(const Value& value) {
  return value.floating() != nullptr;
}
bool is_callable(const Value& value) {
  return value.callable() || value.loop();
}
bool is_escaped(const Value& value) {
  return value.is_markup();
}
bool is_true_itself(const Value& value) {
  return value.boolean() && *value.boolean();
}
bool is_false_itself(const Value& value) {
  return value.boolean() && !*value.boolean();
}
bool is_lower_text(const Value& value) {
  return is_lower(to_str(value));
}
bool is_upper_text(const Value& value) {
  return is_upper(to_str(value));
}

// Has a length and is read by index; so views of a dict are none.
bool is_sequence(const Value& value) {
  const bool view = value.sequence() && value.sequence()->form == Sequence::Form::kView;
  return value.is_string() || value.dict() || value.is_undefined() || (value.sequence() && !view);
}

bool is_remainder(Runtime& runtime, const Value& input, std::int64_t divisor, std::int64_t wanted) {
  const Value remainder = binary(runtime, BinaryOperator::kModulo, input, Value(divisor));
  return equal(remainder, Value(wanted));
}

bool is_odd(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("odd", arguments, {});
  return is_remainder(runtime, input, 2, 1);
}

bool is_even(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("even", arguments, {});
  return is_remainder(runtime, input, 2, 0);
}

bool is_divisible_by(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("divisibleby", arguments, {"num"});
  const Value remainder = binary(runtime, BinaryOperator::kModulo, input, bound.required(0));
  return equal(remainder, Value(std::int64_t{0}));
}

bool is_same_as(Runtime&, const Value& input, const Arguments& arguments) {
  return input.is_same_as(Bound("sameas", arguments, {"other"}).required(0));
}

bool is_filter(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("filter", arguments, {});
  return input.string() && find_filter(*input.string());
}

bool is_test(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("test", arguments, {});
  return input.string() && find_test(*input.string());
}

struct Entry {
  std::string_view name;
  TestFunction function;
};

constexpr Entry kTests[] = {
    {"defined", plain<is_defined>},
    {"undefined", plain<is_undefined>},
    {"none", plain<is_none>},
    {"boolean", plain<is_boolean>},
    {"true", plain<is_true_itself>},
    {"false", plain<is_false_itself>},
    {"string", plain<is_string>},
    {"number", plain<is_number>},
    {"integer", plain<is_integer>},
    {"float", plain<is_float>},
    {"mapping", plain<is_mapping>},
    {"iterable", plain<is_iterable>},
    {"sequence", plain<is_sequence>},
    {"callable", plain<is_callable>},
    {"escaped", plain<is_escaped>},
    {"lower", plain<is_lower_text>},
    {"upper", plain<is_upper_text>},
    {"odd", is_odd},
    {"even", is_even},
    {"divisibleby", is_divisible_by},
    {"sameas", is_same_as},
    {"filter", is_filter},
    {"test", is_test},
    {"in", compares<Comparison::kIn>},
    {"eq", compares<Comparison::kEqual>},
    {"equalto", compares<Comparison::kEqual>},
    {"==", compares<Comparison::kEqual>},
    {"ne", compares<Comparison::kNotEqual>},
    {"!=", compares<Comparison::kNotEqual>},
    {"lt", compares<Comparison::kLess>},
    {"lessthan", compares<Comparison::kLess>},
    {"<", compares<Comparison::kLess>},
    {"le", compares<Comparison::kLessEqual>},
    {"<=", compares<Comparison::kLessEqual>},
    {"gt", compares<Comparison::kGreater>},
    {"greaterthan", compares<Comparison::kGreater>},
    {">", compares<Comparison::kGreater>},
    {"ge", compares<Comparison::kGreaterEqual>},
    {">=", compares<Comparison::kGreaterEqual>},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  for (const Entry& entry : kTests) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace tessera::jinja

#include <string>

#include "engine/text/jinja/builtins.hpp"

namespace tessera::jinja {
namespace {

Value default_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound("default", arguments, {"default_value", "boolean"});
  const bool use_default = input.is_undefined() || (bound.flag(1, false) && !is_true(input));
  return use_default ? bound.get(0, "") : input;
}

Value attr(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const auto name = Bound("attr", arguments, {"name"}).text(0);
  if (!name) fail("attr needs a name");
  // Members only, never the items of a dict.
  if (input.dict()) {
    if (auto method = find_dict_method(input, *name)) return *method;
    return Value::undefined("'dict object' has no attribute '" + *name + "'");
  }
  return get_attribute(runtime, input, *name);
}

}  // namespace

FilterFunction find_filter(std::string_view name) {
  if (name == "default" || name == "d") return default_filter;
  if (name == "attr") return attr;
  if (const FilterFunction found = find_text_filter(name)) return found;
  return find_sequence_filter(name);
}

FilterFunction filter_named(std::string_view name) {
  const FilterFunction found = find_filter(name);
  if (!found) fail("No filter named '" + std::string(name) + "'.");
  return found;
}

TestFunction test_named(std::string_view name) {
  const TestFunction found = find_test(name);
  if (!found) fail("No test named '" + std::string(name) + "'.");
  return found;
}

}  // namespace tessera::jinja

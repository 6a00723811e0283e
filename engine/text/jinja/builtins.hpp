// builtins.hpp — the filters, tests, methods and globals that templates find in place.
//
// Each table is searched by name; null means that there is none of that name. They behave as
// Jinja 3.1's in the sandbox as transformers sets it up; methods that would change a value (append,
// pop, update) are unsafe there and give an undefined value that fails when called.
#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/text/jinja/runtime.hpp"
#include "engine/text/jinja/value.hpp"

namespace tessera::jinja {

using FilterFunction = Value (*)(Runtime&, const Value& input, const Arguments&);
using TestFunction = bool (*)(Runtime&, const Value& input, const Arguments&);

FilterFunction find_filter(std::string_view name);           // filters.cpp and the two below
FilterFunction find_text_filter(std::string_view name);      // text_filters.cpp
FilterFunction find_sequence_filter(std::string_view name);  // sequence_filters.cpp
TestFunction find_test(std::string_view name);               // tests.cpp

// The same, failing with Jinja's words if there is none.
FilterFunction filter_named(std::string_view name);
TestFunction test_named(std::string_view name);

// object.name and object[index], as the sandbox resolves them (attributes.cpp).
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);
Value get_item(Runtime& runtime, const Value& object, const Value& index);
Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step);

// A bound method of a str or dict, or undefined (methods.cpp).
std::optional<Value> find_text_method(const Value& text, std::string_view name);
std::optional<Value> find_dict_method(const Value& dict, std::string_view name);
std::optional<Value> find_sequence_method(const Value& sequence, std::string_view name);
std::optional<Value> find_loop_attribute(const Value& loop, std::string_view name);

// range, namespace, dict, raise_exception, strftime_now ... (globals.cpp).
void add_globals(Scope& scope);

// Arguments bound to a function's parameters, in their order: by position, then by name.
class Bound {
 public:
  // Fails if there are too many arguments, or one has an unknown name or is given twice.
  Bound(std::string_view function, const Arguments& arguments,
        std::initializer_list<std::string_view> parameters);

  const Value* find(std::size_t index) const;
  const Value& required(std::size_t index) const;  // fails if it is not given
  Value get(std::size_t index, Value if_absent) const;
  bool flag(std::size_t index, bool if_absent) const;
  std::int64_t integer(std::size_t index, std::int64_t if_absent) const;
  // nullopt if it is absent or None; fails if it is not a string.
  std::optional<std::string> text(std::size_t index) const;

 private:
  std::string function_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace tessera::jinja

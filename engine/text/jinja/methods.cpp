#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/builtins.hpp"
#include "engine/text/jinja/operators.hpp"
#include "engine/text/jinja/python_format.hpp"
#include "engine/text/jinja/python_text.hpp"

namespace tessera::jinja {
namespace {

using TextMethod = Value (*)(Runtime&, const std::string& text, const Arguments&);
using DictMethod = Value (*)(Runtime&, const Dict& dict, const Arguments&);

template <class Function>
struct Named {
  std::string_view name;
  Function function;
};

template <class Table>
auto find_in(const Table& table, std::string_view name) -> decltype(&table[0]) {
  for (const auto& entry : table) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

void refuse_arguments(std::string_view function, const Arguments& arguments) {
  Bound(function, arguments, {});
}

template <Sides sides>
Value strip_method(Runtime&, const std::string& text, const Arguments& arguments) {
  const Bound bound("strip", arguments, {"chars"});
  const auto chars = bound.text(0);
  return std::string(
      strip(text, chars ? std::optional<std::string_view>(*chars) : std::nullopt, sides));
}

template <bool from_right>
Value split_method(Runtime& runtime, const std::string& text, const Arguments& arguments) {
  const Bound bound("split", arguments, {"sep", "maxsplit"});
  const auto separator = bound.text(0);
  if (separator && separator->empty()) fail("empty separator");
  std::vector<Value> parts;
  for (std::string& part :
       split(text, separator ? std::optional<std::string_view>(*separator) : std::nullopt,
             bound.integer(1, -1), from_right)) {
    parts.emplace_back(std::move(part));
  }
  runtime.spend(parts.size());
  return Value::list(std::move(parts));
}

Value splitlines_method(Runtime& runtime, const std::string& text, const Arguments& arguments) {
  const Bound bound("splitlines", arguments, {"keepends"});
  std::vector<Value> lines;
  for (std::string& line : split_lines(text, bound.flag(0, false)))
    lines.emplace_back(std::move(line));
  runtime.spend(lines.size());
  return Value::list(std::move(lines));
}

template <std::string (*function)(std::string_view)>
Value mapped_method(Runtime&, const std::string& text, const Arguments& arguments) {
  refuse_arguments("str method", arguments);
  return function(text);
}

template <bool (*function)(std::string_view)>
Value case_test_method(Runtime&, const std::string& text, const Arguments& arguments) {
  refuse_arguments("str method", arguments);
  return function(text);
}

template <CharClass char_class>
Value class_test_method(Runtime&, const std::string& text, const Arguments& arguments) {
  refuse_arguments("str method", arguments);
  return all_are(text, char_class);
}

// startswith and endswith take one affix or a tuple of them.
template <bool at_end>
Value affix_method(Runtime&, const std::string& text, const Arguments& arguments) {
  const Bound bound(at_end ? "endswith" : "startswith", arguments, {"affix"});
  const Value& affix = bound.required(0);
  const Sequence* tuple = affix.sequence();
  for (const Value& one : tuple ? tuple->items : std::vector<Value>{affix}) {
    if (!one.string()) fail("startswith and endswith need a str or a tuple of str");
    if (at_end ? text.ends_with(*one.string()) : text.starts_with(*one.string())) return true;
  }
  return false;
}

Value replace_method(Runtime& runtime, const std::string& text, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"});
  const auto old = bound.text(0);
  const auto with = bound.text(1);
  if (!old || !with) fail("replace() needs two str");
  runtime.check_size((text.size() + 1) * (with->size() + 1));
  std::string out = replace(text, *old, *with, bound.integer(2, -1));
  runtime.spend_bytes(out.size());
  return out;
}

// Position of a part in code points, or -1.
template <bool from_right>
std::int64_t position_of(const std::string& text, const Arguments& arguments) {
  const Bound bound("find", arguments, {"sub"});
  const auto part = bound.text(0);
  if (!part) fail("find() needs a str");
  const std::size_t at = from_right ? text.rfind(*part) : text.find(*part);
  if (at == std::string::npos) return -1;
  return static_cast<std::int64_t>(characters(std::string_view(text).substr(0, at)).size());
}

template <bool from_right>
Value find_method(Runtime&, const std::string& text, const Arguments& arguments) {
  return position_of<from_right>(text, arguments);
}

template <bool from_right>
Value index_method(Runtime&, const std::string& text, const Arguments& arguments) {
  const std::int64_t at = position_of<from_right>(text, arguments);
  if (at < 0) fail("substring not found");
  return at;
}

Value count_method(Runtime&, const std::string& text, const Arguments& arguments) {
  const Bound bound("count", arguments, {"sub"});
  const auto part = bound.text(0);
  if (!part) fail("count() needs a str");
  if (part->empty()) return static_cast<std::int64_t>(characters(text).size()) + 1;
  std::int64_t count = 0;
  for (std::size_t at = text.find(*part); at != std::string::npos;
       at = text.find(*part, at + part->size())) {
    ++count;
  }
  return count;
}

Value join_method(Runtime& runtime, const std::string& text, const Arguments& arguments) {
  const Bound bound("join", arguments, {"iterable"});
  std::string out;
  bool first = true;
  for (const Value& item : iterate(bound.required(0))) {
    if (!item.string()) fail("join() expected str instances");
    if (!first) out += text;
    out += *item.string();
    runtime.check_size(out.size());
    first = false;
  }
  return out;
}

template <bool prefix>
Value remove_affix_method(Runtime&, const std::string& text, const Arguments& arguments) {
  const Bound bound("removeprefix", arguments, {"affix"});
  const auto affix = bound.text(0);
  if (!affix) fail("removeprefix() needs a str");
  if (prefix ? !text.starts_with(*affix) : !text.ends_with(*affix)) return text;
  return prefix ? text.substr(affix->size()) : text.substr(0, text.size() - affix->size());
}

template <bool from_right>
Value partition_method(Runtime&, const std::string& text, const Arguments& arguments) {
  const Bound bound("partition", arguments, {"sep"});
  const auto separator = bound.text(0);
  if (!separator || separator->empty()) fail("partition() needs a separator");
  const std::size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
  if (at == std::string::npos) {
    return from_right ? Value::tuple({"", "", text}) : Value::tuple({text, "", ""});
  }
  return Value::tuple({text.substr(0, at), *separator, text.substr(at + separator->size())});
}

Value zfill_method(Runtime& runtime, const std::string& text, const Arguments& arguments) {
  const Bound bound("zfill", arguments, {"width"});
  const auto width = static_cast<std::size_t>(std::max<std::int64_t>(bound.integer(0, 0), 0));
  runtime.check_size(width);
  const std::size_t size = characters(text).size();
  const std::string zeros(width > size ? width - size : 0, '0');
  const bool sign = text.starts_with('-') || text.starts_with('+');
  return sign ? text.substr(0, 1) + zeros + text.substr(1) : zeros + text;
}

Value format_method(Runtime& runtime, const std::string& text, const Arguments& arguments) {
  std::string out = format_braces(text, arguments);
  runtime.check_size(out.size());
  return out;
}

constexpr Named<TextMethod> kTextMethods[] = {
    {"strip", strip_method<Sides::kBoth>},
    {"lstrip", strip_method<Sides::kLeft>},
    {"rstrip", strip_method<Sides::kRight>},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", splitlines_method},
    {"upper", mapped_method<upper>},
    {"lower", mapped_method<lower>},
    {"casefold", mapped_method<lower>},
    {"capitalize", mapped_method<capitalize>},
    {"title", mapped_method<title>},
    {"isupper", case_test_method<is_upper>},
    {"islower", case_test_method<is_lower>},
    {"isdigit", class_test_method<CharClass::kDigit>},
    {"isdecimal", class_test_method<CharClass::kDigit>},
    {"isnumeric", class_test_method<CharClass::kNumeric>},
    {"isalpha", class_test_method<CharClass::kAlpha>},
    {"isalnum", class_test_method<CharClass::kAlnum>},
    {"isspace", class_test_method<CharClass::kSpace>},
    {"startswith", affix_method<false>},
    {"endswith", affix_method<true>},
    {"replace", replace_method},
    {"find", find_method<false>},
    {"rfind", find_method<true>},
    {"index", index_method<false>},
    {"rindex", index_method<true>},
    {"count", count_method},
    {"join", join_method},
    {"removeprefix", remove_affix_method<true>},
    {"removesuffix", remove_affix_method<false>},
    {"partition", partition_method<false>},
    {"rpartition", partition_method<true>},
    {"zfill", zfill_method},
    {"format", format_method},
};

Value view(std::vector<Value> items) {
  const Value list = Value::list(std::move(items));
  Sequence out = *list.sequence();
  out.form = Sequence::Form::kView;
  return std::make_shared<const Sequence>(std::move(out));
}

Value get_method(Runtime&, const Dict& dict, const Arguments& arguments) {
  const Bound bound("get", arguments, {"key", "default"});
  const Value* found = dict.find(bound.required(0));
  return found ? *found : bound.get(1, None{});
}

Value items_method(Runtime& runtime, const Dict& dict, const Arguments& arguments) {
  refuse_arguments("items", arguments);
  runtime.spend(dict.items().size());
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict.items()) pairs.push_back(Value::tuple({key, value}));
  return view(std::move(pairs));
}

Value keys_method(Runtime& runtime, const Dict& dict, const Arguments& arguments) {
  refuse_arguments("keys", arguments);
  runtime.spend(dict.items().size());
  std::vector<Value> keys;
  for (const auto& [key, value] : dict.items()) keys.push_back(key);
  return view(std::move(keys));
}

Value values_method(Runtime& runtime, const Dict& dict, const Arguments& arguments) {
  refuse_arguments("values", arguments);
  runtime.spend(dict.items().size());
  std::vector<Value> values;
  for (const auto& [key, value] : dict.items()) values.push_back(value);
  return view(std::move(values));
}

Value copy_method(Runtime&, const Dict& dict, const Arguments& arguments) {
  refuse_arguments("copy", arguments);
  return std::make_shared<const Dict>(dict);
}

constexpr Named<DictMethod> kDictMethods[] = {{"get", get_method},
                                              {"items", items_method},
                                              {"keys", keys_method},
                                              {"values", values_method},
                                              {"copy", copy_method}};

Value index_in(const std::vector<Value>& items, const Value& wanted) {
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const Value& item) { return equal(item, wanted); });
  if (found == items.end()) fail(to_repr(wanted) + " is not in the sequence");
  return static_cast<std::int64_t>(found - items.begin());
}

Value count_in(const std::vector<Value>& items, const Value& wanted) {
  return static_cast<std::int64_t>(std::count_if(
      items.begin(), items.end(), [&](const Value& item) { return equal(item, wanted); }));
}

Value loop_cycle(const Loop& loop, const Arguments& arguments) {
  if (arguments.positional.empty()) fail("no items for cycling given");
  return arguments.positional[loop.index % arguments.positional.size()];
}

Value loop_changed(Loop& loop, const Arguments& arguments) {
  const Value now = Value::tuple(arguments.positional);
  const bool changed = !loop.last_changed || !equal(*loop.last_changed, now);
  loop.last_changed = now;
  return changed;
}

}  // namespace

std::optional<Value> find_text_method(const Value& text, std::string_view name) {
  const auto* entry = find_in(kTextMethods, name);
  if (!entry) return std::nullopt;
  const TextMethod method = entry->function;
  return make_callable(std::string(name), [text, method](Runtime& runtime, Arguments arguments) {
    const Value result = method(runtime, *text.string(), arguments);
    // Markup stays markup through the methods of str.
    const bool keeps = text.is_markup() && result.is_string();
    return keeps ? Value(*result.string(), true) : result;
  });
}

std::optional<Value> find_dict_method(const Value& dict, std::string_view name) {
  const auto* entry = find_in(kDictMethods, name);
  if (!entry) return std::nullopt;
  const DictMethod method = entry->function;
  return make_callable(std::string(name), [dict, method](Runtime& runtime, Arguments arguments) {
    return method(runtime, *dict.dict(), arguments);
  });
}

std::optional<Value> find_sequence_method(const Value& sequence, std::string_view name) {
  if (sequence.sequence()->form == Sequence::Form::kView) return std::nullopt;
  if (name != "index" && name != "count") return std::nullopt;
  const auto method = name == "index" ? index_in : count_in;
  return make_callable(std::string(name), [sequence, method](Runtime&, Arguments arguments) {
    return method(sequence.sequence()->items, Bound("index", arguments, {"value"}).required(0));
  });
}

std::optional<Value> find_loop_attribute(const Value& value, std::string_view name) {
  Loop& loop = *value.loop();
  const auto index = static_cast<std::int64_t>(loop.index);
  const auto count = static_cast<std::int64_t>(loop.items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return count - index;
  if (name == "revindex0") return count - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == count;
  if (name == "length") return count;
  if (name == "depth") return std::int64_t{1};  // deeper only in recursive loops
  if (name == "depth0") return std::int64_t{0};
  if (name == "previtem") {
    if (index == 0) return Value::undefined("there is no previous item");
    return loop.items[loop.index - 1];
  }
  if (name == "nextitem") {
    if (index + 1 == count) return Value::undefined("there is no next item");
    return loop.items[loop.index + 1];
  }
  if (name == "cycle") {
    return make_callable("cycle", [value](Runtime&, Arguments arguments) {
      return loop_cycle(*value.loop(), arguments);
    });
  }
  if (name == "changed") {
    return make_callable("changed", [value](Runtime&, Arguments arguments) {
      return loop_changed(*value.loop(), arguments);
    });
  }
  return std::nullopt;
}

}  // namespace tessera::jinja

#include <algorithm>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/builtins.hpp"
#include "engine/text/jinja/operators.hpp"
#include "engine/text/jinja/python_format.hpp"
#include "engine/text/jinja/python_text.hpp"

namespace tessera::jinja {
namespace {

// Reads an attribute of an item: "a.b.0" goes down step by step; numbers are indices.
Value read_path(Runtime& runtime, Value item, const Value& path) {
  if (!path.is_string()) return get_item(runtime, item, path);
  for (const std::string& part : split(*path.string(), ".", -1)) {
    const bool number = !part.empty() && all_are(part, CharClass::kDigit);
    item = get_item(runtime, item,
                    number ? Value(static_cast<std::int64_t>(std::stol(part))) : Value(part));
  }
  return item;
}

// What sort, unique, min and max compare by: a member, and text without regard to case.
class Key {
 public:
  Key(const Value* attribute, bool case_sensitive)
      : attribute_(attribute && !attribute->is_none() ? attribute : nullptr),
        case_sensitive_(case_sensitive) {}

  Value operator()(Runtime& runtime, const Value& item) const {
    const Value key = attribute_ ? read_path(runtime, item, *attribute_) : item;
    return key.is_string() && !case_sensitive_ ? Value(lower(*key.string())) : key;
  }

 private:
  const Value* attribute_;
  bool case_sensitive_;
};

Value list(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("list", arguments, {});
  std::vector<Value> items = iterate(input);
  runtime.spend(items.size());
  return Value::list(std::move(items));
}

Value length_filter(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("length", arguments, {});
  return length(input);
}

Value first(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("first", arguments, {});
  const std::vector<Value> items = iterate(input);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("last", arguments, {});
  if (input.iterator()) fail("'generator' object is not reversible");
  const std::vector<Value> items = iterate(input);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value reverse(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("reverse", arguments, {});
  std::vector<Value> items = iterate(input);
  runtime.spend(items.size());
  std::reverse(items.begin(), items.end());
  if (!input.is_string()) return Value::iterator(std::move(items));
  std::string out;
  for (const Value& item : items) out += *item.string();
  return out;
}

Value join(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("join", arguments, {"d", "attribute"});
  const std::string separator = to_str(bound.get(0, ""));
  const Value* attribute = bound.find(1);
  std::string out;
  bool is_first = true;
  for (const Value& item : iterate(input)) {
    if (!is_first) out += separator;
    const bool by_member = attribute && !attribute->is_none();
    out += to_str(by_member ? read_path(runtime, item, *attribute) : item);
    runtime.check_size(out.size());
    runtime.spend();
    is_first = false;
  }
  runtime.spend_bytes(out.size());
  return out;
}

// Pairs each item with its key and sorts by it, keeping the order of equals.
std::vector<Value> sorted(Runtime& runtime, const std::vector<Value>& items,
                          const std::function<Value(const Value&)>& key_of, bool descending) {
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) keyed.emplace_back(key_of(item), item);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    runtime.spend();
    return descending ? less(b.first, a.first) : less(a.first, b.first);
  });
  std::vector<Value> out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return out;
}

Value sort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const Key key(bound.find(2), bound.flag(1, false));
  return Value::list(sorted(
      runtime, iterate(input), [&](const Value& item) { return key(runtime, item); },
      bound.flag(0, false)));
}

Value dictsort(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.text(1).value_or("key");
  if (by != "key" && by != "value") fail("You can only sort by either 'key' or 'value'");
  if (!input.dict()) fail("dictsort needs a dict, not " + std::string(type_name(input)));
  std::vector<Value> pairs;
  for (const auto& [name, value] : input.dict()->items())
    pairs.push_back(Value::tuple({name, value}));
  const Key key(nullptr, bound.flag(0, false));
  const std::size_t part = by == "key" ? 0 : 1;
  return Value::list(sorted(
      runtime, pairs, [&](const Value& pair) { return key(runtime, pair.sequence()->items[part]); },
      bound.flag(2, false)));
}

Value unique(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  const Key key(bound.find(1), bound.flag(0, false));
  std::vector<Value> keys;
  std::vector<Value> out;
  for (const Value& item : iterate(input)) {
    Value of_item = key(runtime, item);
    runtime.spend(keys.size() + 1);
    const bool seen = std::any_of(keys.begin(), keys.end(),
                                  [&](const Value& other) { return equal(other, of_item); });
    if (seen) continue;
    keys.push_back(std::move(of_item));
    out.push_back(item);
  }
  return Value::iterator(std::move(out));
}

template <bool largest>
Value extreme(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const Key key(bound.find(1), bound.flag(0, false));
  const std::vector<Value> items = iterate(input);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  Value best = items.front();
  for (const Value& item : items) {
    const Value candidate = key(runtime, item);
    const Value held = key(runtime, best);
    runtime.spend();
    if (largest ? less(held, candidate) : less(candidate, held)) best = item;
  }
  return best;
}

Value sum(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("sum", arguments, {"attribute", "start"});
  const Value* attribute = bound.find(0);
  const bool by_member = attribute && !attribute->is_none();
  Value total = bound.get(1, std::int64_t{0});
  for (const Value& item : iterate(input)) {
    const Value part = by_member ? read_path(runtime, item, *attribute) : item;
    total = binary(runtime, BinaryOperator::kAdd, total, part);
    runtime.spend();
  }
  return total;
}

// Groups of a size, the last one padded with `fill_with` if that is given.
Value batch(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("batch", arguments, {"linecount", "fill_with"});
  const std::int64_t size = bound.integer(0, 0);
  if (size < 1) fail("batch needs a size of at least 1");
  std::vector<Value> groups;
  std::vector<Value> group;
  for (const Value& item : iterate(input)) {
    runtime.spend();
    group.push_back(item);
    if (static_cast<std::int64_t>(group.size()) < size) continue;
    groups.push_back(Value::list(std::exchange(group, {})));
  }
  const Value* fill = bound.find(1);
  if (!group.empty()) {
    if (fill && !fill->is_none()) {
      runtime.spend(static_cast<std::size_t>(size));
      group.resize(static_cast<std::size_t>(size), *fill);
    }
    groups.push_back(Value::list(std::move(group)));
  }
  return Value::iterator(std::move(groups));
}

Value items(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("items", arguments, {});
  if (input.is_undefined()) return Value::iterator({});
  if (!input.dict()) fail("Can only get item pairs from a mapping.");
  std::vector<Value> pairs;
  for (const auto& [key, value] : input.dict()->items())
    pairs.push_back(Value::tuple({key, value}));
  runtime.spend(pairs.size());
  return Value::iterator(std::move(pairs));
}

Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest;
  rest.named = arguments.named;
  const auto from = arguments.positional.begin() +
                    static_cast<std::ptrdiff_t>(std::min(count, arguments.positional.size()));
  rest.positional.assign(from, arguments.positional.end());
  return rest;
}

// map("filter", ...) applies a filter, map(attribute=..., default=...) reads a member.
// Jinja asks nothing of an input that is false, such as none.
Value map(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!is_true(input)) return Value::iterator({});
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    const Bound bound("map", arguments, {"attribute", "default"});
    const Value& attribute = bound.required(0);
    for (const Value& item : iterate(input)) {
      Value member = read_path(runtime, item, attribute);
      out.push_back(member.is_undefined() ? bound.get(1, member) : std::move(member));
    }
    return Value::iterator(std::move(out));
  }
  const std::string* name = arguments.positional.front().string();
  if (!name) fail("map needs the name of a filter");
  const FilterFunction filter = filter_named(*name);
  const Arguments rest = without_first(arguments, 1);
  for (const Value& item : iterate(input)) {
    runtime.spend();
    out.push_back(filter(runtime, item, rest));
  }
  return Value::iterator(std::move(out));
}

// select, reject and, by a member, selectattr, rejectattr: with a test's name, or by truth.
template <bool keep, bool by_member>
Value select(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!is_true(input)) return Value::iterator({});
  constexpr std::size_t kTestAt = by_member ? 1 : 0;
  if (arguments.positional.size() < kTestAt) fail("Missing parameter for attribute name");
  TestFunction test = nullptr;
  if (arguments.positional.size() > kTestAt) {
    const std::string* name = arguments.positional[kTestAt].string();
    if (!name) fail("select needs the name of a test");
    test = test_named(*name);
  }
  const Arguments rest = without_first(arguments, kTestAt + 1);
  std::vector<Value> out;
  for (const Value& item : iterate(input)) {
    runtime.spend();
    const Value tested = by_member ? read_path(runtime, item, arguments.positional.front()) : item;
    const bool holds = test ? test(runtime, tested, rest) : is_true(tested);
    if (holds == keep) out.push_back(item);
  }
  return Value::iterator(std::move(out));
}

struct Entry {
  std::string_view name;
  FilterFunction function;
};

constexpr Entry kFilters[] = {
    {"list", list},
    {"length", length_filter},
    {"count", length_filter},
    {"first", first},
    {"last", last},
    {"reverse", reverse},
    {"join", join},
    {"sort", sort},
    {"dictsort", dictsort},
    {"unique", unique},
    {"min", extreme<false>},
    {"max", extreme<true>},
    {"sum", sum},
    {"batch", batch},
    {"items", items},
    {"map", map},
    {"select", select<true, false>},
    {"reject", select<false, false>},
    {"selectattr", select<true, true>},
    {"rejectattr", select<false, true>},
};

}  // namespace

FilterFunction find_sequence_filter(std::string_view name) {
  for (const Entry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace tessera::jinja

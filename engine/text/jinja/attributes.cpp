#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/builtins.hpp"
#include "engine/text/jinja/python_format.hpp"
#include "engine/text/jinja/python_text.hpp"

namespace tessera::jinja {
namespace {

Value missing(const Value& object, const std::string& name) {
  return Value::undefined("'" + std::string(type_name(object)) + " object' has no attribute '" +
                          name + "'");
}

// Methods that exist in Python and would change the value; the immutable sandbox hides them.
Value unsafe(const Value& object, std::string_view name) {
  return Value::undefined("access to attribute '" + std::string(name) + "' of '" +
                          std::string(type_name(object)) + "' object is unsafe.");
}

bool changes_value(const Value& object, std::string_view name) {
  static constexpr std::array<std::string_view, 8> kList = {"append", "clear",  "extend",  "insert",
                                                            "pop",    "remove", "reverse", "sort"};
  static constexpr std::array<std::string_view, 5> kDict = {"clear", "pop", "popitem", "setdefault",
                                                            "update"};
  const Sequence* sequence = object.sequence();
  if (sequence && sequence->form == Sequence::Form::kList) {
    return std::find(kList.begin(), kList.end(), name) != kList.end();
  }
  return object.dict() && std::find(kDict.begin(), kDict.end(), name) != kDict.end();
}

// What Python's getattr finds.
std::optional<Value> own_attribute(const Value& object, std::string_view name) {
  if (changes_value(object, name)) return unsafe(object, name);
  if (object.is_string()) return find_text_method(object, name);
  if (object.dict()) return find_dict_method(object, name);
  if (object.sequence()) return find_sequence_method(object, name);
  if (object.loop()) return find_loop_attribute(object, name);
  if (Namespace* ns = object.name_space()) {
    if (const Value* member = ns->find(name)) return *member;
  }
  return std::nullopt;
}

// A position, counted from the end if below zero; nullopt if there is none.
std::optional<std::size_t> position(std::int64_t index, std::size_t size) {
  const auto count = static_cast<std::int64_t>(size);
  if (index < 0) index += count;
  if (index < 0 || index >= count) return std::nullopt;
  return static_cast<std::size_t>(index);
}

// What Python's object[index] finds.
std::optional<Value> own_item(const Value& object, const Value& index) {
  if (const Dict* dict = object.dict()) {
    const Sequence* sequence = index.sequence();
    if (index.dict() || (sequence && sequence->form == Sequence::Form::kList)) return std::nullopt;
    const Value* found = dict->find(index);
    return found ? std::optional(*found) : std::nullopt;
  }
  if (!index.integer()) return std::nullopt;
  if (const std::string* text = object.string()) {
    const std::vector<std::string_view> all = characters(*text);
    const auto at = position(*index.integer(), all.size());
    if (!at) return std::nullopt;
    return Value(std::string(all[*at]), object.is_markup());
  }
  const Sequence* sequence = object.sequence();
  if (!sequence || sequence->form == Sequence::Form::kView) return std::nullopt;
  const auto at = position(*index.integer(), sequence->items.size());
  return at ? std::optional(sequence->items[*at]) : std::nullopt;
}

void refuse_undefined(const Value& object) {
  if (const Undefined* undefined = object.undefined_reason()) fail(undefined->message);
}

// The positions that [start:stop:step] selects of `size` items (Python's slice.indices).
std::vector<std::size_t> slice_positions(const Value& start, const Value& stop, const Value& step,
                                         std::size_t size) {
  const auto bound = [](const Value& value, const char* what) {
    const std::optional<std::int64_t> number = value.integer();  // none of None either
    if (!number && !value.is_none()) {
      fail(std::string("slice ") + what + " must be a whole number or None");
    }
    return number;
  };
  const std::int64_t by = bound(step, "step").value_or(1);
  if (by == 0) fail("slice step cannot be zero");
  const auto count = static_cast<std::int64_t>(size);
  const std::int64_t lowest = by > 0 ? 0 : -1;
  const std::int64_t highest = by > 0 ? count : count - 1;
  const auto clamp = [&](std::optional<std::int64_t> at, std::int64_t if_absent) {
    if (!at) return if_absent;
    return std::clamp(*at < 0 ? *at + count : *at, lowest, highest);
  };
  const std::int64_t from = clamp(bound(start, "start"), by > 0 ? lowest : highest);
  const std::int64_t to = clamp(bound(stop, "stop"), by > 0 ? highest : lowest);
  std::vector<std::size_t> positions;
  for (std::int64_t at = from; by > 0 ? at < to : at > to;) {
    positions.push_back(static_cast<std::size_t>(at));
    if (__builtin_add_overflow(at, by, &at)) break;
  }
  return positions;
}

}  // namespace

Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  runtime.spend();
  refuse_undefined(object);
  if (auto found = own_attribute(object, name)) return *found;
  if (object.dict()) {
    if (auto found = own_item(object, Value(std::string(name)))) return *found;
  }
  return missing(object, std::string(name));
}

Value get_item(Runtime& runtime, const Value& object, const Value& index) {
  runtime.spend();
  refuse_undefined(object);
  if (auto found = own_item(object, index)) return *found;
  if (const std::string* name = index.string()) {
    if (auto found = own_attribute(object, *name)) return *found;
  }
  return missing(object, to_str(index));
}

Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  refuse_undefined(object);
  const Sequence* sequence = object.sequence();
  if (const std::string* text = object.string()) {
    const std::vector<std::string_view> all = characters(*text);
    runtime.spend(all.size() / 64 + 1);
    std::string out;
    for (const std::size_t at : slice_positions(start, stop, step, all.size())) out += all[at];
    return Value(std::move(out), object.is_markup());
  }
  if (!sequence || sequence->form == Sequence::Form::kView) return missing(object, "slice");
  std::vector<Value> items;
  for (const std::size_t at : slice_positions(start, stop, step, sequence->items.size())) {
    items.push_back(sequence->items[at]);
  }
  runtime.spend(items.size() + 1);
  const bool is_tuple = sequence->form == Sequence::Form::kTuple;
  return is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

}  // namespace tessera::jinja

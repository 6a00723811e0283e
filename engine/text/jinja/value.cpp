#include "engine/text/jinja/value.hpp"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "engine/text/jinja/failure.hpp"
#include "engine/text/jinja/python_text.hpp"

namespace tessera::jinja {
namespace {

int depth_around(int inner) {
  if (inner >= kDepthMax) throw Failure(Failure::Kind::kLimit, "a value is nested too deeply");
  return inner + 1;
}

Value make_sequence(Sequence::Form form, std::vector<Value> items) {
  int inner = 0;
  for (const Value& item : items) inner = std::max(inner, item.depth());
  return std::make_shared<const Sequence>(
      Sequence{.form = form, .items = std::move(items), .depth = depth_around(inner)});
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items().size() != b.items().size()) return false;
  return std::all_of(a.items().begin(), a.items().end(), [&b](const auto& item) {
    const Value* other = b.find(item.first);
    return other && equal(item.second, *other);
  });
}

}  // namespace

Value::Value(std::string text, bool markup)
    : form_(std::make_shared<const Text>(Text{std::move(text), markup})) {}

Value Value::undefined(std::string message) {
  return std::make_shared<const Undefined>(Undefined{std::move(message)});
}

Value Value::list(std::vector<Value> items) {
  return make_sequence(Sequence::Form::kList, std::move(items));
}

Value Value::tuple(std::vector<Value> items) {
  return make_sequence(Sequence::Form::kTuple, std::move(items));
}

Value Value::iterator(std::vector<Value> items) {
  for (const Value& item : items) depth_around(item.depth());
  return std::make_shared<Iterator>(Iterator{.items = std::move(items), .next = 0});
}

std::optional<std::int64_t> Value::integer() const {
  if (const bool* flag = as<bool>()) return *flag ? 1 : 0;
  if (const std::int64_t* value = as<std::int64_t>()) return *value;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* value = as<double>()) return *value;
  if (const auto value = integer()) return static_cast<double>(*value);
  return std::nullopt;
}

const std::string* Value::string() const {
  const Shared<Text>* text = as<Shared<Text>>();
  return text ? &(*text)->utf8 : nullptr;
}

bool Value::is_markup() const {
  const Shared<Text>* text = as<Shared<Text>>();
  return text && (*text)->markup;
}

int Value::depth() const {
  if (const Sequence* items = sequence()) return items->depth;
  if (const Dict* members = dict()) return members->depth();
  return iterator() ? 1 : 0;
}

void Dict::set(Value key, Value value) {
  depth_ = std::max(depth_, depth_around(std::max(key.depth(), value.depth())));
  if (const auto index = index_of(key)) {
    items_[*index].second = std::move(value);
    return;
  }
  items_.emplace_back(std::move(key), std::move(value));
  if (items_.size() <= kMaxSearched) return;
  const std::size_t first = items_.size() == kMaxSearched + 1 ? 0 : items_.size() - 1;
  for (std::size_t i = first; i < items_.size(); ++i) {
    if (const std::string* text = items_[i].first.string()) index_by_text_.emplace(*text, i);
  }
}

std::optional<std::size_t> Dict::index_of_text(std::string_view key) const {
  if (items_.size() > kMaxSearched) {
    const auto found = index_by_text_.find(std::string(key));
    return found == index_by_text_.end() ? std::nullopt : std::optional(found->second);
  }
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const std::string* text = items_[i].first.string();
    if (text && *text == key) return i;
  }
  return std::nullopt;
}

std::optional<std::size_t> Dict::index_of(const Value& key) const {
  if (const std::string* text = key.string()) return index_of_text(*text);
  const Sequence* sequence = key.sequence();
  if (key.dict() || (sequence && sequence->form == Sequence::Form::kList)) {
    fail("unhashable type: '" + std::string(type_name(key)) + "'");
  }
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (equal(items_[i].first, key)) return i;
  }
  return std::nullopt;
}

const Value* Dict::find(const Value& key) const {
  const auto index = index_of(key);
  return index ? &items_[*index].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto index = index_of_text(key);
  return index ? &items_[*index].second : nullptr;
}

Value* Namespace::find(std::string_view name) {
  for (auto& [member, value] : members) {
    if (member == name) return &value;
  }
  return nullptr;
}

void Namespace::set(const std::string& name, Value value) {
  if (Value* member = find(name)) {
    *member = std::move(value);
  } else {
    members.emplace_back(name, std::move(value));
  }
}

Value make_callable(std::string name, std::function<Value(Runtime&, Arguments)> call) {
  return std::make_shared<const Callable>(Callable{std::move(name), std::move(call)});
}

bool is_true(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const auto number = value.number()) return *number != 0.0;
  if (const std::string* text = value.string()) return !text->empty();
  if (const Sequence* sequence = value.sequence()) return !sequence->items.empty();
  if (const Dict* dict = value.dict()) return !dict->items().empty();
  return true;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.integer() && b.integer()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.is_string() && b.is_string()) return *a.string() == *b.string();
  if (a.sequence() && b.sequence()) {
    return a.sequence()->form == b.sequence()->form &&
           equal_items(a.sequence()->items, b.sequence()->items);
  }
  if (a.dict() && b.dict()) return equal_dicts(*a.dict(), *b.dict());
  return a.is_same_as(b);
}

std::string_view type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.boolean()) return "bool";
  if (value.is_integer()) return "int";
  if (value.floating()) return "float";
  if (value.is_string()) return value.is_markup() ? "Markup" : "str";
  if (value.dict()) return "dict";
  if (value.callable()) return "function";
  if (value.name_space()) return "Namespace";
  if (value.iterator()) return "generator";
  if (value.loop()) return "LoopContext";
  switch (value.sequence()->form) {
    case Sequence::Form::kList:
      return "list";
    case Sequence::Form::kTuple:
      return "tuple";
    case Sequence::Form::kRange:
      return "range";
    case Sequence::Form::kView:
      return "dict_view";
  }
  return "object";
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.sequence() || value.dict() ||
         value.iterator() || value.loop();
}

std::vector<Value> iterate(const Value& value) {
  if (value.is_undefined()) return {};
  if (const Sequence* sequence = value.sequence()) return sequence->items;
  std::vector<Value> out;
  if (const std::string* text = value.string()) {
    for (const std::string_view character : characters(*text)) {
      out.emplace_back(std::string(character));
    }
    return out;
  }
  if (const Dict* dict = value.dict()) {
    for (const auto& [key, member] : dict->items()) out.push_back(key);
    return out;
  }
  if (Iterator* iterator = value.iterator()) {
    const auto from = iterator->items.begin() + static_cast<std::ptrdiff_t>(iterator->next);
    out.assign(from, iterator->items.end());
    iterator->next = iterator->items.size();
    return out;
  }
  fail("'" + std::string(type_name(value)) + "' object is not iterable");
}

std::int64_t length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const std::string* text = value.string()) {
    return static_cast<std::int64_t>(characters(*text).size());
  }
  if (const Sequence* sequence = value.sequence()) {
    return static_cast<std::int64_t>(sequence->items.size());
  }
  if (const Dict* dict = value.dict()) return static_cast<std::int64_t>(dict->items().size());
  fail("object of type '" + std::string(type_name(value)) + "' has no len()");
}

Value from_json(const nlohmann::ordered_json& json) {
  using Type = nlohmann::ordered_json::value_t;
  switch (json.type()) {
    case Type::boolean:
      return json.get<bool>();
    case Type::number_integer:
      return json.get<std::int64_t>();
    case Type::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      const bool fits = number <= std::uint64_t{std::numeric_limits<std::int64_t>::max()};
      return fits ? Value(static_cast<std::int64_t>(number)) : Value(static_cast<double>(number));
    }
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return json.get_ref<const std::string&>();
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item));
      return Value::list(std::move(items));
    }
    case Type::object: {
      auto dict = std::make_shared<Dict>();
      dict->reserve(json.size());
      for (const auto& [key, item] : json.get_ref<const nlohmann::ordered_json::object_t&>()) {
        dict->set(key, from_json(item));
      }
      return std::shared_ptr<const Dict>(std::move(dict));
    }
    case Type::null:
    case Type::binary:
    case Type::discarded:
      return None{};
  }
  return None{};
}

}  // namespace tessera::jinja

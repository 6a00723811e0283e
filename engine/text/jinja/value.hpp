// value.hpp — what a template computes with: Python's values, as far as templates see them.
//
// Everything is immutable but namespaces, loops and iterators, as the sandbox has it, so values are
// shared freely. A container knows how deeply it nests and refuses to nest deeper than kDepthMax:
// code that walks a value may recurse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace tessera::jinja {

class Value;
class Runtime;
struct Arguments;
struct Callable;
struct Iterator;
struct Loop;
struct Namespace;
struct Sequence;
class Dict;

inline constexpr int kDepthMax = 128;  // of containers in containers

struct None {
  bool operator==(const None&) const = default;
};

// The value of a name or member that is not there. Printing it gives nothing; using it otherwise
// fails with its message.
struct Undefined {
  std::string message;
};

// `markup` says that it is safe HTML (markupsafe.Markup): adding plain text to it escapes the text.
struct Text {
  std::string utf8;
  bool markup = false;
};

class Value {
 public:
  template <class T>
  using Shared = std::shared_ptr<const T>;

  Value() : form_(None{}) {}
  Value(None) : form_(None{}) {}
  Value(bool value) : form_(value) {}
  Value(std::int64_t value) : form_(value) {}
  Value(double value) : form_(value) {}
  Value(std::string text, bool markup = false);
  Value(const char* text) : Value(std::string(text)) {}
  Value(Shared<Undefined> undefined) : form_(std::move(undefined)) {}
  Value(Shared<Sequence> sequence) : form_(std::move(sequence)) {}
  Value(Shared<Dict> dict) : form_(std::move(dict)) {}
  Value(Shared<Callable> callable) : form_(std::move(callable)) {}
  Value(std::shared_ptr<Namespace> ns) : form_(std::move(ns)) {}
  Value(std::shared_ptr<Iterator> iterator) : form_(std::move(iterator)) {}
  Value(std::shared_ptr<Loop> loop) : form_(std::move(loop)) {}

  static Value undefined(std::string message);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value iterator(std::vector<Value> items);  // what Python's generators are

  bool is_undefined() const { return as<Shared<Undefined>>() != nullptr; }
  bool is_none() const { return as<None>() != nullptr; }
  bool is_string() const { return as<Shared<Text>>() != nullptr; }
  bool is_number() const { return as<bool>() || as<std::int64_t>() || as<double>(); }

  // Views of what it is; null or nullopt if it is something else.
  const bool* boolean() const { return as<bool>(); }
  std::optional<std::int64_t> integer() const;  // a bool counts as 0 or 1
  std::optional<double> number() const;
  const std::string* string() const;
  bool is_markup() const;
  const Sequence* sequence() const { return pointer<Shared<Sequence>>(); }
  const Dict* dict() const { return pointer<Shared<Dict>>(); }
  const Callable* callable() const { return pointer<Shared<Callable>>(); }
  const Undefined* undefined_reason() const { return pointer<Shared<Undefined>>(); }
  Namespace* name_space() const { return pointer<std::shared_ptr<Namespace>>(); }
  Iterator* iterator() const { return pointer<std::shared_ptr<Iterator>>(); }
  Loop* loop() const { return pointer<std::shared_ptr<Loop>>(); }

  const double* floating() const { return as<double>(); }
  bool is_integer() const { return as<std::int64_t>() != nullptr; }  // a bool does not count

  // Whether both are the same object, or equal scalars.
  bool is_same_as(const Value& other) const { return form_ == other.form_; }

  int depth() const;  // of nesting: 0 for what contains nothing

 private:
  template <class T>
  const T* as() const {
    return std::get_if<T>(&form_);
  }
  template <class Pointer>
  auto pointer() const -> decltype(std::declval<Pointer>().get()) {
    const Pointer* held = as<Pointer>();
    return held ? held->get() : nullptr;
  }

  std::variant<None, bool, std::int64_t, double, Shared<Text>, Shared<Undefined>, Shared<Sequence>,
               Shared<Dict>, Shared<Callable>, std::shared_ptr<Namespace>,
               std::shared_ptr<Iterator>, std::shared_ptr<Loop>>
      form_;
};

struct Sequence {
  enum class Form : unsigned char { kList, kTuple, kRange, kView };

  Form form = Form::kList;
  std::vector<Value> items;
  int depth = 1;
};

// Ordered by insertion, as Python's.
class Dict {
 public:
  // A key that is there already keeps its place and gets the new value.
  void set(Value key, Value value);
  const Value* find(const Value& key) const;  // fails if the key cannot be one (a list)
  const Value* find(std::string_view key) const;

  const std::vector<std::pair<Value, Value>>& items() const { return items_; }
  int depth() const { return depth_; }
  void reserve(std::size_t count) { items_.reserve(count); }

 private:
  static constexpr std::size_t kMaxSearched = 8;  // items that are compared one by one

  std::optional<std::size_t> index_of(const Value& key) const;
  std::optional<std::size_t> index_of_text(std::string_view key) const;

  std::vector<std::pair<Value, Value>> items_;
  // Of the keys that are strings, once there are more than kMaxSearched items.
  std::unordered_map<std::string, std::size_t> index_by_text_;
  int depth_ = 1;
};

// Members of `namespace(...)`, the only variables that an inner scope can change.
struct Namespace {
  std::vector<std::pair<std::string, Value>> members;

  Value* find(std::string_view name);
  void set(const std::string& name, Value value);
};

// Can be walked once.
struct Iterator {
  std::vector<Value> items;
  std::size_t next = 0;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Callable {
  std::string name;
  std::function<Value(Runtime&, Arguments)> call;
};

// The `loop` variable.
struct Loop {
  std::vector<Value> items;
  std::size_t index = 0;
  std::optional<Value> last_changed;
};

Value make_callable(std::string name, std::function<Value(Runtime&, Arguments)> call);

bool is_true(const Value& value);
bool equal(const Value& a, const Value& b);

// Python's name of the type: "str", "NoneType".
std::string_view type_name(const Value& value);

// What a `for` visits: items, keys of a dict, characters of a string. Fails if it cannot be walked.
// Walking an iterator uses it up.
std::vector<Value> iterate(const Value& value);
bool is_iterable(const Value& value);

std::int64_t length(const Value& value);  // Python's len(); fails where that would

Value from_json(const nlohmann::ordered_json& json);

}  // namespace tessera::jinja

#include "storage/json.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "storage/plain_json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kFirstLook = 1024;   // bytes in which a bomb shows its depth
constexpr std::size_t kMaxShownKey = 128;  // bytes of a client's key that an error repeats

// Builds the tree from the parser's events (nlohmann's SAX interface) and stops it, by answering
// false, at the first thing that is not allowed.
class TreeBuilder {
 public:
  explicit TreeBuilder(const JsonLimits& limits) : limits_(limits) {}

  // The names and signatures below are nlohmann's.
  bool null() { return add(nullptr) != nullptr; }
  bool boolean(bool value) { return add(value) != nullptr; }
  bool number_integer(Json::number_integer_t value) { return add(value) != nullptr; }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value) != nullptr; }
  bool number_float(Json::number_float_t value, const std::string&) {
    return add(value) != nullptr;
  }
  bool string(std::string& value) { return add(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) { return false; }  // not in JSON text

  bool start_object(std::size_t) { return open(Json::object()); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    if (is_there(name)) {
      fail({Code::kDuplicateKey, "an object has the same key twice", name.substr(0, kMaxShownKey)});
      return false;
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) {
    const bool out_of_range = error.id == 406;
    fail({Code::kInvalidJson, std::string(out_of_range ? "a number is out of range" : "not JSON") +
                                  " at byte " + std::to_string(position)});
    return false;
  }

  Result<Json> finish(bool whole) {
    if (!whole) return error_;
    return Result<Json>(boost::system::in_place_value, std::move(root_));
  }

 private:
  struct Level {
    Json* value;                           // an array or an object
    std::unordered_set<std::string> keys;  // of an object that has many
  };

  static constexpr std::size_t kFewMembers = 16;  // that a key is compared with one by one

  // Whether the open object has a member of that name; from now on it has.
  bool is_there(const std::string& name) {
    Level& level = stack_.back();
    const auto& members = level.value->get_ref<const Json::object_t&>();
    if (members.size() < kFewMembers) {
      return std::ranges::any_of(members, [&](const auto& member) { return member.first == name; });
    }
    if (level.keys.empty()) {
      for (const auto& [key, value] : members) level.keys.insert(key);
    }
    return !level.keys.insert(name).second;
  }

  // Appends `value` to what is open; null if there are too many. A pointer to a container stays
  // valid while it is open, because its parent does not grow meanwhile.
  Json* add(Json value) {
    if (++num_values_ > limits_.max_values) {
      fail({Code::kInvalidJson, "more than " + std::to_string(limits_.max_values) + " values"});
      return nullptr;
    }
    if (stack_.empty()) return &(root_ = std::move(value));
    Json& parent = *stack_.back().value;
    if (parent.is_array()) return &parent.get_ref<Json::array_t&>().emplace_back(std::move(value));
    // The object's own insertion would compare the key with all before it.
    auto& members = parent.get_ref<Json::object_t&>();
    return &members.Json::object_t::Container::emplace_back(std::move(key_), std::move(value))
                .second;
  }

  bool open(Json container) {
    if (std::ssize(stack_) == limits_.max_depth) {
      fail({Code::kInvalidJson, "nested deeper than " + std::to_string(limits_.max_depth)});
      return false;
    }
    Json* added = add(std::move(container));
    if (added == nullptr) return false;
    stack_.push_back({added, {}});
    return true;
  }

  bool close() {
    stack_.pop_back();
    return true;
  }

  void fail(Error error) { error_ = std::move(error); }

  const JsonLimits& limits_;
  Json root_;
  std::vector<Level> stack_;  // open arrays and objects, outermost first
  std::string key_;           // of the member whose value comes next
  std::size_t num_values_ = 0;
  Error error_;
};

}  // namespace

bool nests_deeper(std::string_view beginning, int max_depth) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < beginning.size(); ++at) {
    const char byte = beginning[at];
    if (in_string && byte == '\\') {
      ++at;
    } else if (byte == '"') {
      in_string = !in_string;
    } else if (!in_string && (byte == '[' || byte == '{')) {
      if (++depth > max_depth) return true;
    } else if (!in_string && (byte == ']' || byte == '}')) {
      --depth;
    }
  }
  return false;
}

Result<nlohmann::ordered_json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return Error{Code::kPayloadTooLarge,
                 "JSON text is longer than " + std::to_string(limits.max_bytes) + " bytes"};
  }
  // simdjson reads a text to its end before it looks at what is nested.
  const bool is_plain = !nests_deeper(text.substr(0, kFirstLook), limits.max_depth);
  if (auto plain = is_plain ? parse_plain_json(text, limits) : std::nullopt) {
    return Result<Json>(boost::system::in_place_value, *std::move(plain));
  }
  // The parser takes a NUL for the end of its input, whatever follows.
  if (const auto nul = text.find('\0'); nul != text.npos) {
    return Error{Code::kInvalidJson, "not JSON at byte " + std::to_string(nul + 1)};
  }
  TreeBuilder builder(limits);
  const bool whole = Json::sax_parse(text, &builder);
  return builder.finish(whole);
}

namespace {

// In quotes as it stands: ASCII without an escape.
bool is_plain(const std::string& text) {
  return std::ranges::all_of(text,
                             [](char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; });
}

void append_text(const Json& value, std::string& out);

void append_string(const std::string& text, std::string& out) {
  if (!is_plain(text)) {
    out += Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
    return;
  }
  out += '"';
  out += text;
  out += '"';
}

void append_object(const Json& object, std::string& out) {
  char before = '{';
  for (const auto& [name, value] : object.get_ref<const Json::object_t&>()) {
    out += before;
    append_string(name, out);
    out += ':';
    append_text(value, out);
    before = ',';
  }
  out += before == '{' ? "{}" : "}";
}

void append_array(const Json& array, std::string& out) {
  char before = '[';
  for (const Json& item : array.get_ref<const Json::array_t&>()) {
    out += before;
    append_text(item, out);
    before = ',';
  }
  out += before == '[' ? "[]" : "]";
}

// As dump() writes it, which looks at every character: nearly all strings are plain, and objects
// and arrays need no look.
void append_text(const Json& value, std::string& out) {
  switch (value.type()) {
    case Json::value_t::object:
      return append_object(value, out);
    case Json::value_t::array:
      return append_array(value, out);
    case Json::value_t::string:
      return append_string(value.get_ref<const std::string&>(), out);
    case Json::value_t::null:
      out += "null";
      return;
    case Json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      return;
    case Json::value_t::number_integer:
      out += std::to_string(value.get<std::int64_t>());
      return;
    case Json::value_t::number_unsigned:
      out += std::to_string(value.get<std::uint64_t>());
      return;
    default:
      out += value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

}  // namespace

std::string to_text(const nlohmann::ordered_json& value) {
  std::string out;
  append_text(value, out);
  return out;
}

}  // namespace tessera

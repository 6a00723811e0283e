#include "storage/plain_json.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <simdjson.h>

namespace tessera {
namespace {

namespace dom = simdjson::dom;
using Json = nlohmann::ordered_json;

constexpr std::size_t kKeptBytes = std::size_t{64} << 10;  // each thread keeps room for such a text
constexpr int kMaxDepth = 100;                             // what makes the tree recurses
constexpr std::size_t kMaxMembers = 16;  // of an object: a name is compared with all before it

// A thread's parser, with room for texts up to kKeptBytes.
class ThreadParser {
 public:
  ThreadParser() { is_ready_ = parser_.allocate(kKeptBytes, kMaxDepth) == simdjson::SUCCESS; }

  // The element is good until the next call. False: not JSON, or beyond what is plain.
  bool parse(std::string_view text, dom::element& root) {
    if (!is_ready_ || text.size() > kKeptBytes) return false;
    std::ranges::copy(text, text_.begin());
    return parser_.parse(text_.data(), text.size(), /*realloc_if_needed=*/false).get(root) ==
           simdjson::SUCCESS;
  }

 private:
  dom::parser parser_;
  std::vector<char> text_ = std::vector<char>(kKeptBytes + simdjson::SIMDJSON_PADDING);
  bool is_ready_ = false;
};

// The element is good for as long as `parser`.
bool parse_large(std::string_view text, dom::parser& parser, dom::element& root) {
  return parser.allocate(text.size(), kMaxDepth) == simdjson::SUCCESS &&
         parser.parse(text.data(), text.size()).get(root) == simdjson::SUCCESS;
}

// Each function makes the tree of what it is given, or returns false.
class TreeMaker {
 public:
  explicit TreeMaker(const JsonLimits& limits) : limits_(limits) {}

  bool value(dom::element from, Json& out, int depth) {
    if (++num_values_ > limits_.max_values) return false;
    switch (from.type()) {
      case dom::element_type::OBJECT:
        return object(from.get_object().value_unsafe(), out, depth + 1);
      case dom::element_type::ARRAY:
        return array(from.get_array().value_unsafe(), out, depth + 1);
      case dom::element_type::STRING:
        out = from.get_string().value_unsafe();
        return true;
      default:
        return scalar(from, out);
    }
  }

 private:
  bool object(dom::object from, Json& out, int depth) {
    if (depth > limits_.max_depth || from.size() > kMaxMembers) return false;
    out = Json::object();
    auto& members = out.get_ref<Json::object_t&>();
    members.reserve(from.size());
    for (const dom::key_value_pair member : from) {
      const auto has_name = [&](const auto& other) { return other.first == member.key; };
      if (std::ranges::any_of(members, has_name)) return false;
      // (The object's own insertion would compare the name again.)
      Json& slot = members.Json::object_t::Container::emplace_back(member.key, nullptr).second;
      if (!value(member.value, slot, depth)) return false;
    }
    return true;
  }

  bool array(dom::array from, Json& out, int depth) {
    if (depth > limits_.max_depth) return false;
    out = Json::array();
    auto& items = out.get_ref<Json::array_t&>();
    items.reserve(std::min<std::size_t>(from.size(), limits_.max_values));
    for (const dom::element item : from) {
      if (!value(item, items.emplace_back(), depth)) return false;
    }
    return true;
  }

  static bool scalar(dom::element from, Json& out) {
    switch (from.type()) {
      case dom::element_type::INT64: {
        const std::int64_t number = from.get_int64().value_unsafe();
        if (number < 0) {
          out = number;
        } else {
          out = static_cast<std::uint64_t>(number);
        }
        return true;
      }
      case dom::element_type::UINT64:
        out = from.get_uint64().value_unsafe();
        return true;
      case dom::element_type::DOUBLE:
        out = from.get_double().value_unsafe();
        return true;
      case dom::element_type::BOOL:
        out = from.get_bool().value_unsafe();
        return true;
      case dom::element_type::NULL_VALUE:
        out = nullptr;
        return true;
      default:
        return false;
    }
  }

  const JsonLimits& limits_;
  std::size_t num_values_ = 0;
};

}  // namespace

std::optional<Json> parse_plain_json(std::string_view text, const JsonLimits& limits) {
  thread_local ThreadParser parser;
  dom::parser large;  // has no room until it is given a text
  dom::element element;
  const bool is_json =
      text.size() <= kKeptBytes ? parser.parse(text, element) : parse_large(text, large, element);
  if (!is_json) return std::nullopt;
  std::optional<Json> root(std::in_place);
  if (!TreeMaker(limits).value(element, *root, 0)) root.reset();
  return root;
}

}  // namespace tessera

#include "gateway/api/api_json.hpp"

#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using Objects = std::vector<ordered_json>;

Error invalid_parameter(std::string_view name, const std::string& expected) {
  return {Code::kInvalidValue, "'" + std::string(name) + "' must be " + expected + ".",
          std::string(name)};
}

// Where the object that the parameter names stands; `absent` if there is no such parameter.
Result<std::ptrdiff_t> position_of(const Target& target, std::string_view parameter,
                                   const Objects& objects, std::ptrdiff_t absent) {
  const auto id = target.parameter(parameter);
  if (!id) return absent;
  const auto found = std::ranges::find_if(
      objects, [&](const ordered_json& object) { return object["id"] == *id; });
  if (found == objects.end())
    return invalid_parameter(parameter, "the id of an object of the list");
  return found - objects.begin();
}

}  // namespace

std::int64_t unix_seconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

Reply json_reply(const ordered_json& body, int status) {
  HttpResponse response{.status = status};
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = to_text(body) + "\n";
  return response;
}

Result<Reply> list_reply(const Target& target, Objects objects,
                         const std::function<void(ordered_json&)>& complete) {
  const auto limit = integer_parameter(target, "limit", 1, kMaxPageSize);
  if (!limit) return limit.error();
  const std::string_view order = target.parameter("order").value_or("asc");
  if (order != "asc" && order != "desc") return invalid_parameter("order", "asc or desc");
  if (order == "desc") std::ranges::reverse(objects);

  const auto size = static_cast<std::ptrdiff_t>(objects.size());
  const auto after = position_of(target, "after", objects, -1);
  if (!after) return after.error();
  const auto before = position_of(target, "before", objects, size);
  if (!before) return before.error();
  // `before` asks for the page that ends there, all others for the one that begins after `after`.
  const std::ptrdiff_t count = limit->value_or(kDefaultPageSize);
  std::ptrdiff_t begin = *after + 1;
  std::ptrdiff_t end = std::min(*before, begin + count);
  bool has_more = end < *before;
  if (*before < size) {
    end = std::max(*before, begin);
    has_more = end - begin > count;
    begin = std::max(begin, end - count);
  }

  ordered_json body;
  body["object"] = "list";
  body["data"] = ordered_json::array();
  for (std::ptrdiff_t i = begin; i < end; ++i) {
    ordered_json& object = objects[static_cast<std::size_t>(i)];
    if (complete) complete(object);
    body["data"].push_back(std::move(object));
  }
  const auto id_of = [](const ordered_json& object) { return object["id"]; };
  body["first_id"] = body["data"].empty() ? ordered_json(nullptr) : id_of(body["data"].front());
  body["last_id"] = body["data"].empty() ? ordered_json(nullptr) : id_of(body["data"].back());
  body["has_more"] = has_more;
  return json_reply(body);
}

Result<std::optional<std::int64_t>> integer_parameter(const Target& target, std::string_view name,
                                                      std::int64_t min, std::int64_t max) {
  const auto text = target.parameter(name);
  if (!text) return std::nullopt;
  std::int64_t value = 0;
  const char* const end = text->data() + text->size();
  const auto parsed = std::from_chars(text->data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value < min || value > max) {
    return invalid_parameter(
        name, "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return value;
}

Result<bool> switch_parameter(const Target& target, std::string_view name) {
  const auto text = target.parameter(name);
  if (!text || *text == "false") return false;
  if (text->empty() || *text == "true") return true;
  return invalid_parameter(name, "true or false");
}

}  // namespace tessera

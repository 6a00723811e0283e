#include "gateway/api/fields.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tessera {
namespace {

// What to call a range's bounds in a message: "0" rather than "0.000000".
std::string bound(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

// An integer, also one written as 3.0, if it fits 64 bits.
std::optional<std::int64_t> as_integer(const Fields::Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  constexpr double kExact = 9007199254740992.0;  // 2^53: beyond it a double is not one integer
  if (std::nearbyint(number) != number || std::abs(number) > kExact) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

}  // namespace

Fields::Fields(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (object_.is_object()) {
    asked_.resize(object_.size());
  } else {
    std::string name = path_;
    if (name.ends_with('.')) name.pop_back();
    fault_ =
        Error{Code::kInvalidValue,
              (name.empty() ? "The body" : "'" + name + "'") + " must be a JSON object.", name};
  }
}

const Fields::Json* Fields::any(std::string_view name) {
  if (!object_.is_object()) return nullptr;
  const auto& members = object_.get_ref<const Json::object_t&>();
  const auto found = std::ranges::find(members, name, &Json::object_t::value_type::first);
  if (found == members.end()) return nullptr;
  asked_[static_cast<std::size_t>(found - members.begin())] = true;
  return found->second.is_null() ? nullptr : &found->second;
}

const Fields::Json* Fields::required_any(std::string_view name) {
  const Json* value = any(name);
  if (!value) {
    fail(Code::kMissingRequiredParameter, name,
         "Missing required parameter: '" + path_of(name) + "'.");
  }
  return value;
}

void Fields::required(std::string_view name, std::string& out) {
  const Json* value = required_any(name);
  if (!value) return;
  if (!value->is_string()) return invalid(name, "a string");
  out = value->get<std::string>();
}

void Fields::text(std::string_view name, std::size_t max_chars, std::string& out) {
  const Json* value = any(name);
  if (!value) return;
  if (!value->is_string()) return invalid(name, "a string");
  out = value->get<std::string>();
  if (out.size() <= max_chars) return;
  fail(Code::kStringAboveMaxLength, name,
       "'" + path_of(name) + "' is longer than " + std::to_string(max_chars) + " bytes.");
}

void Fields::boolean(std::string_view name, bool& out) {
  const Json* value = any(name);
  if (!value) return;
  if (!value->is_boolean()) return invalid(name, "true or false");
  out = value->get<bool>();
}

void Fields::integer(std::string_view name, Range<std::int64_t> range,
                     std::optional<std::int64_t>& out) {
  const Json* value = any(name);
  if (!value) return;
  const auto number = as_integer(*value);
  if (!number || *number < range.min || *number > range.max) {
    return invalid(
        name, "an integer from " + std::to_string(range.min) + " to " + std::to_string(range.max));
  }
  out = number;
}

void Fields::number(std::string_view name, Range<double> range, double& out) {
  const Json* value = any(name);
  if (!value) return;
  const double number =
      value->is_number() ? value->get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(number >= range.min && number <= range.max)) {
    return invalid(name, "a number from " + bound(range.min) + " to " + bound(range.max));
  }
  out = number;
}

void Fields::one_or_more(std::string_view name, std::size_t max_count, std::size_t max_chars,
                         std::vector<std::string>& out) {
  const Json* value = any(name);
  if (!value) return;
  const std::string expected = "a string or an array of up to " + std::to_string(max_count) +
                               " strings, of 1 to " + std::to_string(max_chars) + " bytes each";
  const auto add = [&](const Json& item) {
    if (!item.is_string()) return false;
    out.push_back(item.get<std::string>());
    return !out.back().empty() && out.back().size() <= max_chars;
  };
  const bool valid = value->is_array()
                         ? value->size() <= max_count && std::ranges::all_of(*value, add)
                         : add(*value);
  if (!valid) invalid(name, expected);
}

void Fields::integers(std::string_view name, std::size_t max_count, Range<std::int64_t> range,
                      std::vector<std::int32_t>& out) {
  const Json* value = any(name);
  if (!value) return;
  const auto add = [&](const Json& item) {
    const auto number = as_integer(item);
    if (!number || *number < range.min || *number > range.max) return false;
    out.push_back(static_cast<std::int32_t>(*number));
    return true;
  };
  if (!value->is_array() || value->size() > max_count || !std::ranges::all_of(*value, add)) {
    invalid(name, "an array of up to " + std::to_string(max_count) + " integers from " +
                      std::to_string(range.min) + " to " + std::to_string(range.max));
  }
}

void Fields::unsupported(std::string_view name, std::initializer_list<Json> neutral) {
  const Json* value = any(name);
  if (!value || std::ranges::find(neutral, *value) != neutral.end()) return;
  fail(Code::kUnsupportedParameter, name,
       "'" + path_of(name) + "' is not supported by this server" +
           (neutral.size() > 0 ? " with this value." : "."));
}

void Fields::fail(Code code, std::string_view name, std::string message) {
  if (!fault_) fault_ = Error{code, std::move(message), path_of(name)};
}

void Fields::absorb(const Result<void>& nested) {
  if (!nested && !fault_) fault_ = nested.error();
}

void Fields::invalid(std::string_view name, const std::string& expected) {
  fail(Code::kInvalidValue, name, "'" + path_of(name) + "' must be " + expected + ".");
}

Result<void> Fields::finish() {
  if (fault_) return *fault_;
  const auto unasked = std::ranges::find(asked_, false);
  if (unasked == asked_.end()) return {};
  const auto& members = object_.get_ref<const Json::object_t&>();
  const std::string& name = (members.begin() + (unasked - asked_.begin()))->first;
  const std::string path = path_of(name).substr(0, 200);
  return Error{Code::kUnknownParameter, "Unknown parameter: '" + path + "'.", path};
}

}  // namespace tessera

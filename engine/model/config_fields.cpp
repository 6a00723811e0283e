#include "engine/model/config_fields.hpp"

#include <cmath>
#include <utility>

#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = ConfigFields::Json;

bool is_count(const Json& value) {
  return value.is_number_integer() && value >= 0 && value <= (1 << 30);
}

bool is_finite(const Json& value) {
  return value.is_number() && std::isfinite(value.get<double>());
}

}  // namespace

Error unsupported_field(const std::string& field, const std::string& what) {
  return {Code::kUnsupportedModel, "config.json: " + field + ' ' + what, field};
}

void ConfigFields::take_error(const ConfigFields& nested) {
  if (!error_) error_ = nested.error_;
}

void ConfigFields::fail(std::string_view name, const std::string& what) {
  if (!error_) error_ = unsupported_field(prefix_ + std::string(name), what);
}

const Json* ConfigFields::find(std::string_view name) const {
  const auto found = node_.find(std::string(name));
  return found == node_.end() || found->is_null() ? nullptr : &*found;
}

int ConfigFields::integer(std::string_view name, std::optional<int> if_absent) {
  const Json* value = find(name);
  if (!value && if_absent) return *if_absent;
  const bool fits = value && is_count(*value);
  if (!fits) fail(name, "must be a whole number");
  return fits ? value->get<int>() : 0;
}

double ConfigFields::number(std::string_view name, std::optional<double> if_absent) {
  const Json* value = find(name);
  if (!value && if_absent) return *if_absent;
  const bool fits = value && is_finite(*value);
  if (!fits) fail(name, "must be a number");
  return fits ? value->get<double>() : 0.0;
}

float ConfigFields::real(std::string_view name, std::optional<float> if_absent) {
  const auto value = static_cast<float>(
      number(name, if_absent ? std::optional(static_cast<double>(*if_absent)) : std::nullopt));
  if (std::isfinite(value)) return value;
  fail(name, "must be a number");
  return 0.0F;
}

bool ConfigFields::flag(std::string_view name, bool if_absent) {
  const Json* value = find(name);
  if (!value) return if_absent;
  if (!value->is_boolean()) fail(name, "must be true or false");
  return value->is_boolean() && value->get<bool>();
}

std::string ConfigFields::text(std::string_view name, std::string_view if_absent) {
  const Json* value = find(name);
  if (!value) return std::string(if_absent);
  if (!value->is_string()) fail(name, "must be a string");
  return value->is_string() ? value->get<std::string>() : std::string();
}

const Json* ConfigFields::list(std::string_view name) {
  const Json* value = find(name);
  if (!value || (value->is_array() && value->size() <= kListMax)) return value;
  fail(name, "must be a list");
  return nullptr;
}

std::vector<int> ConfigFields::integers(std::string_view name) {
  std::vector<int> values;
  const Json* items = list(name);
  if (!items) return values;
  for (const Json& item : *items) {
    if (!is_count(item)) fail(name, "must be a list of whole numbers");
    values.push_back(is_count(item) ? item.get<int>() : 0);
  }
  return values;
}

std::vector<float> ConfigFields::numbers(std::string_view name) {
  std::vector<float> values;
  const Json* items = list(name);
  if (!items) return values;
  for (const Json& item : *items) {
    if (!is_finite(item)) fail(name, "must be a list of numbers");
    values.push_back(is_finite(item) ? item.get<float>() : 0.0F);
  }
  return values;
}

std::vector<std::string> ConfigFields::texts(std::string_view name) {
  std::vector<std::string> values;
  const Json* items = list(name);
  if (!items) return values;
  for (const Json& item : *items) {
    if (!item.is_string()) fail(name, "must be a list of strings");
    values.push_back(item.is_string() ? item.get<std::string>() : std::string());
  }
  return values;
}

int ConfigFields::integer_or_off(std::string_view name, int if_missing) {
  if (is_missing(name)) return if_missing;
  return integer(name, 0);
}

void ConfigFields::must_be(std::string_view name, const Json& only) {
  const Json* value = find(name);
  if (value && *value != only) fail(name, to_text(*value) + " is not supported");
}

const Json* ConfigFields::object(std::string_view name) {
  const Json* value = find(name);
  if (value && !value->is_object()) fail(name, "must be an object");
  return value && value->is_object() ? value : nullptr;
}

}  // namespace tessera

#include <algorithm>
#include <string>
#include <utility>

#include "engine/text/jinja/builtins.hpp"

namespace tessera::jinja {

Bound::Bound(std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> parameters)
    : function_(function), values_(parameters.size()) {
  if (arguments.positional.size() > parameters.size()) {
    fail(function_ + "() takes at most " + std::to_string(parameters.size()) + " arguments");
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i)
    values_[i] = arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) {
      fail(function_ + "() got an unexpected keyword argument '" + name + "'");
    }
    auto& slot = values_[static_cast<std::size_t>(found - parameters.begin())];
    if (slot) fail(function_ + "() got multiple values for argument '" + name + "'");
    slot = value;
  }
}

const Value* Bound::find(std::size_t index) const {
  return values_[index] ? &*values_[index] : nullptr;
}

const Value& Bound::required(std::size_t index) const {
  if (!values_[index]) fail(function_ + "() misses a required argument");
  return *values_[index];
}

Value Bound::get(std::size_t index, Value if_absent) const {
  return values_[index] ? *values_[index] : std::move(if_absent);
}

bool Bound::flag(std::size_t index, bool if_absent) const {
  return values_[index] ? is_true(*values_[index]) : if_absent;
}

std::int64_t Bound::integer(std::size_t index, std::int64_t if_absent) const {
  if (!values_[index]) return if_absent;
  const auto value = values_[index]->integer();
  if (!value)
    fail(function_ + "() needs a whole number, not " + std::string(type_name(*values_[index])));
  return *value;
}

std::optional<std::string> Bound::text(std::size_t index) const {
  if (!values_[index] || values_[index]->is_none()) return std::nullopt;
  const std::string* value = values_[index]->string();
  if (!value) fail(function_ + "() needs a str, not " + std::string(type_name(*values_[index])));
  return *value;
}

}  // namespace tessera::jinja

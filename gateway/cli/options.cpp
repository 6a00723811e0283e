#include "gateway/cli/options.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace tessera {
namespace {

Error wrong(const std::string& name, const std::string& expected) {
  return {Code::kInvalidValue, name + " must be " + expected + "."};
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_bytes(std::string_view text) {
  constexpr std::string_view kUnits = "KMGT";
  int shift = 0;
  if (!text.empty()) {
    const std::size_t unit = kUnits.find(text.back());
    if (unit != std::string_view::npos) {
      shift = 10 * (static_cast<int>(unit) + 1);
      text.remove_suffix(1);
    }
  }
  const auto value = parse_integer(text);
  if (!value || *value < 1 || *value > (INT64_MAX >> shift)) return std::nullopt;
  return *value << shift;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : std::string(between)) + word;
  return out;
}

}  // namespace

Option list_option(std::string name, std::string value, std::string help,
                   std::vector<std::string>& out) {
  return {std::move(name), std::move(value), std::move(help), [&out](std::string_view text) {
            out.emplace_back(text);
            return Result<void>();
          }};
}

Result<std::int64_t> integer_value(const std::string& name, std::string_view text,
                                   Range<std::int64_t> range) {
  const auto number = parse_integer(text);
  if (number && *number >= range.min && *number <= range.max) return *number;
  return wrong(name,
               "an integer from " + std::to_string(range.min) + " to " + std::to_string(range.max));
}

Option bytes_option(std::string name, std::string help, std::int64_t& out) {
  const auto set = [name, &out](std::string_view text) -> Result<void> {
    const auto bytes = parse_bytes(text);
    if (!bytes) return wrong(name, "a number of bytes such as 512M or 2G");
    out = *bytes;
    return {};
  };
  return {name, "BYTES", std::move(help), set};
}

Option choice_option(std::string name, std::vector<std::string> choices, std::string help,
                     std::string& out) {
  const std::string value = "{" + joined(choices, ",") + "}";
  const auto set = [name, choices = std::move(choices),
                    &out](std::string_view text) -> Result<void> {
    if (std::ranges::find(choices, text) == choices.end()) {
      return wrong(name, "one of " + joined(choices, ", "));
    }
    out = text;
    return {};
  };
  return {name, value, std::move(help), set};
}

Option switch_option(std::string name, std::string help, bool& out) {
  return {std::move(name), "", std::move(help), [&out](std::string_view) {
            out = true;
            return Result<void>();
          }};
}

Result<std::vector<std::string>> parse_options(std::span<const std::string> arguments,
                                               const std::vector<Option>& options) {
  std::vector<std::string> rest;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with('-') || argument == "-") {
      rest.push_back(argument);
      continue;
    }
    const std::size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const auto option = std::ranges::find(options, name, &Option::name);
    if (option == options.end()) return Error{Code::kInvalidValue, "Unknown option: " + name + "."};
    const bool has_value = equals != std::string::npos;
    if (option->value.empty() && has_value) {
      return Error{Code::kInvalidValue, name + " takes no value."};
    }
    std::string value = has_value ? argument.substr(equals + 1) : "";
    if (!option->value.empty() && !has_value) {
      if (i + 1 == arguments.size()) {
        return Error{Code::kInvalidValue, name + " needs a value: " + option->value + "."};
      }
      value = arguments[++i];
    }
    if (auto set = option->set(value); !set) return set.error();
  }
  return rest;
}

std::string describe_options(const std::vector<Option>& options) {
  std::size_t width = 0;
  const auto left_of = [](const Option& option) { return option.name + ' ' + option.value; };
  for (const Option& option : options) width = std::max(width, left_of(option).size());
  std::string out;
  for (const Option& option : options) {
    std::string left = left_of(option);
    left.resize(width + 2, ' ');
    out += "  " + left + option.help + '\n';
  }
  return out;
}

}  // namespace tessera

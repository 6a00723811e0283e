// options.hpp — a command's options as a table: parsing, checking and --help come from it.
//
//     int threads = 0;
//     std::vector<Option> options = {integer("--threads", "N", "CPU threads", {0, 1024}, threads)};
//     auto rest = parse_options(arguments, options);
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/api/fields.hpp"
#include "storage/result.hpp"

namespace tessera {

struct Option {
  std::string name;   // "--listen"
  std::string value;  // what stands for its value in --help: "HOST:PORT"; empty for a switch
  std::string help;   // one line, with the default
  // Takes the value; an Error is told to the user.
  std::function<Result<void>(std::string_view)> set;
};

// `out` is a string or a path.
template <class Text>
Option text_option(std::string name, std::string value, std::string help, Text& out) {
  return {std::move(name), std::move(value), std::move(help), [&out](std::string_view text) {
            out = text;
            return Result<void>();
          }};
}

// May be given several times.
Option list_option(std::string name, std::string value, std::string help,
                   std::vector<std::string>& out);

// The value of an integer option, or the Error that says what it has to be.
Result<std::int64_t> integer_value(const std::string& name, std::string_view text,
                                   Range<std::int64_t> range);

// `range` must fit the type of `out`.
template <std::integral Integer>
Option integer_option(std::string name, std::string value, std::string help,
                      Range<std::int64_t> range, Integer& out) {
  const auto set = [name, range, &out](std::string_view text) -> Result<void> {
    const auto number = integer_value(name, text, range);
    if (!number) return number.error();
    out = static_cast<Integer>(*number);
    return {};
  };
  return {name, std::move(value), std::move(help), set};
}

// Bytes, as "512M" or "2G" (binary) or a plain number.
Option bytes_option(std::string name, std::string help, std::int64_t& out);
Option choice_option(std::string name, std::vector<std::string> choices, std::string help,
                     std::string& out);
Option switch_option(std::string name, std::string help, bool& out);

// Sets what the arguments say ("--name value" or "--name=value") and returns those that are not
// options, in order. Errors: kInvalidValue with a sentence for the user.
Result<std::vector<std::string>> parse_options(std::span<const std::string> arguments,
                                               const std::vector<Option>& options);

// The options as lines of --help.
std::string describe_options(const std::vector<Option>& options);

}  // namespace tessera

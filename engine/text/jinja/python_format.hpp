// python_format.hpp — values as text, the way Python writes them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/text/jinja/runtime.hpp"
#include "engine/text/jinja/value.hpp"

namespace tessera::jinja {

std::string to_str(const Value& value);   // str(): what printing shows
std::string to_repr(const Value& value);  // repr(): as inside a printed list

// The shortest text that reads back as the same float: "1.0", "1e-05", "inf".
std::string format_float(double value);

// "%s and %d" % values; the values are a tuple, or one value. Flags and widths too.
std::string format_percent(Runtime& runtime, std::string_view format, const Value& values);

// "{} {name}".format(...); conversions (!r) and format specs are not supported and fail.
std::string format_braces(std::string_view format, const Arguments& arguments);

// json.dumps with the options that transformers' tojson passes on.
struct JsonOptions {
  bool ensure_ascii = false;
  std::optional<std::string> indent = std::nullopt;  // one level of it
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
std::string to_json(const Value& value, const JsonOptions& options);

}  // namespace tessera::jinja

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/builtins.hpp"
#include "engine/text/jinja/python_format.hpp"
#include "engine/text/jinja/python_text.hpp"

namespace tessera::jinja {
namespace {

Value keep_markup(const Value& input, std::string text) {
  return Value(std::move(text), input.is_markup());
}

template <std::string (*function)(std::string_view)>
Value mapped(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("filter", arguments, {});
  return keep_markup(input, function(to_str(input)));
}

Value trim(Runtime&, const Value& input, const Arguments& arguments) {
  const auto chars = Bound("trim", arguments, {"chars"}).text(0);
  const std::string text = to_str(input);
  return keep_markup(input, std::string(strip(text, chars ? std::optional<std::string_view>(*chars)
                                                          : std::nullopt)));
}

Value string(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("string", arguments, {});
  return input.is_string() ? input : Value(to_str(input));
}

Value safe(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("safe", arguments, {});
  return Value(to_str(input), true);
}

Value escape(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("escape", arguments, {});
  return input.is_markup() ? input : Value(escape_html(to_str(input)), true);
}

// Jinja's own title: a word begins after white space, a hyphen or an opening bracket.
Value title_filter(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("title", arguments, {});
  std::string out;
  std::string word;
  const std::string text = to_str(input);
  for (const std::string_view character : characters(text)) {
    const bool breaks = strip(character, std::nullopt).empty() ||
                        std::string_view("-({[<").find(character) != std::string_view::npos;
    if (!breaks) {
      word += character;
      continue;
    }
    out += capitalize(word) + std::string(character);
    word.clear();
  }
  return keep_markup(input, out + capitalize(word));
}

Value replace_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"});
  const std::string text = to_str(input);
  const std::string with = to_str(bound.required(1));
  runtime.check_size((text.size() + 1) * (with.size() + 1));
  const Value* count = bound.find(2);
  const std::int64_t limit = count && !count->is_none() ? bound.integer(2, -1) : -1;
  std::string out = replace(text, to_str(bound.required(0)), with, limit);
  runtime.spend_bytes(out.size());
  return out;
}

Value format(Runtime& runtime, const Value& input, const Arguments& arguments) {
  if (!arguments.named.empty()) fail("format with named arguments is not supported");
  return format_percent(runtime, to_str(input), Value::tuple(arguments.positional));
}

Value wordcount(Runtime&, const Value& input, const Arguments& arguments) {
  Bound("wordcount", arguments, {});
  std::int64_t count = 0;
  bool in_word = false;
  const std::string text = to_str(input);
  for (const std::string_view character : characters(text)) {
    const bool word = character == "_" || all_are(character, CharClass::kAlnum);
    count += word && !in_word ? 1 : 0;
    in_word = word;
  }
  return count;
}

Value indent(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("indent", arguments, {"width", "first", "blank"});
  const Value* width = bound.find(0);
  const bool by_text = width && width->is_string();
  const std::int64_t spaces = by_text ? 0 : std::max<std::int64_t>(bound.integer(0, 4), 0);
  runtime.check_size(static_cast<std::size_t>(spaces));
  const std::string prefix =
      by_text ? *width->string() : std::string(static_cast<std::size_t>(spaces), ' ');
  const bool blank = bound.flag(2, false);
  const std::vector<std::string> lines = split_lines(to_str(input) + '\n');
  runtime.check_size(lines.size() * (prefix.size() + 1));

  std::string out = bound.flag(1, false) ? prefix : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += prefix;
    out += lines[i];
  }
  return keep_markup(input, std::move(out));
}

// int(): a number, or text that is one; else the default.
Value to_int(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound("int", arguments, {"default", "base"});
  const Value if_not = bound.get(0, std::int64_t{0});
  if (input.integer()) return *input.integer();
  if (const double* number = input.floating()) {
    const bool fits = std::isfinite(*number) && std::fabs(*number) < 0x1p63;
    return fits ? Value(static_cast<std::int64_t>(*number)) : if_not;
  }
  if (!input.is_string()) return if_not;
  std::string digits(strip(*input.string(), std::nullopt));
  if (digits.starts_with('+')) digits.erase(0, 1);
  const char* end = digits.data() + digits.size();
  std::int64_t value = 0;
  const auto base = static_cast<int>(bound.integer(1, 10));
  if (base < 2 || base > 36) return if_not;
  const auto parsed = std::from_chars(digits.data(), end, value, base);
  if (parsed.ec == std::errc() && parsed.ptr == end) return value;
  double number = 0.0;
  const auto as_float = std::from_chars(digits.data(), end, number);
  const bool fits = as_float.ec == std::errc() && as_float.ptr == end && std::fabs(number) < 0x1p63;
  return fits ? Value(static_cast<std::int64_t>(number)) : if_not;
}

Value to_float(Runtime&, const Value& input, const Arguments& arguments) {
  const Value if_not = Bound("float", arguments, {"default"}).get(0, 0.0);
  if (input.number()) return *input.number();
  if (!input.is_string()) return if_not;
  const std::string digits(strip(*input.string(), std::nullopt));
  double value = 0.0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size() ? Value(value)
                                                                                 : if_not;
}

Value abs_filter(Runtime& runtime, const Value& input, const Arguments& arguments) {
  Bound("abs", arguments, {});
  if (!input.number()) fail("bad operand type for abs(): '" + std::string(type_name(input)) + "'");
  if (input.integer()) {
    if (*input.integer() == INT64_MIN) fail("a whole number does not fit 64 bits");
    return std::abs(*input.integer());
  }
  runtime.spend();
  return std::fabs(*input.number());
}

// round(): always a float, halves to even as Python's, or up or down.
Value round_filter(Runtime&, const Value& input, const Arguments& arguments) {
  const Bound bound("round", arguments, {"precision", "method"});
  const std::string method = bound.text(1).value_or("common");
  if (!input.number()) fail("round needs a number, not " + std::string(type_name(input)));
  const std::int64_t precision = std::clamp<std::int64_t>(bound.integer(0, 0), -300, 300);
  if (method == "common" && precision >= 0) {
    // Correctly rounded decimal digits, which is how Python rounds.
    std::array<char, 700> buffer{};
    const auto printed =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), *input.number(),
                      std::chars_format::fixed, static_cast<int>(precision));
    double value = 0.0;
    std::from_chars(buffer.data(), printed.ptr, value);
    return input.integer() ? Value(*input.integer()) : Value(value);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = *input.number() * scale;
  if (method == "ceil") return std::ceil(scaled) / scale;
  if (method == "floor") return std::floor(scaled) / scale;
  if (method == "common") return std::nearbyint(scaled) / scale;
  fail("method must be common, ceil or floor");
}

std::optional<std::string> json_indent(const Bound& bound) {
  const Value* indent = bound.find(1);
  if (!indent || indent->is_none()) return std::nullopt;
  if (const std::string* text = indent->string()) return *text;
  const std::int64_t spaces = std::clamp<std::int64_t>(bound.integer(1, 0), 0, 64);
  return std::string(static_cast<std::size_t>(spaces), ' ');
}

Value tojson(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonOptions options;
  options.ensure_ascii = bound.flag(0, false);
  options.indent = json_indent(bound);
  if (options.indent) options.item_separator = ",";
  const Value* separators = bound.find(2);
  if (separators && !separators->is_none()) {
    const std::vector<Value> pair = iterate(*separators);
    if (pair.size() != 2) fail("separators must be a pair");
    options.item_separator = to_str(pair[0]);
    options.key_separator = to_str(pair[1]);
  }
  options.sort_keys = bound.flag(3, false);
  std::string out = to_json(input, options);
  runtime.check_size(out.size());
  runtime.spend(out.size() / 16);
  return out;
}

struct Entry {
  std::string_view name;
  FilterFunction function;
};

constexpr Entry kFilters[] = {
    {"trim", trim},
    {"string", string},
    {"safe", safe},
    {"escape", escape},
    {"e", escape},
    {"upper", mapped<upper>},
    {"lower", mapped<lower>},
    {"capitalize", mapped<capitalize>},
    {"title", title_filter},
    {"replace", replace_filter},
    {"format", format},
    {"wordcount", wordcount},
    {"indent", indent},
    {"int", to_int},
    {"float", to_float},
    {"abs", abs_filter},
    {"round", round_filter},
    {"tojson", tojson},
};

}  // namespace

FilterFunction find_text_filter(std::string_view name) {
  for (const Entry& entry : kFilters) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace tessera::jinja

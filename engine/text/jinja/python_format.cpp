#include "engine/text/jinja/python_format.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "engine/text/jinja/operators.hpp"
#include "engine/text/jinja/python_text.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::jinja {
namespace {

std::string hex(std::uint32_t value, int digits) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out.push_back(kDigits[(value >> static_cast<unsigned>(shift)) & 0xFU]);
  }
  return out;
}

std::string repr_text(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const std::string_view character : characters(text)) {
    const char32_t c = utf8_step(character).code_point;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out.append("\\").append(character);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += character;
    } else {
      out += c < 0x100 ? "\\x" + hex(c, 2) : c < 0x10000 ? "\\u" + hex(c, 4) : "\\U" + hex(c, 8);
    }
  }
  return out + quote;
}

std::string join_reprs(const std::vector<Value>& items) {
  std::string out;
  for (const Value& item : items) {
    if (!out.empty()) out += ", ";
    out += to_repr(item);
  }
  return out;
}

std::string repr_sequence(const Sequence& sequence) {
  const std::string inside = join_reprs(sequence.items);
  switch (sequence.form) {
    case Sequence::Form::kTuple:
      return '(' + inside + (sequence.items.size() == 1 ? ",)" : ")");
    case Sequence::Form::kView:
      return "dict_view([" + inside + "])";
    case Sequence::Form::kList:
    case Sequence::Form::kRange:
      return '[' + inside + ']';
  }
  return inside;
}

std::string repr_dict(const Dict& dict) {
  std::string out;
  for (const auto& [key, value] : dict.items()) {
    if (!out.empty()) out += ", ";
    out += to_repr(key) + ": " + to_repr(value);
  }
  return '{' + out + '}';
}

// One conversion of a percent format: "%-5.2f".
struct Conversion {
  std::string flags;
  std::string width;
  std::string precision;  // with its dot
  char type = 's';
};

std::size_t read_conversion(std::string_view text, Conversion& out) {
  std::size_t at = 0;
  const auto run = [&](std::string_view set) {
    const std::size_t begin = at;
    while (at < text.size() && set.find(text[at]) != std::string_view::npos) ++at;
    return std::string(text.substr(begin, at - begin));
  };
  out.flags = run("-+ #0");
  out.width = run("0123456789");
  out.precision = run(".0123456789");
  if (at >= text.size()) fail("incomplete format");
  out.type = text[at++];
  return at;
}

std::string print_number(const Conversion& conversion, const Value& value, std::size_t width_max) {
  std::array<char, 512> buffer{};
  const bool is_float = std::string_view("feEgGF").find(conversion.type) != std::string_view::npos;
  if (!value.is_number()) fail("a number is required, not " + std::string(type_name(value)));
  if (conversion.width.size() + conversion.precision.size() > width_max) fail("format too wide");
  std::string format = '%' + conversion.flags + conversion.width + conversion.precision;
  int written = 0;
  if (is_float) {
    format += conversion.type;
    written = std::snprintf(buffer.data(), buffer.size(), format.c_str(), *value.number());
  } else {
    format.append("ll").push_back(
        conversion.type == 'd' || conversion.type == 'u' ? 'd' : conversion.type);
    const double truncated = std::trunc(*value.number());
    const auto integer = static_cast<long long>(
        value.integer() ? *value.integer() : static_cast<std::int64_t>(truncated));
    written = std::snprintf(buffer.data(), buffer.size(), format.c_str(), integer);
  }
  const auto size = static_cast<std::size_t>(std::clamp(written, 0, 511));
  return std::string(buffer.data(), size);
}

std::string print_text(const Conversion& conversion, std::string text) {
  std::vector<std::string_view> all = characters(text);
  const auto number = [](const std::string& digits) {
    return static_cast<std::size_t>(std::min(std::atoi(digits.c_str()), 4096));
  };
  if (conversion.precision.size() > 1) {
    all.resize(std::min(all.size(), number(conversion.precision.substr(1))));
  }
  std::string out;
  for (const std::string_view character : all) out += character;
  const std::size_t width = number(conversion.width);
  const std::string padding(width > all.size() ? width - all.size() : 0, ' ');
  return conversion.flags.find('-') == std::string::npos ? padding + out : out + padding;
}

std::string print(const Conversion& conversion, const Value& value) {
  constexpr std::size_t kWidthDigitsMax = 5;
  switch (conversion.type) {
    case 's':
      return print_text(conversion, to_str(value));
    case 'r':
      return print_text(conversion, to_repr(value));
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      return print_number(conversion, value, kWidthDigitsMax);
    default:
      fail(std::string("unsupported format character '") + conversion.type + "'");
  }
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonOptions& options) : options_(options) {}

  std::string take() { return std::move(out_); }

  void write(const Value& value) {
    if (value.is_none()) {
      out_ += "null";
    } else if (value.is_number()) {
      out_ += scalar(value);
    } else if (const std::string* text = value.string()) {
      write_text(*text);
    } else if (const Sequence* sequence = value.sequence()) {
      if (sequence->form == Sequence::Form::kView) refuse(value);
      write_items('[', ']', sequence->items.size(),
                  [&](std::size_t i) { write(sequence->items[i]); });
    } else if (const Dict* dict = value.dict()) {
      write_dict(*dict);
    } else {
      refuse(value);
    }
  }

 private:
  [[noreturn]] static void refuse(const Value& value) {
    fail("Object of type " + std::string(type_name(value)) + " is not JSON serializable");
  }

  static std::string scalar(const Value& value) {
    if (const bool* flag = value.boolean()) return *flag ? "true" : "false";
    if (value.integer()) return std::to_string(*value.integer());
    const double number = *value.floating();
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return format_float(number);
  }

  template <class WriteItem>
  void write_items(char open, char close, std::size_t count, const WriteItem& write_item) {
    out_ += open;
    ++depth_;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out_ += options_.item_separator;
      new_line();
      write_item(i);
    }
    --depth_;
    if (count > 0) new_line();
    out_ += close;
  }

  void new_line() {
    if (!options_.indent) return;
    out_ += '\n';
    for (int i = 0; i < depth_; ++i) out_ += *options_.indent;
  }

  void write_dict(const Dict& dict) {
    std::vector<std::pair<Value, Value>> items = dict.items();
    if (options_.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return less(a.first, b.first); });
    }
    write_items('{', '}', items.size(), [&](std::size_t i) {
      write_key(items[i].first);
      out_ += options_.key_separator;
      write(items[i].second);
    });
  }

  void write_key(const Value& key) {
    if (const std::string* text = key.string()) {
      write_text(*text);
    } else if (key.is_none() || key.is_number()) {
      write_text(key.is_none() ? "null" : scalar(key));
    } else {
      fail("keys must be str, int, float, bool or None, not " + std::string(type_name(key)));
    }
  }

  void write_text(std::string_view text) {
    out_ += '"';
    for (const std::string_view character : characters(text)) {
      write_character(character, utf8_step(character).code_point);
    }
    out_ += '"';
  }

  void write_character(std::string_view character, char32_t c) {
    static constexpr std::pair<char32_t, const char*> kShort[] = {
        {'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\r', "\\r"},
        {'\t', "\\t"}, {'\f', "\\f"},  {'\b', "\\b"}};
    for (const auto& [escaped, text] : kShort) {
      if (c != escaped) continue;
      out_ += text;
      return;
    }
    if (c < 0x20 || (options_.ensure_ascii && c > 0x7E && c < 0x10000)) {
      out_ += "\\u" + hex(c, 4);
    } else if (options_.ensure_ascii && c >= 0x10000) {
      out_ += "\\u" + hex(0xD800 + ((c - 0x10000) >> 10U), 4);
      out_ += "\\u" + hex(0xDC00 + ((c - 0x10000) & 0x3FFU), 4);
    } else {
      out_ += character;
    }
  }

  const JsonOptions& options_;
  std::string out_;
  int depth_ = 0;
};

}  // namespace

std::string to_str(const Value& value) {
  if (const std::string* text = value.string()) return *text;
  return value.is_undefined() ? std::string() : to_repr(value);
}

std::string to_repr(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (const bool* flag = value.boolean()) return *flag ? "True" : "False";
  if (value.integer()) return std::to_string(*value.integer());
  if (const double* number = value.floating()) return format_float(*number);
  if (const std::string* text = value.string()) {
    return value.is_markup() ? "Markup(" + repr_text(*text) + ")" : repr_text(*text);
  }
  if (const Sequence* sequence = value.sequence()) return repr_sequence(*sequence);
  if (const Dict* dict = value.dict()) return repr_dict(*dict);
  return "<" + std::string(type_name(value)) + ">";
}

std::string format_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 32> buffer{};
  const auto shortest = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                      std::chars_format::scientific);
  const std::string_view scientific(buffer.data(),
                                    static_cast<std::size_t>(shortest.ptr - buffer.data()));
  const std::size_t e = scientific.find('e');
  const int exponent = std::atoi(scientific.data() + e + 1);
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  const bool negative = scientific.front() == '-';
  std::string digits(scientific.substr(negative ? 1 : 0, e - (negative ? 1 : 0)));
  std::erase(digits, '.');
  const auto count = static_cast<int>(digits.size());
  std::string out = negative ? "-" : "";
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) {
    return out + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  }
  return out + digits.substr(0, static_cast<std::size_t>(exponent + 1)) + '.' +
         digits.substr(static_cast<std::size_t>(exponent + 1));
}

std::string format_percent(Runtime& runtime, std::string_view format, const Value& values) {
  const Sequence* sequence = values.sequence();
  const bool is_tuple = sequence && sequence->form == Sequence::Form::kTuple;
  const std::vector<Value> all = is_tuple ? sequence->items : std::vector<Value>{values};
  std::string out;
  std::size_t used = 0;
  while (!format.empty()) {
    const std::size_t percent = format.find('%');
    out += format.substr(0, percent);
    if (percent == std::string_view::npos) break;
    format.remove_prefix(percent + 1);
    Conversion conversion;
    format.remove_prefix(read_conversion(format, conversion));
    if (conversion.type == '%') {
      out += '%';
      continue;
    }
    if (used == all.size()) fail("not enough arguments for format string");
    out += print(conversion, all[used++]);
    runtime.check_size(out.size());
  }
  if (used < all.size() && !(values.dict() && used == 0)) {
    fail("not all arguments converted during string formatting");
  }
  return out;
}

std::string format_braces(std::string_view format, const Arguments& arguments) {
  std::string out;
  std::size_t automatic = 0;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if (c != '{' && c != '}') {
      out += c;
      continue;
    }
    if (at + 1 < format.size() && format[at + 1] == c) {
      out += c;
      ++at;
      continue;
    }
    const std::size_t close = format.find('}', at);
    if (c == '}' || close == std::string_view::npos)
      fail("a brace in the format string is not closed");
    const std::string field(format.substr(at + 1, close - at - 1));
    at = close;
    const bool numbered = field.find_first_not_of("0123456789") == std::string::npos;
    if (numbered) {
      const std::size_t index =
          field.empty() ? automatic++ : std::strtoul(field.c_str(), nullptr, 10);
      if (index >= arguments.positional.size())
        fail("Replacement index out of range for positional args tuple");
      out += to_str(arguments.positional[index]);
      continue;
    }
    const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&field](const auto& named) { return named.first == field; });
    if (found == arguments.named.end())
      fail("format field '" + field + "' is not supported or not given");
    out += to_str(found->second);
  }
  return out;
}

std::string to_json(const Value& value, const JsonOptions& options) {
  JsonWriter writer(options);
  writer.write(value);
  return writer.take();
}

}  // namespace tessera::jinja

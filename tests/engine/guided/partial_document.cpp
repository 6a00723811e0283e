#include "tests/engine/guided/partial_document.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace tessera::guided {
namespace {

constexpr char32_t kLast = 0x10FFFF;

struct Malformed {};

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 63));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 63));
    put(0x80 | (c >> 6 & 63));
  }
  put(0x80 | (c & 63));
}

bool is_high(char32_t unit) {
  return unit >= 0xD800 && unit < 0xDC00;
}

// What a UTF-16 unit between `low` and `high` may become: itself, or with another one.
std::vector<CodePointRange> units(char32_t low, char32_t high) {
  std::vector<CodePointRange> ranges;
  if (low < 0xD800) ranges.emplace_back(low, std::min<char32_t>(high, 0xD7FF));
  if (high > 0xDFFF) ranges.emplace_back(std::max<char32_t>(low, 0xE000), high);
  const char32_t first = std::max<char32_t>(low, 0xD800);
  const char32_t last = std::min<char32_t>(high, 0xDBFF);
  if (first <= last) {
    ranges.emplace_back(0x10000 + ((first - 0xD800) << 10),
                        0x10000 + ((last - 0xD800) << 10) + 1023);
  }
  if (ranges.empty()) throw Malformed{};
  return ranges;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Partial document() {
    Partial root = value();
    if (!at_end()) throw Malformed{};
    return root;
  }

 private:
  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return text_[at_]; }
  unsigned char next() { return static_cast<unsigned char>(text_[at_++]); }

  Partial value() {
    Partial out;
    if (at_end()) return out;
    const char c = peek();
    if (c == '{') return object();
    if (c == '[') return array();
    if (c == '"') {
      ++at_;
      return string_value();
    }
    if (c == '-' || std::isdigit(static_cast<unsigned char>(c)) != 0) return number();
    return word();
  }

  Partial word() {
    for (const std::string_view known : {"true", "false", "null"}) {
      const std::string_view here = text_.substr(at_, known.size());
      if (here.empty() || !known.starts_with(here)) continue;
      at_ += here.size();
      Partial out;
      out.kind = here == known ? Partial::Kind::kWhole : Partial::Kind::kWord;
      out.text = known;
      out.value = Value::parse(known);
      return out;
    }
    throw Malformed{};
  }

  // -?(0|[1-9][0-9]*)(\.[0-9]+)?, as far as the text goes; exponents are not asked about.
  Partial number() {
    const std::size_t begin = at_;
    if (peek() == '-') ++at_;
    const std::size_t digits = at_;
    skip_digits();
    if (at_ == digits && !at_end()) throw Malformed{};
    if (at_ - digits > 1 && text_[digits] == '0') throw Malformed{};
    if (!at_end() && peek() == '.' && at_ > digits) {
      const std::size_t point = at_++;
      skip_digits();
      if (at_ == point + 1 && !at_end()) throw Malformed{};
    }
    Partial out;
    out.text = text_.substr(begin, at_ - begin);
    out.kind = at_end() ? Partial::Kind::kNumber : Partial::Kind::kWhole;
    if (!at_end()) out.value = Value::parse(out.text);
    return out;
  }

  void skip_digits() {
    while (!at_end() && std::isdigit(static_cast<unsigned char>(peek())) != 0) ++at_;
  }

  // After the opening quote. True if the closing one was there.
  bool string(PartialString& out) {
    while (!at_end()) {
      if (peek() == '"') {
        ++at_;
        return true;
      }
      if (peek() == '\\') {
        escape(out);
      } else {
        plain(out);
      }
    }
    return false;
  }

  void plain(PartialString& out) {
    const unsigned char lead = next();
    if (lead < 0x20) throw Malformed{};
    if (lead < 0x80) {
      out.text += lead;
      return;
    }
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4) throw Malformed{};
    char32_t low = lead & (0x3FU >> more);
    char32_t high = low;
    int read = 0;
    for (; read < more && !at_end(); ++read) {
      const unsigned char byte = next();
      if ((byte & 0xC0U) != 0x80U) throw Malformed{};
      low = high = low << 6 | (byte & 63U);
    }
    for (int i = read; i < more; ++i) {
      low = low << 6;
      high = high << 6 | 63;
    }
    constexpr std::array<char32_t, 4> kFirst = {0, 0x80, 0x800, 0x10000};
    low = std::max(low, kFirst[static_cast<std::size_t>(more)]);
    high = std::min(high, kLast);
    std::vector<CodePointRange> ranges;
    if (low < 0xD800) ranges.emplace_back(low, std::min<char32_t>(high, 0xD7FF));
    if (high > 0xDFFF) ranges.emplace_back(std::max<char32_t>(low, 0xE000), high);
    std::erase_if(ranges, [](const CodePointRange& range) { return range.first > range.second; });
    if (ranges.empty()) throw Malformed{};
    if (read < more) {
      out.pending = std::move(ranges);
    } else {
      out.text += low;
    }
  }

  void escape(PartialString& out) {
    ++at_;
    if (at_end()) {
      out.pending = {{0, 0xD7FF}, {0xE000, kLast}};
      return;
    }
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    const char name = static_cast<char>(next());
    if (name != 'u') {
      const std::size_t which = kNames.find(name);
      if (which == std::string_view::npos) throw Malformed{};
      out.text += static_cast<unsigned char>(kMeant[which]);
      return;
    }
    const CodePointRange unit = hex();
    const auto ranges = units(unit.first, unit.second);
    if (at_end() && unit.first != unit.second) {
      out.pending = ranges;
    } else if (!is_high(unit.first)) {
      out.text += unit.first;
    } else {
      low_surrogate(unit.first, out);
    }
  }

  void low_surrogate(char32_t high, PartialString& out) {
    CodePointRange unit = {0xDC00, 0xDFFF};
    bool whole = false;
    if (!at_end() && next() != '\\') throw Malformed{};
    if (!at_end()) {
      if (next() != 'u') throw Malformed{};
      unit = hex();
      unit.first = std::max<char32_t>(unit.first, 0xDC00);
      unit.second = std::min<char32_t>(unit.second, 0xDFFF);
      if (unit.first > unit.second) throw Malformed{};
      whole = unit.first == unit.second && !half_hex_;
    }
    const char32_t base = 0x10000 + ((high - 0xD800) << 10);
    if (whole) {
      out.text += base + (unit.first - 0xDC00);
    } else {
      out.pending = {{base + (unit.first - 0xDC00), base + (unit.second - 0xDC00)}};
    }
  }

  // Four digits, or all that they may become if the text ends before.
  CodePointRange hex() {
    char32_t value = 0;
    int read = 0;
    for (; read < 4 && !at_end(); ++read) {
      const unsigned char digit = next();
      if (std::isxdigit(digit) == 0) throw Malformed{};
      value = value * 16 + static_cast<char32_t>(
                               std::stoi(std::string(1, static_cast<char>(digit)), nullptr, 16));
    }
    half_hex_ = read < 4;
    const int missing = 4 * (4 - read);
    return {value << missing, (value << missing) | ((char32_t{1} << missing) - 1)};
  }

  Partial string_value() {
    Partial out;
    if (string(out.string)) {
      out.kind = Partial::Kind::kWhole;
      out.value = to_utf8(out.string.text);
    } else {
      out.kind = Partial::Kind::kString;
    }
    return out;
  }

  Partial array() {
    ++at_;
    Partial out;
    out.kind = Partial::Kind::kArray;
    if (!at_end() && peek() == ']') return whole_array(out);
    while (!at_end()) {
      if (!take_child(out)) return out;
      if (at_end()) break;
      if (peek() == ']') return whole_array(out);
      if (next() != ',') throw Malformed{};
      out.place = Partial::Place::kNext;
    }
    return out;
  }

  Partial whole_array(Partial& out) {
    ++at_;
    out.kind = Partial::Kind::kWhole;
    out.value = Value::array();
    for (Value& item : out.items) out.value.push_back(std::move(item));
    return std::move(out);
  }

  // Reads a value. False if it is not whole, and the text has ended.
  bool take_child(Partial& out) {
    auto child = std::make_unique<Partial>(value());
    if (child->kind == Partial::Kind::kWhole) {
      out.items.push_back(std::move(child->value));
      out.place = Partial::Place::kAfter;
      return true;
    }
    out.child = std::move(child);
    out.place = Partial::Place::kChild;
    return false;
  }

  Partial object() {
    ++at_;
    Partial out;
    out.kind = Partial::Kind::kObject;
    if (!at_end() && peek() == '}') return whole_object(out);
    while (!at_end()) {
      if (!take_member(out)) return out;
      if (at_end()) break;
      if (peek() == '}') return whole_object(out);
      if (next() != ',') throw Malformed{};
      out.place = Partial::Place::kNext;
    }
    return out;
  }

  bool take_member(Partial& out) {
    if (next() != '"') throw Malformed{};
    out.string = {};
    if (!string(out.string)) {
      out.place = Partial::Place::kName;
      return false;
    }
    const std::string name = to_utf8(out.string.text);
    if (std::find(out.names.begin(), out.names.end(), name) != out.names.end()) throw Malformed{};
    out.names.push_back(name);
    out.place = Partial::Place::kColon;
    if (at_end()) return false;
    if (next() != ':') throw Malformed{};
    return take_child(out);
  }

  Partial whole_object(Partial& out) {
    ++at_;
    out.kind = Partial::Kind::kWhole;
    out.value = Value::object();
    for (std::size_t i = 0; i < out.items.size(); ++i) out.value[out.names[i]] = out.items[i];
    return std::move(out);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool half_hex_ = false;
};

}  // namespace

std::string to_utf8(const CodePoints& text) {
  std::string out;
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

CodePoints from_utf8(const std::string& text) {
  CodePoints out;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    char32_t c = more == 0 ? lead : lead & (0x3FU >> more);
    for (int k = 0; k < more; ++k) c = c << 6 | (static_cast<unsigned char>(text[i++]) & 63U);
    out += c;
  }
  return out;
}

std::optional<Partial> read_partial(std::string_view text) {
  try {
    return Reader(text).document();
  } catch (const Malformed&) {
    return std::nullopt;
  }
}

}  // namespace tessera::guided

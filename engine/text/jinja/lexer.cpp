#include "engine/text/jinja/lexer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "engine/text/jinja/failure.hpp"
#include "engine/text/jinja/python_text.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::jinja {
namespace {

constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Unicode letters count: any byte of a longer code point does.
bool is_name_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::size_t space_bytes(std::string_view text) {
  return text.size() - strip(text, std::nullopt, Sides::kLeft).size();
}

// "\r\n" and "\r" as "\n", and one newline at the very end dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run();

 private:
  struct Tag {
    char kind;  // '{' prints, '%' is a block, '#' a comment
    std::size_t at;
  };

  [[noreturn]] void error(const std::string& what) const {
    throw Failure(Failure::Kind::kSyntax, "line " + std::to_string(line_) + ": " + what);
  }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool looking_at(std::string_view text) const { return rest().starts_with(text); }
  void advance(std::size_t bytes);
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  std::optional<Tag> next_tag() const;
  void add_data(std::string_view data, char tag_kind, char sign);
  void comment();
  bool raw_block();
  void tag(char kind);
  bool tag_end(char kind);
  void tag_token();
  void string_token();
  void number_token();
  void operator_token();
  std::size_t digits(std::size_t from) const;

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // what was consumed last ends with a newline
  std::string brackets_;       // open ones within the tag
  std::vector<Token> tokens_;
};

void Lexer::advance(std::size_t bytes) {
  const std::string_view passed = rest().substr(0, bytes);
  line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
  if (!passed.empty()) line_starting_ = passed.back() == '\n';
  at_ += passed.size();
}

std::optional<Lexer::Tag> Lexer::next_tag() const {
  for (std::size_t at = source_.find('{', at_); at != std::string::npos && at + 1 < source_.size();
       at = source_.find('{', at + 1)) {
    const char kind = source_[at + 1];
    if (kind == '{' || kind == '%' || kind == '#') return Tag{kind, at};
  }
  return std::nullopt;
}

std::vector<Token> Lexer::run() {
  while (const auto found = next_tag()) {
    const std::string_view data = std::string_view(source_).substr(at_, found->at - at_);
    char sign = found->at + 2 < source_.size() ? source_[found->at + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    add_data(data, found->kind, sign);
    advance(data.size() + 2 + (sign ? 1 : 0));
    if (found->kind == '#') {
      comment();
    } else if (found->kind != '%' || !raw_block()) {
      tag(found->kind);
    }
  }
  if (!rest().empty()) add(TokenKind::kData, std::string(rest()));
  add(TokenKind::kEnd, "end of template");
  return std::move(tokens_);
}

// The data before a tag, less what the tag's sign or lstrip_blocks takes from its end.
void Lexer::add_data(std::string_view data, char tag_kind, char sign) {
  if (sign == '-') {
    data = strip(data, std::nullopt, Sides::kRight);
  } else if (sign != '+' && tag_kind != '{') {
    const std::size_t newline = data.rfind('\n');
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    const bool begins_line = line > 0 || line_starting_;
    if (begins_line && strip(data.substr(line), std::nullopt).empty()) data = data.substr(0, line);
  }
  if (!data.empty()) add(TokenKind::kData, std::string(data));
}

void Lexer::comment() {
  const std::size_t end = rest().find("#}");
  if (end == std::string_view::npos) error("a comment is not closed");
  const char sign = end > 0 ? rest()[end - 1] : '\0';
  advance(end + 2);
  if (sign == '-') {
    advance(space_bytes(rest()));
  } else if (sign != '+' && looking_at("\n")) {
    advance(1);
  }
}

// {% raw %} ... {% endraw %}, whose inside is data. False if the tag is another one.
bool Lexer::raw_block() {
  const std::string_view before = rest();
  std::size_t at = space_bytes(before);
  if (!before.substr(at).starts_with("raw")) return false;
  at += 3;
  at += space_bytes(before.substr(at));
  const bool minus = before.substr(at).starts_with("-%}");
  if (!minus && !before.substr(at).starts_with("%}")) return false;
  advance(at + (minus ? 3 : 2));
  if (minus) advance(space_bytes(rest()));

  for (std::size_t begin = rest().find("{%"); begin != std::string_view::npos;
       begin = rest().find("{%", begin + 2)) {
    std::string_view inside = rest().substr(begin + 2);
    const char sign = inside.starts_with('-') || inside.starts_with('+') ? inside.front() : '\0';
    if (sign) inside.remove_prefix(1);
    inside = strip(inside, std::nullopt, Sides::kLeft);
    if (!inside.starts_with("endraw")) continue;
    inside = strip(inside.substr(6), std::nullopt, Sides::kLeft);
    if (!inside.starts_with("%}") && !inside.starts_with("-%}") && !inside.starts_with("+%}")) {
      continue;
    }
    add_data(rest().substr(0, begin), '%', sign);
    advance(rest().size() - inside.size());
    tag_end('%');
    tokens_.pop_back();  // the kBlockEnd; a raw block leaves only data
    return true;
  }
  error("a raw block is not closed");
}

void Lexer::tag(char kind) {
  add(kind == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
  brackets_.clear();
  const std::size_t first = tokens_.size();
  for (;;) {
    if (tokens_.size() - first > kTagTokensMax) error("a tag is too long");
    advance(space_bytes(rest()));
    if (rest().empty()) error("a tag is not closed");
    if (brackets_.empty() && tag_end(kind)) return;
    tag_token();
  }
}

// Consumes the tag's closing bracket, with the white space that it takes along.
bool Lexer::tag_end(char kind) {
  const std::string_view close = kind == '{' ? "}}" : "%}";
  const bool minus = looking_at("-") && rest().substr(1).starts_with(close);
  const bool plus = kind == '%' && looking_at("+") && rest().substr(1).starts_with(close);
  if (!minus && !plus && !looking_at(close)) return false;
  advance(close.size() + (minus || plus ? 1 : 0));
  if (minus) {
    advance(space_bytes(rest()));
  } else if (kind == '%' && !plus && looking_at("\n")) {
    advance(1);
  }
  add(kind == '{' ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
  return true;
}

void Lexer::tag_token() {
  const char c = rest().front();
  if (c == '"' || c == '\'') return string_token();
  if (is_digit(c)) return number_token();
  if (!is_name_char(c)) return operator_token();
  std::size_t bytes = 0;
  while (bytes < rest().size() && is_name_char(rest()[bytes])) ++bytes;
  add(TokenKind::kName, std::string(rest().substr(0, bytes)));
  advance(bytes);
}

std::size_t Lexer::digits(std::size_t from) const {
  std::size_t at = from;
  while (at < rest().size() && (is_digit(rest()[at]) || (at > from && rest()[at] == '_'))) ++at;
  return at - from;
}

// Integers (also 0x, 0o, 0b) and floats. "1.x" is an integer and a dot.
void Lexer::number_token() {
  std::size_t bytes = digits(0);
  bool is_float = false;
  const bool prefixed = rest().size() > 2 && rest()[0] == '0' && bytes == 1 &&
                        std::string_view("xXoObB").find(rest()[1]) != std::string_view::npos;
  if (prefixed) {
    bytes = 2;
    while (bytes < rest().size() && is_name_char(rest()[bytes])) ++bytes;
  } else {
    if (rest().substr(bytes).starts_with('.') && digits(bytes + 1) > 0) {
      bytes += 1 + digits(bytes + 1);
      is_float = true;
    }
    if (bytes < rest().size() && (rest()[bytes] == 'e' || rest()[bytes] == 'E')) {
      const char sign = bytes + 1 < rest().size() ? rest()[bytes + 1] : '\0';
      const std::size_t mantissa = bytes + (sign == '+' || sign == '-' ? 2U : 1U);
      if (mantissa < rest().size() && digits(mantissa) > 0) {
        bytes = mantissa + digits(mantissa);
        is_float = true;
      }
    }
  }
  std::string text(rest().substr(0, bytes));
  std::erase(text, '_');
  add(is_float ? TokenKind::kFloat : TokenKind::kInteger, std::move(text));
  advance(bytes);
}

// Appends what the escape sequence at the start of `text` (after its backslash) stands for, and
// returns its length. Python keeps the backslash of an escape it does not know.
std::size_t unescape(std::string_view text, std::string& out) {
  static constexpr std::pair<char, char> kSimple[] = {
      {'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'\\', '\\'}, {'\'', '\''},
      {'"', '"'},  {'a', '\a'}, {'b', '\b'}, {'f', '\f'},  {'v', '\v'}};
  for (const auto& [name, character] : kSimple) {
    if (text.front() != name) continue;
    out.push_back(character);
    return 1;
  }
  if (text.front() == '\n') return 1;
  std::size_t num_digits = 0;
  int base = 16;
  std::size_t from = 1;
  switch (text.front()) {
    case 'x':
      num_digits = 2;
      break;
    case 'u':
      num_digits = 4;
      break;
    case 'U':
      num_digits = 8;
      break;
    default:
      from = 0;
      base = 8;
      while (num_digits < 3 && num_digits < text.size() && text[num_digits] >= '0' &&
             text[num_digits] <= '7') {
        ++num_digits;
      }
  }
  std::uint32_t code_point = 0;
  const char* begin = text.data() + from;
  const char* end = text.data() + std::min(from + num_digits, text.size());
  const auto parsed = std::from_chars(begin, end, code_point, base);
  const bool whole = num_digits > 0 && parsed.ptr == begin + num_digits && code_point < 0x110000;
  if (!whole) {
    out.push_back('\\');
    return 0;
  }
  append_utf8(out, code_point);
  return from + num_digits;
}

void Lexer::string_token() {
  const char quote = rest().front();
  std::string text;
  std::size_t at = 1;
  for (;;) {
    if (at >= rest().size()) error("a string is not closed");
    const char c = rest()[at++];
    if (c == quote) break;
    if (c == '\\' && at < rest().size()) {
      at += unescape(rest().substr(at), text);
    } else {
      text.push_back(c);
    }
  }
  add(TokenKind::kString, std::move(text));
  advance(at);
}

void Lexer::operator_token() {
  const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                  [this](std::string_view name) { return looking_at(name); });
  if (found == kOperators.end())
    error("unexpected character '" + std::string(rest().substr(0, utf8_step(rest()).bytes)) + "'");
  const char c = found->front();
  if (c == '(' || c == '[' || c == '{') brackets_.push_back(c);
  if (c == ')' || c == ']' || c == '}') {
    const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
    if (!brackets_.ends_with(open)) error(std::string("unexpected '") + c + "'");
    brackets_.pop_back();
  }
  add(TokenKind::kOperator, std::string(*found));
  advance(found->size());
}

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace tessera::jinja

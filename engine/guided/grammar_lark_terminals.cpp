// What a Lark grammar takes for granted: the terminals of `common`, and Python's regular
// expressions.
#include <algorithm>
#include <array>
#include <utility>

#include "engine/guided/grammar_lark.hpp"
#include "engine/guided/grammar_text.hpp"

namespace tessera::guided {
namespace {

using Named = std::pair<std::string_view, std::string_view>;

constexpr std::array kCommon = {
    Named{"CNAME", "[A-Za-z_][A-Za-z_0-9]*"},
    Named{"CPP_COMMENT", "\\/\\/[^\\n]*"},
    Named{"CR", "\\r"},
    Named{"C_COMMENT", "\\/\\*(?:[^*]|\\*+[^*/])*\\*+\\/"},
    Named{"DECIMAL", "[0-9]+\\.[0-9]*|\\.[0-9]+"},
    Named{"DIGIT", "[0-9]"},
    Named{"ESCAPED_STRING", "\"(?:[^\"\\\\\\n]|\\\\[^\\n])*\""},
    Named{"FLOAT", "[0-9]+[eE][+-]?[0-9]+|(?:[0-9]+\\.[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?"},
    Named{"HEXDIGIT", "[0-9A-Fa-f]"},
    Named{"INT", "[0-9]+"},
    Named{"LCASE_LETTER", "[a-z]"},
    Named{"LETTER", "[A-Za-z]"},
    Named{"LF", "\\n"},
    Named{"NEWLINE", "(?:\\r?\\n)+"},
    Named{"NUMBER", "[0-9]+(?:[eE][+-]?[0-9]+)?|(?:[0-9]+\\.[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?"},
    Named{"SH_COMMENT", "#[^\\n]*"},
    Named{"SIGNED_FLOAT",
          "[+-]?(?:[0-9]+[eE][+-]?[0-9]+|(?:[0-9]+\\.[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"},
    Named{"SIGNED_INT", "[+-]?[0-9]+"},
    Named{"SIGNED_NUMBER",
          "[+-]?(?:[0-9]+(?:[eE][+-]?[0-9]+)?|(?:[0-9]+\\.[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"},
    Named{"SQL_COMMENT", "--[^\\n]*"},
    Named{"UCASE_LETTER", "[A-Z]"},
    Named{"WORD", "[A-Za-z]+"},
    Named{"WS", "[ \\t\\f\\r\\n]+"},
    Named{"WS_INLINE", "[ \\t]+"},
};
static_assert(std::ranges::is_sorted(kCommon, {}, &Named::first));

// One pass over a pattern that knows what is escaped and what stands in a class.
class PatternWriter {
 public:
  PatternWriter(std::string_view pattern, std::string_view flags)
      : cursor_(pattern), verbose_(has(flags, 'x')), dot_all_(has(flags, 's')) {
    if (has(flags, 'i')) out_ = "(?i)";
    while (!cursor_.done()) write_one();
  }

  static bool has(std::string_view flags, char flag) { return flags.find(flag) != flags.npos; }
  bool anchored() const { return anchored_; }
  std::string take() { return std::move(out_); }

 private:
  void write_one() {
    const char c = cursor_.peek();
    if (c == '\\') {
      copy(2);
    } else if (c == '[') {
      write_class();
    } else if (c == '.') {
      out_ += dot_all_ ? "[\\s\\S]" : "[^\\n]";
      cursor_.skip();
    } else if (verbose_ && (c == ' ' || (c >= '\t' && c <= '\r'))) {
      cursor_.skip();
    } else if (verbose_ && c == '#') {
      cursor_.skip_line();
    } else if (cursor_.starts_with("{,") && is_ascii_digit(cursor_.peek(2))) {
      out_ += "{0";
      cursor_.skip();
    } else {
      anchored_ = anchored_ || c == '^' || c == '$';
      copy(1);
    }
  }

  // A ] that comes first is one of the class.
  void write_class() {
    copy(cursor_.starts_with("[^") ? 2 : 1);
    if (cursor_.peek() == ']') {
      out_ += "\\]";
      cursor_.skip();
    }
    while (!cursor_.done() && cursor_.peek() != ']') copy(cursor_.peek() == '\\' ? 2 : 1);
    copy(1);
  }

  void copy(std::size_t count) {
    out_ += cursor_.rest().substr(0, count);
    cursor_.skip(count);
  }

  GrammarCursor cursor_;
  bool verbose_;
  bool dot_all_;
  bool anchored_ = false;
  std::string out_;
};

}  // namespace

std::optional<std::string_view> common_terminal(std::string_view name) {
  const auto at = std::ranges::lower_bound(kCommon, name, {}, &Named::first);
  if (at == kCommon.end() || at->first != name) return std::nullopt;
  return at->second;
}

Result<std::string> lark_pattern(std::string_view pattern, std::string_view flags) {
  if (PatternWriter::has(flags, 'l'))
    return Error{Code::kUnsupportedParameter, "The flag l (locale) is not supported."};
  PatternWriter writer(pattern, flags);
  if (PatternWriter::has(flags, 'm') && writer.anchored())
    return Error{Code::kUnsupportedParameter, "The flag m is not supported beside ^ or $."};
  return writer.take();
}

}  // namespace tessera::guided

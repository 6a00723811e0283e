// json_scanner.hpp — one JSON object or array read byte by byte, as it is generated.
//
// Says at each byte what it means and stops at the first that cannot be there (RFC 8259), without
// building anything: a pushdown automaton. Whoever has fed it up to done() has valid JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// Not thread-safe.
class JsonScanner {
 public:
  static constexpr int kMaxDepth = 64;

  enum class Step : std::uint8_t {
    kInside,     // part of what was begun, or white space or punctuation
    kObject,     // '{'
    kArray,      // '['
    kString,     // opening quote of a value
    kOther,      // first byte of a number or literal
    kKey,        // closing quote of a member's name; text() is the name
    kStringEnd,  // closing quote of a value; text() is the string
    kClose,      // '}' or ']'
    kError,      // cannot be here, or too deep; the scanner is of no more use
  };

  // The first byte must open an object or an array; none may come once done().
  Step push(char byte);

  bool done() const { return state_ == State::kDone; }
  int depth() const { return static_cast<int>(open_.size()); }  // after the last step
  // Of the string that is being read or was read last: what stands between its quotes.
  std::string_view text() const { return text_; }

 private:
  enum class State : std::uint8_t {
    kValue,
    kFirstValue,  // of an array, or its end
    kKey,
    kFirstKey,  // of an object, or its end
    kColon,
    kAfterValue,
    kInString,
    kEscape,
    kHex,
    kLiteral,
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
    kDone,
    kError,
  };

  Step fail();
  Step begin_value(char byte);
  Step begin_number(char byte);
  Step open(char byte);
  Step close(char byte);
  Step begin_string(bool is_key, Step step);
  Step in_string(char byte);
  Step in_number(char byte);
  Step after_value(char byte);
  Step to(State state);

  State state_ = State::kValue;
  std::vector<char> open_;  // the brackets that are open, outermost first
  std::string text_;
  bool is_key_ = false;       // the string being read
  int hex_left_ = 0;          // digits of a \u escape
  std::string_view literal_;  // what is left of true, false or null
};

}  // namespace tessera

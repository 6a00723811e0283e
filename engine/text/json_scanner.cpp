#include "engine/text/json_scanner.hpp"

#include <cassert>

namespace tessera {
namespace {

bool is_space(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}
bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}
bool is_hex(char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

}  // namespace

JsonScanner::Step JsonScanner::fail() {
  state_ = State::kError;
  return Step::kError;
}

JsonScanner::Step JsonScanner::to(State state) {
  state_ = state;
  return Step::kInside;
}

JsonScanner::Step JsonScanner::push(char byte) {
  assert(state_ != State::kDone && state_ != State::kError);
  switch (state_) {
    case State::kValue:
    case State::kFirstValue:
      if (is_space(byte) && !open_.empty()) return Step::kInside;
      if (byte == ']' && state_ == State::kFirstValue) return close(byte);
      return begin_value(byte);
    case State::kKey:
    case State::kFirstKey:
      if (is_space(byte)) return Step::kInside;
      if (byte == '}' && state_ == State::kFirstKey) return close(byte);
      return byte == '"' ? begin_string(true, Step::kInside) : fail();
    case State::kColon:
      if (is_space(byte)) return Step::kInside;
      return byte == ':' ? to(State::kValue) : fail();
    case State::kAfterValue:
      return after_value(byte);
    case State::kInString:
    case State::kEscape:
    case State::kHex:
      return in_string(byte);
    case State::kLiteral:
      if (byte != literal_.front()) return fail();
      literal_.remove_prefix(1);
      return to(literal_.empty() ? State::kAfterValue : State::kLiteral);
    case State::kDone:
    case State::kError:
      return fail();
    default:
      return in_number(byte);
  }
}

JsonScanner::Step JsonScanner::begin_value(char byte) {
  if (byte == '{' || byte == '[') return open(byte);
  if (open_.empty()) return fail();
  if (byte == '"') return begin_string(false, Step::kString);
  if (byte == '-' || is_digit(byte)) return begin_number(byte);
  for (const std::string_view literal : {"true", "false", "null"}) {
    if (byte != literal.front()) continue;
    literal_ = literal.substr(1);
    state_ = State::kLiteral;
    return Step::kOther;
  }
  return fail();
}

JsonScanner::Step JsonScanner::begin_number(char byte) {
  state_ = byte == '-' ? State::kMinus : byte == '0' ? State::kZero : State::kInteger;
  return Step::kOther;
}

JsonScanner::Step JsonScanner::open(char byte) {
  if (depth() == kMaxDepth) return fail();
  open_.push_back(byte);
  state_ = byte == '{' ? State::kFirstKey : State::kFirstValue;
  return byte == '{' ? Step::kObject : Step::kArray;
}

JsonScanner::Step JsonScanner::close(char byte) {
  if (open_.empty() || (byte == '}') != (open_.back() == '{')) return fail();
  open_.pop_back();
  state_ = open_.empty() ? State::kDone : State::kAfterValue;
  return Step::kClose;
}

JsonScanner::Step JsonScanner::begin_string(bool is_key, Step step) {
  text_.clear();
  is_key_ = is_key;
  state_ = State::kInString;
  return step;
}

JsonScanner::Step JsonScanner::in_string(char byte) {
  if (state_ == State::kInString && byte == '"') {
    state_ = is_key_ ? State::kColon : State::kAfterValue;
    return is_key_ ? Step::kKey : Step::kStringEnd;
  }
  text_.push_back(byte);
  if (state_ == State::kHex) {
    if (!is_hex(byte)) return fail();
    return to(--hex_left_ == 0 ? State::kInString : State::kHex);
  }
  if (state_ == State::kEscape) {
    if (byte == 'u') {
      hex_left_ = 4;
      return to(State::kHex);
    }
    return std::string_view("\"\\/bfnrt").find(byte) != std::string_view::npos
               ? to(State::kInString)
               : fail();
  }
  if (static_cast<unsigned char>(byte) < 0x20) return fail();  // must be escaped
  return to(byte == '\\' ? State::kEscape : State::kInString);
}

JsonScanner::Step JsonScanner::in_number(char byte) {
  const bool digit = is_digit(byte);
  switch (state_) {
    case State::kMinus:
      if (digit) return to(byte == '0' ? State::kZero : State::kInteger);
      return fail();
    case State::kInteger:
      if (digit) return Step::kInside;
      [[fallthrough]];
    case State::kZero:
      if (byte == '.') return to(State::kPoint);
      if (byte == 'e' || byte == 'E') return to(State::kExponent);
      return after_value(byte);
    case State::kPoint:
      return digit ? to(State::kFraction) : fail();
    case State::kFraction:
      if (digit) return Step::kInside;
      if (byte == 'e' || byte == 'E') return to(State::kExponent);
      return after_value(byte);
    case State::kExponent:
      if (byte == '+' || byte == '-') return to(State::kExponentSign);
      return digit ? to(State::kExponentDigits) : fail();
    case State::kExponentSign:
      return digit ? to(State::kExponentDigits) : fail();
    default:  // kExponentDigits
      return digit ? Step::kInside : after_value(byte);
  }
}

JsonScanner::Step JsonScanner::after_value(char byte) {
  if (is_space(byte)) return to(State::kAfterValue);
  if (byte == ',') return to(open_.back() == '{' ? State::kKey : State::kValue);
  return byte == '}' || byte == ']' ? close(byte) : fail();
}

}  // namespace tessera

#include "engine/text/jinja/operators.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/text/jinja/python_format.hpp"
#include "engine/text/jinja/python_text.hpp"

namespace tessera::jinja {
namespace {

[[noreturn]] void unsupported(const char* op, const Value& left, const Value& right) {
  for (const Value* value : {&left, &right}) {
    if (const Undefined* undefined = value->undefined_reason()) fail(undefined->message);
  }
  fail(std::string("unsupported operand type(s) for ") + op + ": '" + std::string(type_name(left)) +
       "' and '" + std::string(type_name(right)) + "'");
}

[[noreturn]] void overflow() {
  fail("a whole number does not fit 64 bits");
}

bool both_integers(const Value& a, const Value& b) {
  return a.integer() && b.integer();
}
bool both_numbers(const Value& a, const Value& b) {
  return a.is_number() && b.is_number();
}

// Adding plain text to markup escapes it, on whichever side it stands.
Value add_texts(Runtime& runtime, const Value& left, const Value& right) {
  const bool markup = left.is_markup() || right.is_markup();
  const std::size_t size = left.string()->size() + right.string()->size();
  runtime.check_size(size);
  runtime.spend_bytes(size);
  std::string out;
  out.reserve(size);
  for (const Value* value : {&left, &right}) {
    if (markup && !value->is_markup()) {
      out += escape_html(*value->string());
    } else {
      out += *value->string();
    }
  }
  return Value(std::move(out), markup);
}

Value add_sequences(Runtime& runtime, const Value& left, const Value& right) {
  std::vector<Value> items = left.sequence()->items;
  const std::vector<Value>& more = right.sequence()->items;
  runtime.check_size(items.size() + more.size());
  runtime.spend(items.size() + more.size());
  items.insert(items.end(), more.begin(), more.end());
  const bool is_list = left.sequence()->form == Sequence::Form::kList;
  return is_list ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

bool can_join(const Value& left, const Value& right) {
  const Sequence* a = left.sequence();
  const Sequence* b = right.sequence();
  return a && b && a->form == b->form &&
         (a->form == Sequence::Form::kList || a->form == Sequence::Form::kTuple);
}

Value add(Runtime& runtime, const Value& left, const Value& right) {
  if (left.is_string() && right.is_string()) return add_texts(runtime, left, right);
  if (can_join(left, right)) return add_sequences(runtime, left, right);
  if (both_integers(left, right)) {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(*left.integer(), *right.integer(), &sum)) overflow();
    return sum;
  }
  if (both_numbers(left, right)) return *left.number() + *right.number();
  unsupported("+", left, right);
}

Value subtract(const Value& left, const Value& right) {
  if (both_integers(left, right)) {
    std::int64_t difference = 0;
    if (__builtin_sub_overflow(*left.integer(), *right.integer(), &difference)) overflow();
    return difference;
  }
  if (both_numbers(left, right)) return *left.number() - *right.number();
  unsupported("-", left, right);
}

// "ab" * 3, [0] * 3.
Value repeat(Runtime& runtime, const Value& value, std::int64_t times) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  const std::size_t size = value.string() ? value.string()->size() : value.sequence()->items.size();
  std::size_t total = 0;
  if (__builtin_mul_overflow(size, count, &total)) total = ~std::size_t{0};
  runtime.check_size(total);
  if (const std::string* text = value.string()) {
    runtime.spend(total / 64);  // nobody needs much of what comes from nothing
    std::string out;
    for (std::size_t i = 0; i < count && size > 0; ++i) out += *text;
    return Value(std::move(out), value.is_markup());
  }
  runtime.spend(total);
  std::vector<Value> items;
  for (std::size_t i = 0; i < count && size > 0; ++i) {
    items.insert(items.end(), value.sequence()->items.begin(), value.sequence()->items.end());
  }
  const bool is_list = value.sequence()->form == Sequence::Form::kList;
  return is_list ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

bool can_repeat(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.is_string() || (sequence && (sequence->form == Sequence::Form::kList ||
                                            sequence->form == Sequence::Form::kTuple));
}

Value multiply(Runtime& runtime, const Value& left, const Value& right) {
  if (both_integers(left, right)) {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(*left.integer(), *right.integer(), &product)) overflow();
    return product;
  }
  if (both_numbers(left, right)) return *left.number() * *right.number();
  if (can_repeat(left) && right.integer()) return repeat(runtime, left, *right.integer());
  if (can_repeat(right) && left.integer()) return repeat(runtime, right, *left.integer());
  unsupported("*", left, right);
}

void refuse_zero(const Value& divisor) {
  if (*divisor.number() == 0.0) fail("division by zero");
}

Value divide(const Value& left, const Value& right) {
  if (!both_numbers(left, right)) unsupported("/", left, right);
  refuse_zero(right);
  return *left.number() / *right.number();
}

// Python rounds towards minus infinity, and the remainder has the divisor's sign.
Value floor_divide(const Value& left, const Value& right) {
  if (!both_numbers(left, right)) unsupported("//", left, right);
  refuse_zero(right);
  if (!both_integers(left, right)) return std::floor(*left.number() / *right.number());
  const std::int64_t a = *left.integer();
  const std::int64_t b = *right.integer();
  if (b == -1) return subtract(Value(std::int64_t{0}), left);  // the one quotient that can overflow
  return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

Value modulo(Runtime& runtime, const Value& left, const Value& right) {
  if (left.is_string()) return Value(format_percent(runtime, *left.string(), right));
  if (!both_numbers(left, right)) unsupported("%", left, right);
  refuse_zero(right);
  if (!both_integers(left, right)) {
    const double remainder = std::fmod(*left.number(), *right.number());
    const bool adjust = remainder != 0.0 && (remainder < 0.0) != (*right.number() < 0.0);
    return adjust ? remainder + *right.number() : remainder;
  }
  const std::int64_t a = *left.integer();
  const std::int64_t b = *right.integer();
  if (b == -1) return std::int64_t{0};
  const std::int64_t remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

Value power(const Value& left, const Value& right) {
  if (!both_numbers(left, right)) unsupported("** or pow()", left, right);
  if (!both_integers(left, right) || *right.integer() < 0) {
    if (*left.number() == 0.0 && *right.number() < 0.0) fail("zero to a negative power");
    return std::pow(*left.number(), *right.number());
  }
  std::int64_t result = 1;
  const std::int64_t base = *left.integer();
  if (base == 0 || base == 1) return *right.integer() == 0 ? result : base;
  for (std::int64_t i = 0; i < *right.integer(); ++i) {
    if (base == -1) return *right.integer() % 2 == 0 ? std::int64_t{1} : base;
    if (__builtin_mul_overflow(result, base, &result)) overflow();
  }
  return result;
}

bool less_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!equal(a[i], b[i])) return less(a[i], b[i]);
  }
  return a.size() < b.size();
}

}  // namespace

Value binary(Runtime& runtime, BinaryOperator op, const Value& left, const Value& right) {
  switch (op) {
    case BinaryOperator::kAdd:
      return add(runtime, left, right);
    case BinaryOperator::kSubtract:
      return subtract(left, right);
    case BinaryOperator::kMultiply:
      return multiply(runtime, left, right);
    case BinaryOperator::kDivide:
      return divide(left, right);
    case BinaryOperator::kFloorDivide:
      return floor_divide(left, right);
    case BinaryOperator::kModulo:
      return modulo(runtime, left, right);
    case BinaryOperator::kPower:
      return power(left, right);
  }
  return None{};
}

Value unary(UnaryOperator op, const Value& operand) {
  if (op == UnaryOperator::kNot) return !is_true(operand);
  if (!operand.is_number()) unsupported("unary sign", operand, operand);
  if (op == UnaryOperator::kPositive) {
    return operand.integer() ? Value(*operand.integer()) : operand;
  }
  if (operand.integer()) return subtract(Value(std::int64_t{0}), operand);
  return -*operand.number();
}

bool less(const Value& a, const Value& b) {
  if (both_integers(a, b)) return *a.integer() < *b.integer();
  if (both_numbers(a, b)) return *a.number() < *b.number();
  if (a.is_string() && b.is_string()) return *a.string() < *b.string();  // UTF-8 keeps the order
  if (can_join(a, b)) return less_items(a.sequence()->items, b.sequence()->items);
  unsupported("<", a, b);
}

bool contains(const Value& container, const Value& item) {
  if (const std::string* text = container.string()) {
    const std::string* part = item.string();
    if (!part) {
      fail("'in <string>' requires string as left operand, not " + std::string(type_name(item)));
    }
    return text->find(*part) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(item) != nullptr;
  if (!is_iterable(container)) {
    fail("argument of type '" + std::string(type_name(container)) + "' is not iterable");
  }
  const std::vector<Value> items = iterate(container);
  return std::any_of(items.begin(), items.end(),
                     [&item](const Value& other) { return equal(other, item); });
}

bool compare(Comparison op, const Value& left, const Value& right) {
  switch (op) {
    case Comparison::kEqual:
      return equal(left, right);
    case Comparison::kNotEqual:
      return !equal(left, right);
    case Comparison::kLess:
      return less(left, right);
    case Comparison::kGreater:
      return less(right, left);
    case Comparison::kLessEqual:
      return less(left, right) || equal(left, right);
    case Comparison::kGreaterEqual:
      return less(right, left) || equal(left, right);
    case Comparison::kIn:
      return contains(right, left);
    case Comparison::kNotIn:
      return !contains(right, left);
  }
  return false;
}

}  // namespace tessera::jinja

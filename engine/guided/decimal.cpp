#include "engine/guided/decimal.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "engine/guided/modular.hpp"

namespace tessera::guided {
namespace {

constexpr std::int64_t kMaxExponent = 1'000'000'000;
constexpr std::uint64_t kMaxDivisionSteps = 100'000;
constexpr std::size_t kWordDigits = 18;  // a divisor of so many digits divides in machine words

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The parts of a JSON number's text, by position.
struct NumberText {
  std::string_view whole;
  std::string_view fraction;
  std::string_view exponent;  // with its sign
  bool negative = false;
};

std::string_view take_digits(std::string_view& rest) {
  std::size_t n = 0;
  while (n < rest.size() && is_digit(rest[n])) ++n;
  const auto digits = rest.substr(0, n);
  rest.remove_prefix(n);
  return digits;
}

bool take(std::string_view& rest, char c) {
  if (rest.empty() || rest.front() != c) return false;
  rest.remove_prefix(1);
  return true;
}

std::optional<NumberText> split(std::string_view rest) {
  NumberText text;
  text.negative = take(rest, '-');
  text.whole = take_digits(rest);
  if (text.whole.empty() || (text.whole.size() > 1 && text.whole.front() == '0')) return {};
  if (take(rest, '.')) {
    text.fraction = take_digits(rest);
    if (text.fraction.empty()) return {};
  }
  if (take(rest, 'e') || take(rest, 'E')) {
    const auto from_sign = rest;
    if (!take(rest, '-')) take(rest, '+');
    if (take_digits(rest).empty()) return {};
    text.exponent = from_sign;
  }
  if (!rest.empty()) return {};
  return text;
}

// nullopt where it is beyond kMaxExponent.
std::optional<std::int64_t> read_exponent(std::string_view text) {
  if (text.empty()) return 0;
  const bool negative = text.front() == '-';
  if (!is_digit(text.front())) text.remove_prefix(1);
  std::int64_t value = 0;
  for (const char c : text) {
    value = value * 10 + (c - '0');
    if (value > kMaxExponent) return {};
  }
  return negative ? -value : value;
}

// The remainder of a number read digit by digit: school's long division, least significant digit
// first.
class LongRemainder {
 public:
  explicit LongRemainder(const std::string& modulus) : modulus_(modulus.rbegin(), modulus.rend()) {
    for (auto& digit : modulus_) digit = static_cast<char>(digit - '0');
    rest_.assign(modulus_.size() + 1, 0);
    modulus_.push_back(0);
  }

  void push(char digit) {
    std::rotate(rest_.rbegin(), rest_.rbegin() + 1, rest_.rend());
    rest_.front() = static_cast<char>(digit - '0');
    while (!less()) subtract();
  }
  bool zero() const {
    return std::all_of(rest_.begin(), rest_.end(), [](char digit) { return digit == 0; });
  }

 private:
  bool less() const {
    return std::lexicographical_compare(rest_.rbegin(), rest_.rend(), modulus_.rbegin(),
                                        modulus_.rend());
  }
  void subtract() {
    int borrow = 0;
    for (std::size_t i = 0; i < rest_.size(); ++i) {
      const int digit = rest_[i] - modulus_[i] - borrow;
      borrow = digit < 0 ? 1 : 0;
      rest_[i] = static_cast<char>(digit + 10 * borrow);
    }
  }

  std::string modulus_;  // values 0 to 9, and one place more than it needs
  std::string rest_;
};

// Whether `dividend` 10^shift is divisible; nullopt where it would take too long.
std::optional<bool> divides_long(const std::string& divisor, const std::string& dividend,
                                 std::int64_t shift) {
  // More tens than the divisor has factors of two or five change nothing.
  const auto zeros = std::min<std::uint64_t>(static_cast<std::uint64_t>(shift), 4 * divisor.size());
  if ((dividend.size() + zeros) * divisor.size() > kMaxDivisionSteps) return {};
  LongRemainder remainder(divisor);
  for (const char digit : dividend) remainder.push(digit);
  for (std::uint64_t i = 0; i < zeros; ++i) remainder.push('0');
  return remainder.zero();
}

}  // namespace

Decimal::Decimal(std::int64_t value) : negative_(value < 0), digits_(std::to_string(value)) {
  if (negative_) digits_.erase(0, 1);
  exponent_ = static_cast<std::int64_t>(digits_.size());
  normalize();
}

std::optional<Decimal> Decimal::parse(std::string_view json_number) {
  const auto text = split(json_number);
  if (!text) return {};
  const auto exponent = read_exponent(text->exponent);
  Decimal number;
  number.negative_ = text->negative;
  number.digits_.reserve(text->whole.size() + text->fraction.size());
  number.digits_.append(text->whole).append(text->fraction);
  if (!exponent)
    return number.digits_.find_first_not_of('0') == std::string::npos
               ? std::optional<Decimal>(Decimal())
               : std::nullopt;
  number.exponent_ = *exponent + static_cast<std::int64_t>(text->whole.size());
  number.normalize();
  return number;
}

Decimal Decimal::from_digits(bool negative, std::string digits, std::int64_t exponent) {
  Decimal number;
  number.negative_ = negative;
  number.digits_ = std::move(digits);
  number.exponent_ = exponent;
  number.normalize();
  return number;
}

void Decimal::normalize() {
  const auto first = std::min(digits_.find_first_not_of('0'), digits_.size());
  digits_.erase(0, first);
  exponent_ -= static_cast<std::int64_t>(first);
  digits_.resize(digits_.find_last_not_of('0') + 1);
  if (digits_.empty()) *this = Decimal();
}

bool Decimal::integral() const {
  return static_cast<std::int64_t>(digits_.size()) <= exponent_;
}

Decimal Decimal::negated() const {
  Decimal result = *this;
  result.negative_ = !zero() && !negative_;
  return result;
}

int Decimal::compare(const Decimal& other) const {
  const auto sign = [](const Decimal& d) { return d.zero() ? 0 : d.negative_ ? -1 : 1; };
  if (sign(*this) != sign(other)) return sign(*this) - sign(other);
  const int above = negative_ ? -1 : 1;
  if (exponent_ != other.exponent_) return exponent_ > other.exponent_ ? above : -above;
  return above * digits_.compare(other.digits_);
}

std::optional<bool> Decimal::is_multiple_of(const Decimal& divisor) const {
  if (zero()) return true;
  if (divisor.zero()) return false;
  const auto scale = [](const Decimal& d) {
    return d.exponent_ - static_cast<std::int64_t>(d.digits_.size());
  };
  // Both as integers times a power of ten. Without trailing zeros, a smaller power settles it.
  const auto shift = scale(*this) - scale(divisor);
  if (shift < 0) return false;
  if (divisor.digits_.size() > kWordDigits) return divides_long(divisor.digits_, digits_, shift);
  std::uint64_t modulus = 0;
  for (const char digit : divisor.digits_)
    modulus = modulus * 10 + static_cast<unsigned>(digit - '0');
  std::uint64_t rest = 0;
  for (const char digit : digits_) rest = append_modulo(rest, digit, modulus);
  return multiply_modulo(rest, power_of_ten_modulo(shift, modulus), modulus) == 0;
}

std::optional<std::int64_t> Decimal::to_int64() const {
  if (zero()) return 0;
  if (!integral() || exponent_ > 19) return {};
  std::string text = negative_ ? "-" : "";
  text.append(digits_).append(static_cast<std::size_t>(exponent_) - digits_.size(), '0');
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::string Decimal::to_string() const {
  if (!plain_is_short()) return scientific();
  return plain();
}

bool Decimal::plain_is_short() const {
  return exponent_ <= kMaxPlainZeros + static_cast<std::int64_t>(digits_.size()) &&
         exponent_ >= -kMaxPlainZeros;
}

std::string Decimal::plain() const {
  if (zero()) return "0";
  std::string text = negative_ ? "-" : "";
  if (exponent_ <= 0) {
    return text.append("0.").append(static_cast<std::size_t>(-exponent_), '0').append(digits_);
  }
  const auto whole = static_cast<std::size_t>(exponent_);
  if (whole >= digits_.size()) return text.append(digits_).append(whole - digits_.size(), '0');
  return text.append(digits_, 0, whole).append(".").append(digits_, whole);
}

std::string Decimal::scientific() const {
  if (zero()) return "0";
  std::string text = negative_ ? "-" : "";
  text += digits_.front();
  if (digits_.size() > 1) text.append(".").append(digits_, 1);
  return text.append("e").append(std::to_string(exponent_ - 1));
}

}  // namespace tessera::guided

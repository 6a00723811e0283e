// decimal.hpp — a decimal number of any size, exact: sign, digits, exponent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tessera::guided {

// Canonical: no leading or trailing zeros in `digits`; zero has no digits, exponent 0 and no sign.
// Equal values are therefore equal members. The value is 0.d1d2d3... x 10^exponent.
class Decimal {
 public:
  Decimal() = default;  // zero
  explicit Decimal(std::int64_t value);
  // A JSON number's text; nullopt if it is none, or its exponent is beyond +-1,000,000,000.
  static std::optional<Decimal> parse(std::string_view json_number);
  // (-1)^negative 0.digits 10^exponent; zeros at either end of `digits` are welcome.
  static Decimal from_digits(bool negative, std::string digits, std::int64_t exponent);

  bool negative() const { return negative_; }
  bool zero() const { return digits_.empty(); }
  bool integral() const;
  const std::string& digits() const { return digits_; }  // '0' to '9'
  std::int64_t exponent() const { return exponent_; }

  Decimal negated() const;
  int compare(const Decimal& other) const;  // <0, 0, >0
  bool operator==(const Decimal&) const = default;
  // Whether it is an integer times `divisor` (> 0). Long division; nullopt where it would take more
  // than about 100,000 digit steps.
  std::optional<bool> is_multiple_of(const Decimal& divisor) const;
  // The integral value if it fits.
  std::optional<std::int64_t> to_int64() const;
  // A JSON spelling: plain where that needs no more than kMaxPlainZeros zeros to fill it up, with
  // an exponent otherwise.
  std::string to_string() const;
  static constexpr std::int64_t kMaxPlainZeros = 40;
  bool plain_is_short() const;
  std::string plain() const;       // without an exponent: as long as its exponent is large
  std::string scientific() const;  // d.ddde-7

 private:
  void normalize();

  bool negative_ = false;
  std::string digits_;
  std::int64_t exponent_ = 0;
};

}  // namespace tessera::guided

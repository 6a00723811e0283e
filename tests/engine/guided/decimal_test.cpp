#include "engine/guided/decimal.hpp"

#include <cmath>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace tessera::guided {
namespace {

Decimal decimal(std::string_view text) {
  const auto value = Decimal::parse(text);
  EXPECT_TRUE(value) << text;
  return value.value_or(Decimal());
}

TEST(Decimal, SpellingsOfOneValueAreEqual) {
  for (const auto* text : {"100", "1e2", "1E+2", "100.00", "0.1e3", "10000e-2", "1000e-01"}) {
    EXPECT_EQ(decimal(text), Decimal(100)) << text;
  }
  for (const auto* text : {"0", "-0", "0.000", "0e99", "-0.0e-7", "0e999999999999999999999"}) {
    EXPECT_EQ(decimal(text), Decimal()) << text;
  }
  EXPECT_NE(decimal("0.30000000000000000000000000001"), decimal("0.3"));
}

TEST(Decimal, WhatIsNoJsonNumberIsRefused) {
  for (const auto* text : {"", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "1.e2", "0x1", " 1",
                           "1 ", "1e2.0", "--1", "Infinity", "NaN", "1e1000000001", "1_0"}) {
    EXPECT_FALSE(Decimal::parse(text)) << text;
  }
}

TEST(Decimal, ComparesAtAnySize) {
  const std::vector<std::string> ascending{"-1e999999",
                                           "-10000000000000000000000001",
                                           "-10000000000000000000000000",
                                           "-2",
                                           "-1.5",
                                           "-1e-400",
                                           "0",
                                           "1e-400",
                                           "0.1",
                                           "0.11",
                                           "0.2",
                                           "9",
                                           "10",
                                           "99.9999999999999999999",
                                           "100",
                                           "18446744073709551615",
                                           "18446744073709551616",
                                           "1e400",
                                           "1e999999999"};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      const int order = decimal(ascending[i]).compare(decimal(ascending[j]));
      EXPECT_EQ(order < 0, i < j) << ascending[i] << " " << ascending[j];
      EXPECT_EQ(order == 0, i == j) << ascending[i] << " " << ascending[j];
    }
  }
}

TEST(Decimal, KnowsIntegers) {
  EXPECT_TRUE(decimal("0").integral());
  EXPECT_TRUE(decimal("1.0").integral());
  EXPECT_TRUE(decimal("1.5e1").integral());
  EXPECT_TRUE(decimal("1e999999").integral());
  EXPECT_FALSE(decimal("1.5").integral());
  EXPECT_FALSE(decimal("1e-1").integral());
  EXPECT_EQ(decimal("-9223372036854775808").to_int64(), INT64_MIN);
  EXPECT_EQ(decimal("9223372036854775807").to_int64(), INT64_MAX);
  EXPECT_EQ(decimal("9223372036854775808").to_int64(), std::nullopt);
  EXPECT_EQ(decimal("1e18").to_int64(), 1'000'000'000'000'000'000);
  EXPECT_EQ(decimal("0.5").to_int64(), std::nullopt);
}

TEST(Decimal, MultiplesInASmallRangeAgreeWithIntegerArithmetic) {
  // In thousandths.
  for (int value = -400; value <= 400; ++value) {
    for (int divisor = 1; divisor <= 120; ++divisor) {
      const auto v = Decimal::from_digits(
          value < 0, std::to_string(std::abs(value)),
          static_cast<std::int64_t>(std::to_string(std::abs(value)).size()) - 3);
      const auto d =
          Decimal::from_digits(false, std::to_string(divisor),
                               static_cast<std::int64_t>(std::to_string(divisor).size()) - 3);
      EXPECT_EQ(v.is_multiple_of(d), value % divisor == 0) << value << " " << divisor;
    }
  }
}

TEST(Decimal, MultiplesAreExactWhereDoublesAreNot) {
  EXPECT_EQ(decimal("0.0075").is_multiple_of(decimal("0.0001")), true);
  EXPECT_EQ(decimal("0.00751").is_multiple_of(decimal("0.0001")), false);
  EXPECT_EQ(decimal("19.99").is_multiple_of(decimal("0.01")), true);
  EXPECT_EQ(decimal("12391239123").is_multiple_of(decimal("1e-8")), true);
  EXPECT_EQ(decimal("1e308").is_multiple_of(decimal("0.123456789")), false);
  EXPECT_EQ(decimal("1e999999999").is_multiple_of(decimal("1024")), true);
  EXPECT_EQ(decimal("1e999999999").is_multiple_of(decimal("3")), false);
  // A divisor of more digits than a machine word.
  EXPECT_EQ(decimal("246913578024691357802469135780")
                .is_multiple_of(decimal("123456789012345678901234567890")),
            true);
  EXPECT_EQ(decimal("246913578024691357802469135781")
                .is_multiple_of(decimal("123456789012345678901234567890")),
            false);
  EXPECT_EQ(decimal("1e100").is_multiple_of(decimal("1267650600228229401496703205376")),
            true);  // 2^100
  EXPECT_EQ(decimal("1e99").is_multiple_of(decimal("1267650600228229401496703205376")), false);
  // More than can be divided in good time.
  const auto long_one = decimal(std::string(1'000, '7'));
  EXPECT_EQ(decimal(std::string(1'000, '9')).is_multiple_of(long_one), std::nullopt);
}

TEST(Decimal, WritesWhatItReads) {
  std::mt19937 random(7);
  SCOPED_TRACE("seed 7");
  for (int i = 0; i < 10'000; ++i) {
    std::string digits;
    for (int n = static_cast<int>(random() % 25); n >= 0; --n)
      digits += static_cast<char>('0' + random() % 10);
    const auto value =
        Decimal::from_digits(random() % 2 == 0, digits, static_cast<int>(random() % 140) - 70);
    EXPECT_EQ(decimal(value.to_string()), value);
    EXPECT_EQ(decimal(value.plain()), value);
    EXPECT_EQ(decimal(value.scientific()), value);
    EXPECT_EQ(value.negated().negated(), value);
  }
  EXPECT_EQ(decimal("1e2").to_string(), "100");
  EXPECT_EQ(decimal("-12.50").to_string(), "-12.5");
  EXPECT_EQ(decimal("0.00001").to_string(), "0.00001");
  EXPECT_EQ(decimal("1.25e400").to_string(), "1.25e400");
  EXPECT_EQ(decimal("125e-400").to_string(), "1.25e-398");
}

}  // namespace
}  // namespace tessera::guided

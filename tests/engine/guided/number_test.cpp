#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/exponent_number.hpp"
#include "engine/guided/number_language.hpp"
#include "engine/guided/plain_number.hpp"
#include "engine/guided/text_dfa.hpp"
#include "tests/engine/guided/automaton_check.hpp"

namespace tessera::guided {
namespace {

Decimal decimal(std::string_view text) {
  return Decimal::parse(text).value();
}

NumberBound at(std::string_view text) {
  return {decimal(text), false};
}
NumberBound beyond(std::string_view text) {
  return {decimal(text), true};
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Whether more characters could make a JSON number of it.
bool may_begin_number(const std::string& text) {
  std::size_t i = text.starts_with('-') ? 1 : 0;
  const std::size_t whole = i;
  while (i < text.size() && is_digit(text[i])) ++i;
  if (i > whole + 1 && text[whole] == '0') return false;
  if (i == text.size()) return true;
  if (i == whole) return false;
  if (text[i] == '.') {
    const std::size_t point = i++;
    while (i < text.size() && is_digit(text[i])) ++i;
    if (i == text.size()) return true;
    if (i == point + 1) return false;
  }
  if (text[i] != 'e' && text[i] != 'E') return false;
  if (++i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  while (i < text.size() && is_digit(text[i])) ++i;
  return i == text.size();
}

// The forms of number_language.hpp, decided on the whole text.
struct Form {
  bool plain = true;
  bool digits = true;     // no point either
  bool programs = false;  // one digit, a fraction, an exponent that programs write
};

Form form_of(const std::string& text) {
  const auto e = text.find_first_of("eE");
  Form form;
  form.plain = e == std::string::npos;
  form.digits = form.plain && text.find('.') == std::string::npos;
  if (form.plain) return form;
  const std::size_t lead = text.starts_with('-') ? 1 : 0;
  const bool one_digit = text[lead] != '0' && (e == lead + 1 || text[lead + 1] == '.');
  auto digits = text.substr(e + 1);
  const bool negative = digits.starts_with('-');
  if (!is_digit(digits.front())) digits.erase(0, 1);
  const bool few_zeros = digits.size() == 1 || !digits.starts_with("00");
  const int size = std::stoi(digits);
  form.programs = one_digit && few_zeros && size <= 300 && size >= (negative ? 5 : 16);
  return form;
}

bool meets(const Decimal& value, const NumberSpec& spec) {
  const auto above = [&](const NumberBound& b) {
    const int order = value.compare(b.value);
    return order > 0 || (order == 0 && !b.exclusive);
  };
  const auto below = [&](const NumberBound& b) {
    const int order = value.compare(b.value);
    return order < 0 || (order == 0 && !b.exclusive);
  };
  const auto divides = [&](const Decimal& d) { return value.is_multiple_of(d).value(); };
  return std::ranges::all_of(spec.minimum, above) && std::ranges::all_of(spec.maximum, below) &&
         std::ranges::all_of(spec.multiple_of, divides) && (!spec.integer || value.integral()) &&
         !(spec.not_integer && value.integral()) &&
         std::ranges::none_of(spec.not_multiple_of, divides) &&
         std::ranges::none_of(spec.not_equal, [&](const auto& v) { return v == value; });
}

bool expected(const std::string& text, const NumberSpec& spec) {
  const auto value = Decimal::parse(text);
  if (!value || !meets(*value, spec)) return false;
  const auto form = form_of(text);
  const bool free = spec.minimum.empty() && spec.maximum.empty() && spec.multiple_of.empty() &&
                    !spec.not_integer && spec.not_multiple_of.empty() && spec.not_equal.empty();
  if (spec.integer && spec.form == IntegerForm::kDigits) return form.digits;
  return form.plain || free || (form.programs && spec.multiple_of.empty() && !spec.integer);
}

std::string describe(const NumberSpec& spec) {
  std::string text = spec.integer ? "integer" : "number";
  const auto bounds = [&](const char* name, const std::vector<NumberBound>& all) {
    for (const auto& b : all)
      text += std::string(" ") + name + (b.exclusive ? " beyond " : " ") + b.value.to_string();
  };
  bounds("min", spec.minimum);
  bounds("max", spec.maximum);
  for (const auto& d : spec.multiple_of) text += " multiple of " + d.to_string();
  for (const auto& d : spec.not_multiple_of) text += " no multiple of " + d.to_string();
  for (const auto& d : spec.not_equal) text += " not " + d.to_string();
  return text;
}

// Every text of up to `length` characters is in the language just when it should be, and nothing
// that is live is a dead end.
void check(const NumberSpec& spec, std::size_t length, std::string_view alphabet) {
  SCOPED_TRACE(describe(spec));
  TestPool test;
  const auto language = numbers(test.pool, spec);
  ASSERT_TRUE(language);
  std::size_t wrong = 0;
  for_each_text(test.pool, *language, alphabet, length, may_begin_number,
                [&](const std::string& text, RegexId left) {
                  const bool in = test.pool.nullable(left);
                  if (in == expected(text, spec)) return;
                  if (++wrong <= 5) ADD_FAILURE() << text << (in ? " is in" : " is missing");
                });
  EXPECT_EQ(wrong, 0U);
}

constexpr std::string_view kPlainBytes = "-.0123456789";
constexpr std::string_view kFewBytes = "-.0159";

TEST(NumberLanguage, EveryBoundInASmallRangeAgreesWithArithmetic) {
  const std::array values{"-12", "-1.5", "-0.05", "0",  "0.05",  "0.5",
                          "1",   "1.05", "9.9",   "10", "99.95", "105"};
  for (const auto* low : values) {
    for (const auto* high : values) {
      for (int exclusive = 0; exclusive < 4; ++exclusive) {
        NumberSpec spec;
        spec.minimum.push_back({decimal(low), exclusive % 2 == 1});
        spec.maximum.push_back({decimal(high), exclusive / 2 == 1});
        check(spec, 5, kFewBytes);
        spec.integer = true;
        check(spec, 5, kFewBytes);
        spec.form = IntegerForm::kValue;
        check(spec, 5, kFewBytes);
      }
    }
  }
}

TEST(NumberLanguage, OneBoundAgreesWithArithmetic) {
  for (const auto* bound :
       {"-105.5", "-10", "-1", "-0.5", "0", "0.0501", "1", "19", "20.5", "1e3"}) {
    for (const bool exclusive : {false, true}) {
      NumberSpec from;
      from.minimum.push_back({decimal(bound), exclusive});
      check(from, 5, kPlainBytes);
      NumberSpec to;
      to.maximum.push_back({decimal(bound), exclusive});
      check(to, 5, kPlainBytes);
    }
  }
}

TEST(NumberLanguage, MultiplesBetweenBoundsAgreeWithArithmetic) {
  for (const auto* divisor : {"1", "2", "3", "7", "11", "12", "50", "100", "0.5", "0.25", "2.5",
                              "0.01", "0.1", "0.3", "1.5", "6.75", "1e-8"}) {
    for (const auto& [low, high] : std::vector<std::pair<const char*, const char*>>{{"-20", "20"},
                                                                                    {"0.3", "0.7"},
                                                                                    {"1", "2"},
                                                                                    {"14.9", "101"},
                                                                                    {"-3.05", "-1"},
                                                                                    {"5", "3"},
                                                                                    {"0", "0"}}) {
      NumberSpec spec;
      spec.multiple_of.push_back(decimal(divisor));
      check(spec, 4, kPlainBytes);
      spec.minimum.push_back(at(low));
      spec.maximum.push_back(beyond(high));
      check(spec, 5, kPlainBytes);
      spec.integer = true;
      check(spec, 5, kFewBytes);
      spec.form = IntegerForm::kValue;
      check(spec, 5, kFewBytes);
    }
  }
}

TEST(NumberLanguage, SeveralMultiplesAreOne) {
  NumberSpec spec;
  spec.multiple_of = {decimal("0.4"), decimal("6"), decimal("1.5")};
  check(spec, 5, kPlainBytes);
  spec.integer = true;
  check(spec, 5, kPlainBytes);
}

TEST(NumberLanguage, NegationsAgreeWithArithmetic) {
  NumberSpec fraction;
  fraction.not_integer = true;
  check(fraction, 6, "-.015eE+");
  NumberSpec odd;
  odd.not_multiple_of = {decimal("2")};
  check(odd, 6, "-.015e");
  odd.integer = true;
  check(odd, 5, kPlainBytes);
  NumberSpec other;
  other.not_equal = {decimal("0"), decimal("1.5"), decimal("-10"), decimal("1e-5"),
                     decimal("1e16")};
  check(other, 6, "-.015e6");
  other.minimum.push_back(at("-10"));
  other.maximum.push_back(at("1.5"));
  check(other, 5, kPlainBytes);
}

TEST(NumberLanguage, MultiplesOfOneAndNotOfOthersAgreeWithArithmetic) {
  for (const auto* divisor : {"1", "3", "6", "0.5", "1.5", "10"}) {
    for (const auto& unwanted : std::vector<std::vector<const char*>>{{"2"},
                                                                      {"2", "3"},
                                                                      {"9"},
                                                                      {"0.75"},
                                                                      {"2", "3", "5", "7"},
                                                                      {"4", "100", "12"},
                                                                      {"1e-1"}}) {
      NumberSpec spec;
      spec.multiple_of = {decimal(divisor)};
      for (const auto* one : unwanted) spec.not_multiple_of.push_back(decimal(one));
      check(spec, 4, kPlainBytes);
      spec.minimum = {at("-15")};
      spec.maximum = {beyond("33")};
      check(spec, 5, kPlainBytes);
      spec.integer = true;
      check(spec, 4, kPlainBytes);
    }
  }
}

TEST(NumberLanguage, MultiplesLeftOutLeaveNoDeadEnds) {
  for (const auto* low : {"0", "14", "210", "998"}) {
    for (const auto* high : {"15", "211", "1000", "12345"}) {
      const std::array minimum{at(low)};
      const std::array maximum{at(high)};
      Divisor divisor;
      const std::array unwanted{decimal("2"), decimal("3"), decimal("5"), decimal("7"),
                                decimal("11")};
      ASSERT_TRUE(leave_out(divisor, unwanted));
      const auto plain = plain_numbers({minimum, maximum, divisor, true});
      ASSERT_TRUE(plain);
      if (*plain) expect_no_dead_ends(**plain, kNumberBytes, 100'000);
    }
  }
  TestPool test;
  test.fuel.refill(20'000);
  NumberSpec spec;
  spec.integer = true;
  spec.multiple_of = {decimal("99991")};
  spec.not_multiple_of = {decimal("99989")};
  spec.minimum = {at("1e17")};
  EXPECT_TRUE(test.pool.shortest(*numbers(test.pool, spec)));
}

TEST(NumberLanguage, ExponentsBetweenBoundsAgreeWithArithmetic) {
  const std::array values{"-2e20",   "-1e16",  "-1.5e-7", "-1e-9", "0",    "1e-9",
                          "1.05e-7", "1.5e-7", "1e-5",    "0.5",   "1",    "1e16",
                          "1.5e16",  "1e17",   "5.5e19",  "1e300", "3e310"};
  for (const auto* low : values) {
    for (const auto* high : values) {
      if (decimal(low).compare(decimal(high)) > 0) continue;
      NumberSpec spec;
      spec.minimum.push_back({decimal(low), high == values.back()});
      spec.maximum.push_back({decimal(high), low == values.front()});
      check(spec, 6, "-.15e679");
    }
  }
}

TEST(NumberLanguage, NoLivePrefixIsADeadEnd) {
  const std::array values{"-1234.5", "-10", "-1.5",       "0",    "0.05", "1",
                          "9.99",    "10",  "123456.789", "2e16", "1e25"};
  const std::array divisors{"", "1", "7", "0.25", "1.5", "13", "1000", "999983"};
  for (const auto* low : values) {
    for (const auto* high : values) {
      for (const auto* divisor : divisors) {
        const std::array minimum{at(low)};
        const std::array maximum{beyond(high)};
        PlainNumberRule rule{minimum, maximum, {}, true};
        std::vector<Decimal> all;
        if (*divisor != '\0') all.push_back(decimal(divisor));
        if (!all.empty()) rule.divisor = common_divisor(all);
        const auto plain = plain_numbers(rule);
        ASSERT_TRUE(plain);
        if (*plain) expect_no_dead_ends(**plain, kNumberBytes, 20'000);
        if (!all.empty()) continue;
        const auto exponents = exponent_numbers({minimum, maximum});
        if (exponents) expect_no_dead_ends(*exponents, kNumberBytes, 200'000);
      }
    }
  }
  expect_no_dead_ends(*any_number_text(), kNumberBytes, 100);
  expect_no_dead_ends(*integral_number_text(), kNumberBytes, 50'000);
}

TEST(NumberLanguage, AnyNumberIsJsonsGrammar) {
  check({}, 6, "-.01e+E");
  NumberSpec integers;
  integers.integer = true;
  check(integers, 5, kNumberBytes);
  integers.form = IntegerForm::kValue;
  check(integers, 6, "-.015e+");
}

TEST(NumberLanguage, WhatNoNumberMeetsIsNothing) {
  TestPool test;
  const auto nothing = [&](const NumberSpec& spec) {
    EXPECT_EQ(numbers(test.pool, spec), RegexPool::kNothing) << describe(spec);
  };
  NumberSpec spec;
  spec.integer = true;
  spec.minimum = {beyond("0")};
  spec.maximum = {beyond("1")};
  nothing(spec);
  spec.minimum = {at("100000000000000001")};
  spec.maximum = {at("100000000000999999")};
  spec.multiple_of = {decimal("1000000000039")};
  nothing(spec);
  NumberSpec opposite;
  opposite.multiple_of = {decimal("6")};
  opposite.not_multiple_of = {decimal("0.5")};
  nothing(opposite);
  NumberSpec neither;
  neither.integer = neither.not_integer = true;
  nothing(neither);
}

TEST(NumberLanguage, LargeMultiplesAreDecidedByArithmetic) {
  TestPool test;
  NumberSpec spec;
  spec.integer = true;
  spec.minimum = {at("100000000000000000")};
  spec.maximum = {at("1e19")};
  spec.multiple_of = {decimal("1000003"), decimal("999999000001")};
  test.fuel.refill(10'000);
  EXPECT_EQ(test.pool.shortest(*numbers(test.pool, spec)), "1000001999998000003");
  spec.maximum = {at("1e18")};
  EXPECT_EQ(numbers(test.pool, spec), RegexPool::kNothing);
  spec.multiple_of = {decimal("1000003")};
  EXPECT_TRUE(test.pool.shortest(*numbers(test.pool, spec)));
}

TEST(NumberLanguage, EnormousBoundsCostNothing) {
  TestPool test;
  test.fuel.refill(20'000);
  const auto from = numbers_from(test.pool, at("1e999999"));
  EXPECT_EQ(test.pool.shortest(from), "1e999999");
  EXPECT_TRUE(test.pool.matches(from, "2.5e999999"));
  EXPECT_FALSE(test.pool.matches(from, "9e999998"));
  const auto to = numbers_to(test.pool, at("1e999999"));
  EXPECT_TRUE(test.pool.matches(to, std::string(400, '9')));
  EXPECT_TRUE(test.pool.matches(numbers_from(test.pool, at("1e-999999")), "1"));
  NumberSpec tiny;
  tiny.multiple_of = {decimal("1e-999999")};
  EXPECT_TRUE(test.pool.matches(*numbers(test.pool, tiny), "0.1234567890123456789"));
  tiny.multiple_of = {decimal("123456789012345678901234567890")};
  EXPECT_EQ(numbers(test.pool, tiny), std::nullopt);
}

// Whoever begins a number as digits shall not owe a million of them.
TEST(NumberLanguage, WhatTakesTooManyDigitsIsWrittenWithAnExponent) {
  TestPool test;
  TextDfa texts(test.pool);
  const auto begins = [&](RegexId language, std::string_view text) {
    TextDfa::State state = texts.start(language, {});
    for (const char c : text) state = texts.step(state, static_cast<char32_t>(c));
    return state != TextDfa::kDead;
  };
  const RegexId large = numbers_from(test.pool, at("1e999999"));
  EXPECT_FALSE(begins(large, "12"));
  EXPECT_TRUE(begins(large, "1.2e"));
  const RegexId negative = numbers_to(test.pool, at("-1e999999"));
  EXPECT_FALSE(begins(negative, "-12"));
  EXPECT_TRUE(begins(negative, "-1.2e"));
  EXPECT_TRUE(begins(numbers_from(test.pool, at("1e300")), "12"));
  NumberSpec tiny;
  tiny.minimum = {beyond("0")};
  tiny.maximum = {at("1e-999999")};
  EXPECT_FALSE(begins(*numbers(test.pool, tiny), "0.0"));
  EXPECT_TRUE(test.pool.matches(*numbers(test.pool, tiny), "1e-999999"));
  tiny.minimum = {at("0")};
  EXPECT_TRUE(test.pool.matches(*numbers(test.pool, tiny), "0.0"));
  NumberSpec narrow;
  narrow.minimum = {at("1e500")};
  narrow.maximum = {at("1e500")};
  EXPECT_TRUE(test.pool.matches(*numbers(test.pool, narrow), "1e500"));
}

TEST(NumberLanguage, ListedValuesHaveTheSpellingsOfTheirForm) {
  TestPool test;
  const std::array values{decimal("1"),   decimal("2.50"), decimal("0"),
                          decimal("-30"), decimal("1e-7"), decimal("1e20")};
  const auto once = numbers_equal(test.pool, values, IntegerForm::kDigits);
  const auto any = numbers_equal(test.pool, values, IntegerForm::kValue);
  for (const auto* text : {"1", "2.5", "0", "-30", "0.0000001", "1e-7", "1e-07",
                           "100000000000000000000", "1e20", "1e+20"}) {
    EXPECT_TRUE(test.pool.matches(once, text)) << text;
    EXPECT_TRUE(test.pool.matches(any, text)) << text;
  }
  for (const auto* text : {"1.0", "1.00", "2.500", "-0", "-0.0", "-30.0", "0.00000010"}) {
    EXPECT_FALSE(test.pool.matches(once, text)) << text;
    EXPECT_TRUE(test.pool.matches(any, text)) << text;
  }
  for (const auto* text :
       {"", "-", "1.", "2", "2.51", "30", "-1", "10", "01", "1e0", "3e1", "1e-8", "1e19"}) {
    EXPECT_FALSE(test.pool.matches(any, text)) << text;
    EXPECT_FALSE(test.pool.matches(once, text)) << text;
  }
}

TEST(NumberLanguage, FiftyThousandListedValuesAreNoTrouble) {
  TestPool test;
  std::vector<Decimal> values;
  for (int i = 0; i < 50'000; ++i) values.emplace_back(std::int64_t{i} * 7919);
  test.fuel.refill(500'000);
  const auto language = numbers_equal(test.pool, values, IntegerForm::kDigits);
  EXPECT_TRUE(test.pool.matches(language, "7919"));
  EXPECT_TRUE(test.pool.matches(language, "395942081"));
  EXPECT_FALSE(test.pool.matches(language, "7920"));
}

}  // namespace
}  // namespace tessera::guided

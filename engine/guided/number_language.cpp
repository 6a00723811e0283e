#include "engine/guided/number_language.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "engine/guided/exponent_number.hpp"
#include "engine/guided/magnitude_range.hpp"
#include "engine/guided/plain_number.hpp"

namespace tessera::guided {
namespace {

RegexId leaf(RegexPool& pool, std::shared_ptr<const Automaton> automaton) {
  return automaton ? pool.automaton(std::move(automaton)) : RegexPool::kNothing;
}

// Nobody who begins 12 under "minimum": 1e999999 shall owe a million digits.
constexpr std::int64_t kMaxPlainDigits = 400;  // more than a double has

bool has_bounds(const NumberSpec& spec) {
  return !spec.minimum.empty() || !spec.maximum.empty();
}

bool is_negated(const NumberSpec& spec) {
  return spec.not_integer || !spec.not_multiple_of.empty() || !spec.not_equal.empty();
}

// d.ddd 10^e: whether `e` is one that programs write.
bool written_with_exponent(const Decimal& value) {
  const auto exponent = value.exponent() - 1;
  return !value.zero() && (exponent <= -kSmallExponent || exponent >= kLargeExponent);
}

// The divisors of a conjunction, being integral among them.
std::vector<Decimal> all_divisors(const NumberSpec& spec) {
  auto divisors = spec.multiple_of;
  if (spec.integer) divisors.emplace_back(1);
  return divisors;
}

// Whether what must be divided by one may not be.
bool contradictory(const std::vector<Decimal>& divisors, const NumberSpec& spec) {
  const auto implied = [&](const Decimal& unwanted) {
    return std::any_of(divisors.begin(), divisors.end(), [&](const Decimal& divisor) {
      return divisor.is_multiple_of(unwanted).value_or(false);
    });
  };
  return (spec.not_integer && implied(Decimal(1))) ||
         std::any_of(spec.not_multiple_of.begin(), spec.not_multiple_of.end(), implied);
}

// Whether there are numbers that take no more than kMaxPlainDigits digits without an exponent.
bool within_plain_reach(const NumberSpec& spec) {
  return std::ranges::any_of(std::array{false, true}, [&](bool negative) {
    const auto range = magnitudes(spec.minimum, spec.maximum, negative);
    if (!range || range->low.value.exponent() > kMaxPlainDigits) return false;
    const bool zero = range->low.value.zero() && !range->low.exclusive;
    return zero || !range->high || range->high->value.exponent() >= -kMaxPlainDigits;
  });
}

// Those with an exponent that meet the spec, as far as that can be told from the exponent.
RegexId with_exponent(RegexPool& pool, const NumberSpec& spec) {
  ExponentRule rule{spec.minimum, spec.maximum};
  rule.large = !spec.not_integer && spec.not_multiple_of.empty();
  const auto below = Decimal::from_digits(false, "1", 1 - kSmallExponent + 1);
  rule.small = std::all_of(spec.not_multiple_of.begin(), spec.not_multiple_of.end(),
                           [&](const Decimal& unwanted) { return unwanted.compare(below) >= 0; });
  return leaf(pool, exponent_numbers(rule));
}

std::optional<RegexId> plain_multiples(RegexPool& pool, const Decimal& divisor) {
  const auto common = common_divisor(std::array{divisor});
  if (!common) return {};
  PlainNumberRule rule;
  rule.divisor = common;
  return leaf(pool, *plain_numbers(rule));
}

// What the negated members leave of `language`.
std::optional<RegexId> without_negated(RegexPool& pool, const NumberSpec& spec, RegexId language) {
  std::vector<RegexId> parts{language};
  auto unwanted = spec.not_multiple_of;
  if (spec.not_integer) unwanted.emplace_back(1);
  for (const auto& divisor : unwanted) {
    const auto multiples = plain_multiples(pool, divisor);
    if (!multiples) return {};
    parts.push_back(pool.complement(*multiples));
  }
  if (!spec.not_equal.empty()) {
    parts.push_back(pool.complement(numbers_equal(pool, spec.not_equal, IntegerForm::kValue)));
  }
  return parts.size() == 1 ? language : pool.both(parts);
}

RegexId literals(RegexPool& pool, const std::vector<std::string>& texts) {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  return pool.any_of_literals(views);
}

RegexId zeros(RegexPool& pool, std::uint32_t min) {
  return pool.repeat(pool.literal("0"), min, RegexPool::kUnbounded);
}

void add_exponent_spellings(const Decimal& value, std::vector<std::string>& texts) {
  const auto text = value.scientific();
  texts.push_back(text);
  const auto e = text.find('e');
  const auto mantissa = text.substr(0, e + 1);
  if (text[e + 1] != '-') {
    texts.push_back(mantissa + "+" + text.substr(e + 1));
  } else if (text.size() == e + 3) {
    texts.push_back(mantissa + "-0" + text.substr(e + 2));
  }
}

RegexId spelled_once(RegexPool& pool, std::span<const Decimal> values) {
  std::vector<std::string> texts;
  for (const auto& value : values) {
    if (value.plain_is_short()) texts.push_back(value.plain());
    if (written_with_exponent(value)) add_exponent_spellings(value, texts);
  }
  return literals(pool, texts);
}

RegexId spelled_any_way(RegexPool& pool, std::span<const Decimal> values) {
  std::vector<std::string> integral;
  std::vector<std::string> fractional;
  std::vector<RegexId> parts;
  for (const auto& value : values) {
    const std::array bound{NumberBound{value, false}};
    if (!value.plain_is_short()) {
      parts.push_back(leaf(pool, *plain_numbers({bound, bound, {}, true})));
    } else {
      (value.integral() ? integral : fractional).push_back(value.plain());
      if (value.zero()) integral.emplace_back("-0");
    }
    if (written_with_exponent(value)) {
      parts.push_back(leaf(pool, exponent_numbers({bound, bound})));
    }
  }
  if (!integral.empty()) {
    const std::array tail{pool.literal("."), zeros(pool, 1)};
    const std::array whole{literals(pool, integral), pool.repeat(pool.concat(tail), 0, 1)};
    parts.push_back(pool.concat(whole));
  }
  if (!fractional.empty()) {
    const std::array whole{literals(pool, fractional), zeros(pool, 0)};
    parts.push_back(pool.concat(whole));
  }
  return pool.either(parts);
}

}  // namespace

std::optional<RegexId> numbers(RegexPool& pool, const NumberSpec& spec) {
  const auto divisors = all_divisors(spec);
  if (contradictory(divisors, spec)) return RegexPool::kNothing;
  if (!has_bounds(spec) && spec.multiple_of.empty() && !is_negated(spec)) {
    return spec.integer ? integers(pool, spec.form) : any_number(pool);
  }
  PlainNumberRule rule{
      spec.minimum, spec.maximum, {}, !spec.integer || spec.form == IntegerForm::kValue};
  bool multiples_left_out = false;
  if (!divisors.empty()) {
    rule.divisor = common_divisor(divisors);
    if (!rule.divisor) return {};
    multiples_left_out = leave_out(*rule.divisor, spec.not_multiple_of);
  }
  const auto plain = plain_numbers(rule);
  if (!plain) return {};
  auto language = leaf(pool, *plain);
  if (divisors.empty()) {
    const RegexId exponents = with_exponent(pool, spec);
    const bool only_so = exponents != RegexPool::kNothing && !within_plain_reach(spec);
    language = only_so ? exponents : pool.either(std::array{language, exponents});
  }
  if (!multiples_left_out) return without_negated(pool, spec, language);
  NumberSpec rest;
  rest.not_equal = spec.not_equal;
  return without_negated(pool, rest, language);
}

RegexId any_number(RegexPool& pool) {
  return pool.automaton(any_number_text());
}

RegexId integers(RegexPool& pool, IntegerForm form) {
  if (form == IntegerForm::kValue) return pool.automaton(integral_number_text());
  PlainNumberRule rule;
  rule.divisor = Divisor{};
  rule.point = false;
  return leaf(pool, *plain_numbers(rule));
}

RegexId numbers_from(RegexPool& pool, const NumberBound& minimum) {
  NumberSpec spec;
  spec.minimum.push_back(minimum);
  return *numbers(pool, spec);
}

RegexId numbers_to(RegexPool& pool, const NumberBound& maximum) {
  NumberSpec spec;
  spec.maximum.push_back(maximum);
  return *numbers(pool, spec);
}

std::optional<RegexId> multiples_of(RegexPool& pool, const Decimal& divisor) {
  return plain_multiples(pool, divisor);
}

RegexId numbers_equal(RegexPool& pool, std::span<const Decimal> values, IntegerForm form) {
  return form == IntegerForm::kDigits ? spelled_once(pool, values) : spelled_any_way(pool, values);
}

}  // namespace tessera::guided

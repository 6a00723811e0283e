// number_language.hpp — JSON numbers by value: which texts denote a number that is allowed.
//
// Bounds and multiples are exact at any size (Decimal). How a number may be written:
//   free      as JSON has it, exponents and all
//   bounded   without an exponent; and with one where programs write one, outside [1e-4, 1e16): one
//             digit other than 0, a fraction or none, e-5 and below or e16 and above. That is what
//             Python, JavaScript and C print; 1234e-2 under "maximum": 100 would be a trap
//             (only so where 400 digits without one would not do, as under "minimum": 1e999999)
//   integral  as digits only under IntegerForm::kDigits, -0 among them (JSON's -0 is 0, so a
//             minimum of 0 admits it); also as 1.0 under kValue, and 1e2 where nothing else is
//             asked of it
//   multiple  without an exponent
//   listed    (numbers_equal) see there
// So every language here is a set of texts whose values are allowed, and not always all of them.
// The complement of such a set is therefore not "the values that are not allowed": for a negated
// keyword use NumberSpec's negated members (or a bound the other way round), never
// RegexPool::complement.
//
// A conjunction of several keywords (type integer, bounds, multiples, and their negations) is best
// made by one call of numbers(): it is one leaf whose prefixes are judged by arithmetic, where an
// intersection of leaves would be searched: "a multiple of 1,000,003 between 10^17 and 10^18".
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/guided/decimal.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

struct NumberBound {
  Decimal value;
  bool exclusive = false;
};

enum class IntegerForm : std::uint8_t {
  kDigits,  // an integer is written as digits: 1
  kValue,   // any spelling of an integral value: 1, 1.0 (and 1e2 where no bound forbids exponents)
};

// What is asked of a number, all of it at once.
struct NumberSpec {
  bool integer = false;
  IntegerForm form = IntegerForm::kDigits;
  std::vector<NumberBound> minimum;
  std::vector<NumberBound> maximum;
  std::vector<Decimal> multiple_of;  // each > 0
  // The negations: by value, whatever the spelling.
  bool not_integer = false;
  std::vector<Decimal> not_multiple_of;  // each > 0
  std::vector<Decimal> not_equal;
};

// nullopt where a multiple cannot be decided exactly: a common multiple of 2^63 or more units of
// its last digit, or a bound of more than 20,000 digits beside a multiple. Costs microseconds;
// kNothing if no number meets it, without a search (but for not_multiple_of and not_equal, which
// the pool searches).
std::optional<RegexId> numbers(RegexPool& pool, const NumberSpec& spec);

// Every text of a JSON number.
RegexId any_number(RegexPool& pool);
RegexId integers(RegexPool& pool, IntegerForm form);
RegexId numbers_from(RegexPool& pool, const NumberBound& minimum);
RegexId numbers_to(RegexPool& pool, const NumberBound& maximum);
// Multiples of `divisor` > 0, integral ones also as 6.0. nullopt as for numbers().
std::optional<RegexId> multiples_of(RegexPool& pool, const Decimal& divisor);
// Spellings of exactly these values. Under kDigits one spelling each, Decimal::plain() (no zeros
// after the last digit, 0 without a sign); under kValue all that have no exponent (1, 1.0, 1.00).
// Values outside [1e-4, 1e16) also with an exponent, 1e-05 and 1e-5; those of more than
// Decimal::kMaxPlainZeros filling zeros only so under kDigits.
RegexId numbers_equal(RegexPool& pool, std::span<const Decimal> values, IntegerForm form);

}  // namespace tessera::guided

#include "engine/guided/plain_number.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>

#include "engine/guided/modular.hpp"

namespace tessera::guided {
namespace {

constexpr std::uint64_t kMaxModulus = std::uint64_t{1} << 63;
constexpr std::int64_t kMaxRoundedDigits = 20'000;
constexpr int kWordPowers = 19;  // powers of ten below kMaxModulus; 10^19 is above every modulus

constexpr std::array<std::uint64_t, kWordPowers> kPowersOfTen = [] {
  std::array<std::uint64_t, kWordPowers> powers{};
  std::uint64_t power = 1;
  for (auto& entry : powers) {
    entry = power;
    power *= 10;
  }
  return powers;
}();

// `number` times 10^fraction_digits as digits, and whether something is left behind them.
struct Scaled {
  std::string digits;
  bool more = false;
};

std::optional<Scaled> scale(const Decimal& number, std::int64_t fraction_digits) {
  const auto places = number.exponent() + fraction_digits;
  if (number.zero() || places <= 0) return Scaled{"0", !number.zero()};
  if (places > kMaxRoundedDigits) return {};
  const auto kept = static_cast<std::size_t>(places);
  Scaled scaled{number.digits().substr(0, kept), number.digits().size() > kept};
  scaled.digits.resize(kept, '0');
  return scaled;
}

std::uint64_t remainder(const std::string& digits, std::uint64_t modulus) {
  std::uint64_t rest = 0;
  for (const char digit : digits) rest = append_modulo(rest, digit, modulus);
  return rest;
}

void add(std::string& digits, std::uint64_t amount) {
  for (auto at = digits.rbegin(); at != digits.rend() && amount != 0; ++at) {
    amount += static_cast<unsigned>(*at - '0');
    *at = static_cast<char>('0' + amount % 10);
    amount /= 10;
  }
  if (amount != 0) digits.insert(0, std::to_string(amount));
}

// False if it would become negative.
bool subtract(std::string& digits, std::uint64_t amount) {
  for (auto at = digits.rbegin(); at != digits.rend(); ++at) {
    const auto take = amount % 10;
    amount /= 10;
    const auto have = static_cast<unsigned>(*at - '0');
    if (have < take) ++amount;
    *at = static_cast<char>('0' + (have + 10 - take) % 10);
  }
  return amount == 0;
}

// Whether a multiple of the divisor, known modulo its cycle, is one of those that are left in.
bool wanted(const Divisor& divisor, std::uint64_t multiple) {
  const auto quotient = multiple / divisor.modulus;
  return std::none_of(divisor.unwanted.begin(), divisor.unwanted.end(),
                      [&](std::uint64_t unwanted) { return quotient % unwanted == 0; });
}

MagnitudeBound bound_of(std::string digits, std::int64_t fraction_digits) {
  const auto places = static_cast<std::int64_t>(digits.size());
  return {Decimal::from_digits(false, std::move(digits), places - fraction_digits), false};
}

// Moves a multiple up to the next that is wanted.
void move_up(std::string& digits, const Divisor& divisor) {
  auto rest = remainder(digits, divisor.cycle);
  for (; !wanted(divisor, rest); rest = (rest + divisor.modulus) % divisor.cycle) {
    add(digits, divisor.modulus);
  }
}

// Or down; false if there is none.
bool move_down(std::string& digits, const Divisor& divisor) {
  auto rest = remainder(digits, divisor.cycle);
  while (!wanted(divisor, rest)) {
    if (!subtract(digits, divisor.modulus)) return false;
    rest = (rest + divisor.cycle - divisor.modulus) % divisor.cycle;
  }
  return true;
}

// Moves both bounds inwards to multiples. False if a bound is too long; the range may become empty.
bool round_to_multiples(MagnitudeRange& range, const Divisor& divisor, bool& empty) {
  auto low = scale(range.low.value, divisor.fraction_digits);
  if (!low) return false;
  const auto low_rest = remainder(low->digits, divisor.modulus);
  if (low_rest != 0 || low->more || range.low.exclusive) {
    add(low->digits, divisor.modulus - low_rest);
  }
  move_up(low->digits, divisor);
  range.low = bound_of(std::move(low->digits), divisor.fraction_digits);
  if (!range.high) return true;

  auto high = scale(range.high->value, divisor.fraction_digits);
  if (!high) return false;
  const auto high_rest = remainder(high->digits, divisor.modulus);
  const bool on_multiple = high_rest == 0 && !high->more;
  empty =
      !subtract(high->digits, on_multiple && range.high->exclusive ? divisor.modulus : high_rest) ||
      !move_down(high->digits, divisor);
  range.high = bound_of(std::move(high->digits), divisor.fraction_digits);
  empty = empty || range.empty();
  return true;
}

struct State {
  enum class Phase : std::uint8_t { kStart, kMinus, kZero, kWhole, kPoint, kFraction };

  Phase phase = Phase::kStart;
  bool negative = false;
  // Against the bounds' first digits. Once the point is read: against their values so far.
  Order low = Order::kEqual;
  Order high = Order::kEqual;
  std::int64_t count = 0;  // digits of the whole part; after the point, of the fraction
  std::uint64_t residue = 0;

  bool operator==(const State&) const = default;
};

struct StateHash {
  std::size_t operator()(const State& state) const {
    std::size_t hash = static_cast<std::size_t>(state.phase);
    hash = mix_hash(hash, state.negative ? 1 : 0);
    hash = mix_hash(hash, static_cast<std::uint64_t>(static_cast<int>(state.low) * 3 +
                                                     static_cast<int>(state.high) + 4));
    hash = mix_hash(hash, static_cast<std::uint64_t>(state.count));
    return mix_hash(hash, state.residue);
  }
};

using Phase = State::Phase;

class PlainNumbers final : public Automaton {
 public:
  PlainNumbers(std::optional<MagnitudeRange> positive, std::optional<MagnitudeRange> negative,
               std::optional<Divisor> divisor, bool point)
      : ranges_{std::move(positive), std::move(negative)}, divisor_(divisor), point_(point) {
    table_.intern(State{});
  }

  std::uint64_t start() const override { return 0; }

  std::uint64_t step(std::uint64_t id, char32_t code_point) const override {
    const auto next = next_state(table_[id], code_point);
    return next ? table_.intern(*next) : kDead;
  }

  bool accepting(std::uint64_t id) const override {
    const State& state = table_[id];
    switch (state.phase) {
      case Phase::kZero:
      case Phase::kWhole:
        return ends(at_point(state));
      case Phase::kFraction:
        return ends(state);
      default:
        return false;
    }
  }

  std::string_view alphabet() const override { return "-.0123456789"; }

  // Exact but for fractions, where it is one character at least.
  std::uint32_t least_length(std::uint64_t id) const override {
    if (accepting(id)) return 0;
    const State& state = table_[id];
    if (state.phase == Phase::kWhole) {
      const auto digits = std::clamp<std::int64_t>(least_digits(state), 1, kMaxLength);
      return static_cast<std::uint32_t>(digits);
    }
    if (state.phase == Phase::kMinus) return first_digits(1);
    if (state.phase != Phase::kStart) return 1;
    return std::min(first_digits(0), first_digits(1) + 1);
  }

 private:
  static constexpr std::int64_t kMaxLength = 1'000'000'000;

  const MagnitudeRange& range(const State& state) const { return *ranges_[state.negative ? 1 : 0]; }

  // Of the shortest number of one sign.
  std::uint32_t first_digits(std::size_t sign) const {
    if (!ranges_[sign]) return kMaxLength;
    const auto digits = ranges_[sign]->low.whole_digits();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(digits, 1, kMaxLength));
  }

  // How many digits the whole part needs besides those that have been read.
  std::int64_t least_digits(const State& state) const {
    const auto& [low, high] = range(state);
    const bool past_low = state.count > low.whole_digits();
    const auto length =
        low.whole_digits() + (!past_low && state.low == Order::kLess ? 1 : 0) - state.count;
    auto digits = std::max<std::int64_t>(length, 0);
    if (!divisor_) return digits;
    // The remainder may ask for more; a bound that is met exactly has it right.
    const bool on_bound =
        (state.low == Order::kEqual && !past_low) || (high && state.high == Order::kEqual);
    while (!on_bound && !multiple_within(state.residue, digits + divisor_->fraction_digits))
      ++digits;
    return digits;
  }

  std::optional<State> next_state(const State& state, char32_t c) const {
    if (c == '-' && state.phase == Phase::kStart && ranges_[1]) {
      return State{.phase = Phase::kMinus, .negative = true};
    }
    if (c == '.' && point_ && (state.phase == Phase::kZero || state.phase == Phase::kWhole)) {
      return alive(at_point(state));
    }
    if (c < '0' || c > '9') return {};
    const char digit = static_cast<char>(c);
    switch (state.phase) {
      case Phase::kStart:
      case Phase::kMinus:
        return first_digit(state, digit);
      case Phase::kWhole:
        return alive(whole_digit(state, digit));
      case Phase::kPoint:
      case Phase::kFraction:
        return fraction_digit(state, digit);
      default:
        return {};  // no digit follows a leading zero
    }
  }

  std::optional<State> first_digit(State state, char digit) const {
    if (!ranges_[state.negative ? 1 : 0]) return {};
    if (digit != '0') {
      state.phase = Phase::kWhole;
      return alive(whole_digit(state, digit));
    }
    state.phase = Phase::kZero;
    if (!alive(at_point(state))) return {};
    return state;
  }

  State whole_digit(State state, char digit) const {
    const auto& [low, high] = range(state);
    const auto against = [&](Order order, const MagnitudeBound& bound) {
      if (state.count >= bound.whole_digits()) return Order::kGreater;
      return compare_digit(order, digit, bound.digit_at(state.count - bound.whole_digits()));
    };
    state.low = against(state.low, low);
    state.high = high ? against(state.high, *high) : Order::kLess;
    state.count += 1;
    // Where nothing is above, numbers longer than the lower bound are all alike.
    if (!high) state.count = std::min(state.count, low.whole_digits() + 1);
    push_residue(state, digit);
    return state;
  }

  std::optional<State> fraction_digit(State state, char digit) const {
    const auto& [low, high] = range(state);
    if (divisor_ && state.count >= divisor_->fraction_digits && digit != '0') return {};
    state.phase = Phase::kFraction;
    state.low = compare_digit(state.low, digit, low.digit_at(state.count));
    if (high) state.high = compare_digit(state.high, digit, high->digit_at(state.count));
    if (divisor_ && state.count < divisor_->fraction_digits) push_residue(state, digit);
    state.count = std::min(state.count + 1, last_place(state));
    return alive(state);
  }

  // The fraction digit after which all are alike.
  std::int64_t last_place(const State& state) const {
    const auto& [low, high] = range(state);
    const auto end = [](const MagnitudeBound& bound) {
      return static_cast<std::int64_t>(bound.value.digits().size()) - bound.value.exponent();
    };
    std::int64_t place = divisor_ ? divisor_->fraction_digits : 0;
    if (state.low == Order::kEqual) place = std::max(place, end(low));
    if (high && state.high == Order::kEqual) place = std::max(place, end(*high));
    return place;
  }

  // The state once the whole part is known to have ended.
  State at_point(State state) const {
    const auto& [low, high] = range(state);
    const auto settle = [&](Order order, const MagnitudeBound& bound) {
      if (state.count == bound.whole_digits()) return order;
      return state.count < bound.whole_digits() ? Order::kLess : Order::kGreater;
    };
    state.low = settle(state.low, low);
    state.high = high ? settle(state.high, *high) : Order::kLess;
    state.phase = Phase::kPoint;
    state.count = 0;
    return state;
  }

  void push_residue(State& state, char digit) const {
    if (!divisor_) return;
    state.residue = append_modulo(state.residue, digit, divisor_->cycle);
  }

  // Whether `places` more digits can make a multiple of the number read. One that is wanted is
  // never far: eight unwanted divisors of quotients leave gaps of less than 64.
  bool multiple_within(std::uint64_t residue, std::int64_t places) const {
    if (places >= kWordPowers) return true;
    const auto& [modulus, fraction_digits, unwanted, cycle] = *divisor_;
    const auto room = kPowersOfTen[static_cast<std::size_t>(places)];
    const auto shifted = multiply_modulo(residue, power_of_ten_modulo(places, cycle), cycle);
    auto distance = (modulus - shifted % modulus) % modulus;
    auto multiple = (shifted + distance) % cycle;
    for (; distance < room; distance += modulus, multiple = (multiple + modulus) % cycle) {
      if (wanted(*divisor_, multiple)) return true;
    }
    return false;
  }

  std::optional<State> alive(const State& state) const {
    const bool is = state.phase == Phase::kWhole ? whole_alive(state) : fraction_alive(state);
    return is ? std::optional(state) : std::nullopt;
  }

  bool whole_alive(const State& state) const {
    const auto& [low, high] = range(state);
    const bool past_low = state.count > low.whole_digits();
    if (divisor_ && state.low == Order::kEqual && !past_low) return true;  // to the bound itself
    if (divisor_ && high && state.high == Order::kEqual) return true;
    // The lengths of whole part that keep the number between the bounds.
    const auto shortest = std::max(
        state.count, low.whole_digits() + (!past_low && state.low == Order::kLess ? 1 : 0));
    if (!high) return true;
    const bool fits = state.high == Order::kLess ||
                      (state.high == Order::kEqual && may_equal(*high, state.count));
    const auto longest = high->whole_digits() - (fits ? 0 : 1);
    if (shortest > longest) return false;
    if (!divisor_ || longest - state.count >= kWordPowers) return true;
    for (auto length = shortest; length <= longest; ++length) {
      const auto places = length - state.count + divisor_->fraction_digits;
      if (multiple_within(state.residue, places)) return true;
    }
    return false;
  }

  // Whether a number that has a bound's first `count` digits can stay below it.
  static bool may_equal(const MagnitudeBound& high, std::int64_t count) {
    return !high.exclusive || high.more_from(count - high.whole_digits());
  }

  bool fraction_alive(const State& state) const {
    const auto& [low, high] = range(state);
    if (state.low == Order::kLess || state.high == Order::kGreater) return false;
    const bool on_high = high && state.high == Order::kEqual;
    if (!divisor_) return !on_high || !high->exclusive || high->more_from(state.count);
    if (state.low == Order::kEqual || on_high) return true;
    return multiple_within(state.residue, divisor_->fraction_digits - state.count);
  }

  // Whether the number may end, `state` being after the point.
  bool ends(const State& state) const {
    const auto& [low, high] = range(state);
    if (state.low == Order::kLess || state.high == Order::kGreater) return false;
    if (state.low == Order::kEqual && (low.exclusive || low.more_from(state.count))) return false;
    if (high && state.high == Order::kEqual && high->exclusive && !high->more_from(state.count)) {
      return false;
    }
    if (!divisor_) return true;
    const auto missing =
        divisor_->fraction_digits - std::min(state.count, divisor_->fraction_digits);
    const auto shift = power_of_ten_modulo(missing, divisor_->cycle);
    const auto value = multiply_modulo(state.residue, shift, divisor_->cycle);
    return value % divisor_->modulus == 0 && wanted(*divisor_, value);
  }

  std::array<std::optional<MagnitudeRange>, 2> ranges_;  // of the positive and the negative numbers
  std::optional<Divisor> divisor_;
  bool point_;
  mutable StateTable<State, StateHash> table_;
};

// digits 10^shift, if it is below kMaxModulus.
std::optional<std::uint64_t> as_word(const Decimal& number, std::int64_t shift) {
  const auto places = number.exponent() + shift;
  if (places > kWordPowers) return {};
  Wide value = 0;
  for (std::int64_t i = 0; i < places; ++i) {
    const auto index = static_cast<std::size_t>(i);
    value =
        value * 10 +
        (index < number.digits().size() ? static_cast<unsigned>(number.digits()[index] - '0') : 0U);
  }
  if (value >= kMaxModulus) return {};
  return static_cast<std::uint64_t>(value);
}

// Those that no other is a multiple of.
std::vector<Decimal> strictest_divisors(std::span<const Decimal> divisors) {
  std::vector<Decimal> kept;
  for (const auto& divisor : divisors) {
    const auto implies = [](const Decimal& a, const Decimal& b) {
      return a.is_multiple_of(b).value_or(false);
    };
    if (std::any_of(kept.begin(), kept.end(), [&](const auto& k) { return implies(k, divisor); })) {
      continue;
    }
    std::erase_if(kept, [&](const auto& k) { return implies(divisor, k); });
    kept.push_back(divisor);
  }
  return kept;
}

std::optional<std::uint64_t> least_common_multiple(std::uint64_t a, std::uint64_t b) {
  const auto product = Wide{a / std::gcd(a, b)} * b;
  if (product >= kMaxModulus) return {};
  return static_cast<std::uint64_t>(product);
}

}  // namespace

std::optional<Divisor> common_divisor(std::span<const Decimal> divisors) {
  const auto kept = strictest_divisors(divisors);
  Divisor result;
  for (const auto& divisor : kept) {
    const auto digits = static_cast<std::int64_t>(divisor.digits().size());
    result.fraction_digits = std::max(result.fraction_digits, digits - divisor.exponent());
  }
  for (const auto& divisor : kept) {
    const auto word = as_word(divisor, result.fraction_digits);
    if (!word) return {};
    const auto multiple = least_common_multiple(result.modulus, *word);
    if (!multiple) return {};
    result.modulus = *multiple;
  }
  for (; result.fraction_digits > 0 && result.modulus % 10 == 0; --result.fraction_digits) {
    result.modulus /= 10;
  }
  result.cycle = result.modulus;
  return result;
}

bool leave_out(Divisor& divisor, std::span<const Decimal> unwanted) {
  constexpr std::size_t kMostUnwanted = 8;
  constexpr std::uint64_t kMostModulus = std::uint64_t{1} << 56;  // 64 of them fit below 10^19
  Divisor result = divisor;
  for (const auto& one : unwanted) {
    const auto digits = static_cast<std::int64_t>(one.digits().size());
    result.fraction_digits = std::max(result.fraction_digits, digits - one.exponent());
  }
  for (auto places = divisor.fraction_digits; places < result.fraction_digits; ++places) {
    result.modulus *= 10;
    if (result.modulus >= kMostModulus) return false;
  }
  std::vector<std::uint64_t> steps;
  for (const auto& one : unwanted) {
    const auto word = as_word(one, result.fraction_digits);
    if (!word) return false;
    steps.push_back(*word / std::gcd(*word, result.modulus));
    if (steps.back() == 1) return false;
  }
  std::sort(steps.begin(), steps.end());
  for (const auto step : steps) {
    const auto covers = [&](std::uint64_t other) { return step % other == 0; };
    if (std::none_of(result.unwanted.begin(), result.unwanted.end(), covers)) {
      result.unwanted.push_back(step);
    }
  }
  if (result.unwanted.size() > kMostUnwanted || result.modulus >= kMostModulus) return false;
  std::uint64_t common = 1;
  for (const auto step : result.unwanted) {
    const auto multiple = least_common_multiple(common, step);
    if (!multiple) return false;
    common = *multiple;
  }
  if (Wide{common} * result.modulus >= kMaxModulus) return false;
  result.cycle = common * result.modulus;
  divisor = std::move(result);
  return true;
}

std::optional<std::shared_ptr<const Automaton>> plain_numbers(const PlainNumberRule& rule) {
  std::array<std::optional<MagnitudeRange>, 2> ranges;
  for (const bool negative : {false, true}) {
    auto range = magnitudes(rule.minimum, rule.maximum, negative);
    bool empty = !range;
    if (range && rule.divisor && !round_to_multiples(*range, *rule.divisor, empty)) return {};
    if (!empty) ranges[negative ? 1 : 0] = std::move(range);
  }
  if (!ranges[0] && !ranges[1]) return nullptr;
  return std::make_shared<PlainNumbers>(std::move(ranges[0]), std::move(ranges[1]), rule.divisor,
                                        rule.point);
}

}  // namespace tessera::guided

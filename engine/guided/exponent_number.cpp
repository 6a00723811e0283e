#include "engine/guided/exponent_number.hpp"

#include <algorithm>
#include <array>

#include "engine/guided/magnitude_range.hpp"

namespace tessera::guided {
namespace {

constexpr std::string_view kNumberLetters = "+-.0123456789Ee";

bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}

class AnyNumbers final : public Automaton {
 public:
  std::uint64_t start() const override { return kStart; }

  std::uint64_t step(std::uint64_t state, char32_t c) const override {
    if (is_digit(c)) return digit(state, c == '0');
    switch (c) {
      case '-':
        return state == kStart ? kMinus : state == kE ? kSign : kDead;
      case '+':
        return state == kE ? kSign : kDead;
      case '.':
        return state == kZero || state == kWhole ? kPoint : kDead;
      case 'e':
      case 'E':
        return state == kZero || state == kWhole || state == kFraction ? kE : kDead;
      default:
        return kDead;
    }
  }

  bool accepting(std::uint64_t state) const override {
    return state == kZero || state == kWhole || state == kFraction || state == kExponent;
  }

  std::string_view alphabet() const override { return kNumberLetters; }

 private:
  enum : std::uint64_t { kStart, kMinus, kZero, kWhole, kPoint, kFraction, kE, kSign, kExponent };

  static std::uint64_t digit(std::uint64_t state, bool zero) {
    switch (state) {
      case kStart:
      case kMinus:
        return zero ? kZero : kWhole;
      case kWhole:
        return kWhole;
      case kPoint:
      case kFraction:
        return kFraction;
      case kE:
      case kSign:
      case kExponent:
        return kExponent;
      default:
        return kDead;
    }
  }
};

// A state is its fields packed. `shift` is what an exponent must make up for: the fraction digits
// up to the last that is not 0, or less than nothing for zeros at the end of the whole part.
class IntegralNumbers final : public Automaton {
 public:
  std::uint64_t start() const override { return State{}.pack(); }

  std::uint64_t step(std::uint64_t packed, char32_t c) const override {
    const auto next = next_state(State::unpack(packed), c);
    return next ? next->pack() : kDead;
  }

  bool accepting(std::uint64_t packed) const override {
    const auto state = State::unpack(packed);
    switch (state.phase) {
      case kZero:
      case kWhole:
        return true;
      case kFraction:
        return state.shift <= 0;
      case kExponent:
        return made_up(state);
      default:
        return false;
    }
  }

  std::string_view alphabet() const override { return kNumberLetters; }

 private:
  static constexpr int kMaxShift = 400;
  static constexpr int kMaxExponent = 9'999;
  enum Phase : std::uint8_t {
    kStart,
    kMinus,
    kZero,
    kWhole,
    kPoint,
    kFraction,
    kE,
    kSign,
    kExponent
  };

  struct State {
    Phase phase = kStart;
    bool nonzero = false;   // the mantissa
    bool negative = false;  // the exponent
    int shift = 0;          // [-kMaxShift, kMaxShift]
    int length = 0;         // fraction digits read, or the exponent's value

    std::uint64_t pack() const {
      return static_cast<std::uint64_t>(phase) | (nonzero ? 0x10U : 0U) | (negative ? 0x20U : 0U) |
             static_cast<std::uint64_t>(shift + kMaxShift) << 8 |
             static_cast<std::uint64_t>(length) << 24;
    }
    static State unpack(std::uint64_t packed) {
      return {static_cast<Phase>(packed & 0xF), (packed & 0x10) != 0, (packed & 0x20) != 0,
              static_cast<int>(packed >> 8 & 0xFFFF) - kMaxShift, static_cast<int>(packed >> 24)};
    }
  };

  static bool made_up(const State& state) {
    return !state.nonzero || (state.negative ? -state.length : state.length) >= state.shift;
  }

  static std::optional<State> next_state(State state, char32_t c) {
    if (is_digit(c)) return digit(state, static_cast<int>(c - '0'));
    const bool mantissa_ended =
        state.phase == kZero || state.phase == kWhole || state.phase == kFraction;
    if (c == '-' && state.phase == kStart) {
      state.phase = kMinus;
    } else if (c == '.' && mantissa_ended && state.phase != kFraction) {
      state.phase = kPoint;
    } else if ((c == 'e' || c == 'E') && mantissa_ended) {
      state.phase = kE;
      state.length = 0;
    } else if (state.phase == kE &&
               (c == '+' || (c == '-' && (!state.nonzero || state.shift <= 0)))) {
      state.phase = kSign;
      state.negative = c == '-';
    } else {
      return {};
    }
    return state;
  }

  static std::optional<State> digit(State state, int value) {
    switch (state.phase) {
      case kStart:
      case kMinus:
      case kWhole:
        return whole_digit(state, value);
      case kPoint:
      case kFraction:
        return fraction_digit(state, value);
      case kE:
      case kSign:
      case kExponent:
        return exponent_digit(state, value);
      default:
        return {};
    }
  }

  static State whole_digit(State state, int value) {
    state.phase = value == 0 && !state.nonzero ? kZero : kWhole;
    state.nonzero = state.nonzero || value != 0;
    state.shift = value != 0 || !state.nonzero ? 0 : std::max(state.shift - 1, -kMaxShift);
    return state;
  }

  static std::optional<State> fraction_digit(State state, int value) {
    state.phase = kFraction;
    state.length = std::min(state.length + 1, kMaxShift + 1);
    if (value == 0) return state;
    if (state.length > kMaxShift) return {};
    state.nonzero = true;
    state.shift = state.length;
    return state;
  }

  static std::optional<State> exponent_digit(State state, int value) {
    state.phase = kExponent;
    state.length = std::min(state.length * 10 + value, kMaxExponent);
    // A negative exponent only grows; a positive one can always grow enough.
    if (state.negative && !made_up(state)) return {};
    return state;
  }
};

struct State {
  enum class Phase : std::uint8_t {
    kStart,
    kMinus,
    kLead,
    kPoint,
    kFraction,
    kE,
    kSign,
    kZero,
    kExponent
  };

  Phase phase = Phase::kStart;
  bool negative = false;
  bool negative_exponent = false;
  Order low = Order::kEqual;  // the mantissa's digits against as many of the bounds'
  Order high = Order::kEqual;
  std::int64_t number = 0;  // digits of the mantissa read, later the exponent

  bool operator==(const State&) const = default;
};

struct StateHash {
  std::size_t operator()(const State& state) const {
    std::size_t hash = static_cast<std::size_t>(state.phase);
    hash = mix_hash(hash, (state.negative ? 1U : 0U) + (state.negative_exponent ? 2U : 0U));
    hash = mix_hash(hash, static_cast<std::uint64_t>(static_cast<int>(state.low) * 3 +
                                                     static_cast<int>(state.high) + 4));
    return mix_hash(hash, static_cast<std::uint64_t>(state.number));
  }
};

using Phase = State::Phase;

struct Interval {
  std::int64_t begin = 0;
  std::int64_t end = -1;  // inclusive

  bool empty() const { return begin > end; }
  bool contains(std::int64_t value) const { return value >= begin && value <= end; }
};

class ExponentNumbers final : public Automaton {
 public:
  ExponentNumbers(std::array<std::optional<MagnitudeRange>, 2> ranges, bool small, bool large)
      : ranges_(std::move(ranges)), small_(small), large_(large) {
    for (const bool negative : {false, true}) {
      auto& range = ranges_[negative ? 1 : 0];
      if (range && !some_exponent(State{.negative = negative})) range.reset();
    }
    table_.intern(State{});
  }

  bool empty() const { return !ranges_[0] && !ranges_[1]; }
  std::uint64_t start() const override { return 0; }

  std::uint64_t step(std::uint64_t id, char32_t code_point) const override {
    const auto next = next_state(table_[id], code_point);
    return next ? table_.intern(*next) : kDead;
  }

  bool accepting(std::uint64_t id) const override {
    const State& state = table_[id];
    return (state.phase == Phase::kExponent || state.phase == Phase::kZero) &&
           exponents(state).contains(state.number);
  }

  std::string_view alphabet() const override { return kNumberLetters; }

 private:
  const MagnitudeRange& range(const State& state) const { return *ranges_[state.negative ? 1 : 0]; }

  std::optional<State> next_state(State state, char32_t c) const {
    if (is_digit(c)) return digit(state, static_cast<char>(c));
    if (c == '-' && state.phase == Phase::kStart && ranges_[1]) {
      return State{.phase = Phase::kMinus, .negative = true};
    }
    if (c == '.' && state.phase == Phase::kLead) {
      state.phase = Phase::kPoint;
      return state;
    }
    if ((c == 'e' || c == 'E') &&
        (state.phase == Phase::kLead || state.phase == Phase::kFraction)) {
      return after_mantissa(state);
    }
    if ((c == '+' || c == '-') && state.phase == Phase::kE) {
      state.phase = Phase::kSign;
      state.negative_exponent = c == '-';
      if (exponents(state).empty()) return {};
      return state;
    }
    return {};
  }

  std::optional<State> digit(State state, char digit) const {
    switch (state.phase) {
      case Phase::kStart:
      case Phase::kMinus:
        if (digit == '0' || !ranges_[state.negative ? 1 : 0]) return {};
        state.phase = Phase::kLead;
        return mantissa_digit(state, digit);
      case Phase::kPoint:
      case Phase::kFraction:
        state.phase = Phase::kFraction;
        return mantissa_digit(state, digit);
      case Phase::kE:
      case Phase::kSign:
      case Phase::kZero:
      case Phase::kExponent:
        return exponent_digit(state, digit);
      default:
        return {};
    }
  }

  std::optional<State> mantissa_digit(State state, char digit) const {
    const auto& [low, high] = range(state);
    const auto against = [&](Order order, const MagnitudeBound& bound) {
      return compare_digit(order, digit, bound.digit_at(state.number - bound.value.exponent()));
    };
    state.low = against(state.low, low);
    state.high = high ? against(state.high, *high) : Order::kLess;
    state.number = std::min(state.number + 1, last_digit(state));
    if (!some_exponent(state)) return {};
    return state;
  }

  std::int64_t last_digit(const State& state) const {
    const auto& [low, high] = range(state);
    std::size_t last = 1;
    if (state.low == Order::kEqual) last = std::max(last, low.value.digits().size());
    if (high && state.high == Order::kEqual) last = std::max(last, high->value.digits().size());
    return static_cast<std::int64_t>(last);
  }

  // The mantissa is whole: an equality that is none after all is settled.
  std::optional<State> after_mantissa(State state) const {
    const auto& [low, high] = range(state);
    const auto settle = [&](Order order, const MagnitudeBound& bound) {
      const bool shorter = bound.more_from(state.number - bound.value.exponent());
      return order == Order::kEqual && shorter ? Order::kLess : order;
    };
    state.low = settle(state.low, low);
    state.high = high ? settle(state.high, *high) : Order::kLess;
    state.phase = Phase::kE;
    state.number = 0;
    State down = state;
    down.negative_exponent = true;
    if (exponents(state).empty() && exponents(down).empty()) return {};
    return state;
  }

  std::optional<State> exponent_digit(State state, char digit) const {
    const auto allowed = exponents(state);
    const bool first = state.phase == Phase::kE || state.phase == Phase::kSign;
    if (allowed.empty() || (state.phase == Phase::kZero && digit == '0')) return {};
    state.phase = first && digit == '0' ? Phase::kZero : Phase::kExponent;
    state.number = state.number * 10 + (digit - '0');
    auto from = state.number;
    for (auto to = from; from <= allowed.end; from *= 10, to = to * 10 + 9) {
      if (to >= allowed.begin) return state;
      if (to == 0) return state;  // a leading zero: any exponent may follow
    }
    return {};
  }

  // The sizes of the exponent that put the mantissa, which is whole, between the bounds.
  Interval exponents(const State& state) const {
    const bool low_met =
        state.low == Order::kGreater || (state.low == Order::kEqual && !range(state).low.exclusive);
    const auto& high = range(state).high;
    const bool high_met =
        state.high == Order::kLess || (state.high == Order::kEqual && !high->exclusive);
    return sizes(state, window(state, low_met, high_met));
  }

  // Whether digits can be added to the mantissa, and an exponent.
  bool some_exponent(State state) const {
    const auto& high = range(state).high;
    const bool high_met =
        state.high == Order::kLess ||
        (state.high == Order::kEqual &&
         (!high || !high->exclusive || high->more_from(state.number - high->value.exponent())));
    const auto all = window(state, state.low != Order::kLess, high_met);
    state.negative_exponent = false;
    if (!sizes(state, all).empty()) return true;
    state.negative_exponent = true;
    return !sizes(state, all).empty();
  }

  // The exponents between the bounds. d.ddd 10^e is 0.dddd 10^(e + 1).
  Interval window(const State& state, bool low_met, bool high_met) const {
    const auto& [low, high] = range(state);
    Interval all{-kMaxFreeExponent, kMaxFreeExponent};
    if (!low.value.zero()) {
      all.begin = low.value.exponent() - (low_met ? 1 : 0);
      all.end = std::max(all.end, all.begin + kMaxFreeExponent);
    }
    if (high) {
      if (high->value.zero()) return {};
      all.end = high->value.exponent() - (high_met ? 1 : 2);
      if (low.value.zero()) all.begin = std::min(all.begin, all.end - kMaxFreeExponent);
    }
    return all;
  }

  Interval sizes(const State& state, const Interval& all) const {
    if (state.negative_exponent) {
      if (!small_) return {};
      return {std::max(kSmallExponent, -all.end), -all.begin};
    }
    if (!large_) return {};
    return {std::max(kLargeExponent, all.begin), all.end};
  }

  std::array<std::optional<MagnitudeRange>, 2> ranges_;  // of the positive and the negative numbers
  bool small_;
  bool large_;
  mutable StateTable<State, StateHash> table_;
};

}  // namespace

std::shared_ptr<const Automaton> any_number_text() {
  static const auto automaton = std::make_shared<const AnyNumbers>();
  return automaton;
}

std::shared_ptr<const Automaton> integral_number_text() {
  static const auto automaton = std::make_shared<const IntegralNumbers>();
  return automaton;
}

std::shared_ptr<const Automaton> exponent_numbers(const ExponentRule& rule) {
  auto automaton = std::make_shared<const ExponentNumbers>(
      std::array{magnitudes(rule.minimum, rule.maximum, false),
                 magnitudes(rule.minimum, rule.maximum, true)},
      rule.small, rule.large);
  if (automaton->empty()) return nullptr;
  return automaton;
}

}  // namespace tessera::guided

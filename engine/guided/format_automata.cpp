#include "engine/guided/format_automata.hpp"

#include <optional>
#include <string_view>

namespace tessera::guided {
namespace {

bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_hex(char32_t c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Dates and times are a place in "yyyy-mm-ddThh:mm:ss" or behind it, and one small value.
class DateTimes final : public Automaton {
 public:
  DateTimes(bool date, bool time) : date_(date), time_(time) {}

  std::uint64_t start() const override { return pack(date_ ? 0 : kHour, 0); }

  std::uint64_t step(std::uint64_t state, char32_t c) const override {
    const auto place = static_cast<std::uint32_t>(state & 0x1F);
    const auto value = static_cast<std::uint32_t>(state >> 5);
    if (is_digit(c)) {
      const auto next = digit(place, value, static_cast<std::uint32_t>(c - '0'));
      return next == kRefused ? kDead : pack(place == kFraction ? place : place + 1, next);
    }
    if (place == kEnd || (place == kTee && !time_)) return kDead;
    switch (c) {
      case '-':
        if (place == 4 || place == 7) return pack(place + 1, value);
        return may_end_time(place) ? pack(kOffset, 0) : kDead;
      case '+':
        return may_end_time(place) ? pack(kOffset, 0) : kDead;
      case ':':
        return place == kHour + 2 || place == kHour + 5 || place == kOffset + 2
                   ? pack(place + 1, value)
                   : kDead;
      case '.':
        return place == kSecondEnd ? pack(kFraction - 1, 0) : kDead;
      case 'T':
      case 't':
        return place == kTee ? pack(kHour, 0) : kDead;
      case 'Z':
      case 'z':
        return may_end_time(place) ? pack(kEnd, 0) : kDead;
      default:
        return kDead;
    }
  }

  bool accepting(std::uint64_t state) const override {
    return (state & 0x1F) == (time_ ? kEnd : kTee);
  }

  std::string_view alphabet() const override { return "+-.0123456789:TZtz"; }

 private:
  // Places: 0 to 9 the date, then these.
  static constexpr std::uint32_t kTee = 10;
  static constexpr std::uint32_t kHour = 11;
  static constexpr std::uint32_t kSecondEnd = 19;
  static constexpr std::uint32_t kFraction = 21;  // 20: its first digit
  static constexpr std::uint32_t kOffset = 22;    // hh:mm
  static constexpr std::uint32_t kEnd = 27;
  static constexpr std::uint32_t kRefused = ~std::uint32_t{0};  // no value

  static std::uint64_t pack(std::uint32_t place, std::uint32_t value) {
    return place | std::uint64_t{value} << 5;
  }
  static std::uint32_t only_if(bool condition, std::uint32_t value) {
    return condition ? value : kRefused;
  }
  static bool may_end_time(std::uint32_t place) {
    return place == kSecondEnd || place == kFraction;
  }

  // The value after digit `d`; kRefused if there may be none.
  static std::uint32_t digit(std::uint32_t place, std::uint32_t value, std::uint32_t d) {
    if (place < kTee) return date_digit(place, value, d);
    switch (place) {
      case kHour:
      case kOffset:
        return only_if(d < 3, d / 2 * 2);  // only a 2 matters
      case kHour + 1:
      case kOffset + 1:
        return only_if(value != 2 || d <= 3, 0);
      case kHour + 3:
      case kHour + 6:
      case kOffset + 3:
        return only_if(d < 6, 0);
      case kHour + 4:
      case kHour + 7:
      case kOffset + 4:
      case kFraction - 1:
      case kFraction:
        return 0;
      default:
        return kRefused;
    }
  }

  // What a digit adds to its year modulo 4, as the first of two: 0 for a zero, 1 if even, 2 if odd.
  static std::uint32_t tens(std::uint32_t d) { return d == 0 ? 0 : 1 + d % 2; }

  // In the year: first tens(), then its century modulo 4 (kYearZero: 00), then that times 3 and
  // tens() of the third digit, then whether it is a leap year. Then: twice the month's first digit
  // more, the days missing to 31, four times the day's first digit more.
  static std::uint32_t date_digit(std::uint32_t place, std::uint32_t value, std::uint32_t d) {
    constexpr std::uint32_t kYearZero = 4;
    switch (place) {
      case 0:
        return tens(d);
      case 1:
        return value == 0 && d == 0 ? kYearZero : ((value == 2 ? 2 : 0) + d) % 4;
      case 2:
        return value * 3 + tens(d);
      case 3: {
        if (value % 3 == 0 && d == 0) {
          if (value / 3 == kYearZero) return kRefused;
          return value / 3 == 0 ? 1 : 0;
        }
        return ((value % 3 == 2 ? 2 : 0) + d) % 4 == 0 ? 1 : 0;
      }
      case 5:
        return only_if(d < 2, value + 2 * d);
      case 6:
        return month_digit(value, d);
      case 8:
        return only_if(d < 3 || (d == 3 && value < 2), value + 4 * d);
      case 9: {
        const auto day = value / 4 * 10 + d;
        return only_if(day >= 1 && day <= 31 - value % 4, 0);
      }
      default:
        return kRefused;
    }
  }

  static std::uint32_t month_digit(std::uint32_t value, std::uint32_t d) {
    const auto month = value / 2 * 10 + d;
    if (month < 1 || month > 12) return kRefused;
    if (month == 2) return value % 2 == 1 ? 2 : 3;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 1 : 0;
  }

  bool date_;
  bool time_;
};

class Hostnames final : public Automaton {
 public:
  std::uint64_t start() const override { return pack({}); }

  std::uint64_t step(std::uint64_t packed, char32_t c) const override {
    State state = unpack(packed);
    if (c == '.') {
      if (state.label == 0 || state.hyphen || state.total + 2 > kMaxTotal) return kDead;
      return pack({state.total + 1, 0, false});
    }
    if (state.label == kMaxLabel || state.total == kMaxTotal) return kDead;
    const bool hyphen = c == '-';
    if (!hyphen && !is_letter(c) && !is_digit(c)) return kDead;
    if (hyphen) {
      const bool last = state.label + 1 == kMaxLabel || state.total + 1 == kMaxTotal;
      if (state.label == 0 || last || (state.label == 3 && state.hyphen)) return kDead;
    }
    return pack({state.total + 1, state.label + 1, hyphen});
  }

  bool accepting(std::uint64_t packed) const override {
    const State state = unpack(packed);
    return state.label != 0 && !state.hyphen;
  }

 private:
  static constexpr std::uint32_t kMaxLabel = 63;
  static constexpr std::uint32_t kMaxTotal = 253;

  struct State {
    std::uint32_t total = 0;
    std::uint32_t label = 0;  // characters of this label
    bool hyphen = false;      // the last was one
  };

  static std::uint64_t pack(State state) {
    return state.total | state.label << 8 | (state.hyphen ? 1U << 16 : 0U);
  }
  static State unpack(std::uint64_t packed) {
    return {static_cast<std::uint32_t>(packed & 0xFF),
            static_cast<std::uint32_t>(packed >> 8 & 0xFF), (packed >> 16) != 0};
  }
};

class Ipv6 final : public Automaton {
 public:
  std::uint64_t start() const override { return pack({}); }

  std::uint64_t step(std::uint64_t packed, char32_t c) const override {
    State state = unpack(packed);
    const bool alive = c == ':'   ? colon(state)
                       : c == '.' ? dot(state)
                                  : is_hex(c) && (state.octets > 0 ? octet_digit(state, c)
                                                                   : group_digit(state, c));
    return alive ? pack(state) : kDead;
  }

  bool accepting(std::uint64_t packed) const override {
    const State state = unpack(packed);
    if (state.octets > 0) return state.octets == 4 && state.digits > 0;
    if (state.digits == 0) return state.double_colon_last;
    return state.compressed || state.groups == kGroups;
  }

 private:
  static constexpr std::uint32_t kGroups = 8;

  struct State {
    std::uint32_t groups = 0;        // begun
    std::uint32_t digits = 0;        // of the group or octet being read
    std::uint32_t octets = 0;        // begun, of an IPv4 address; 0 before its first point
    std::uint32_t value = 0;         // of the group as an octet; kNoOctet if it is none
    bool compressed = false;         // :: has been read
    bool double_colon_last = false;  // just now
    bool colon_first = false;        // the first of a leading :: only
  };
  static constexpr std::uint32_t kNoOctet = 0x1FF;

  static std::uint64_t pack(const State& s) {
    return s.groups | s.digits << 4 | s.octets << 8 | s.value << 12 |
           (s.compressed ? 1U << 24 : 0U) | (s.double_colon_last ? 1U << 25 : 0U) |
           (s.colon_first ? 1U << 26 : 0U);
  }
  static State unpack(std::uint64_t packed) {
    const auto bits = [&](int shift, std::uint32_t mask) {
      return static_cast<std::uint32_t>(packed >> shift) & mask;
    };
    return {bits(0, 0xF),     bits(4, 0xF),     bits(8, 0xF),    bits(12, 0xFFF),
            bits(24, 1) != 0, bits(25, 1) != 0, bits(26, 1) != 0};
  }

  // Groups that there may be: :: stands for one at least.
  static std::uint32_t most_groups(const State& s) { return s.compressed ? kGroups - 1 : kGroups; }

  // An IPv4 address takes the place of two groups, the first of which is being read.
  static bool octets_fit(const State& s) {
    return s.compressed ? s.groups < kGroups - 1 : s.groups == kGroups - 1;
  }

  static bool colon(State& s) {
    if (s.octets > 0) return false;
    if (s.groups == 0 && s.digits == 0 && !s.compressed && !s.colon_first) {
      s.colon_first = true;
      return true;
    }
    if (s.digits == 0) {  // after a colon
      if (s.compressed || s.double_colon_last) return false;
      s.colon_first = false;
      s.compressed = s.double_colon_last = true;
      return s.groups < kGroups;
    }
    s.digits = 0;
    s.value = 0;
    return s.groups < most_groups(s);
  }

  static bool group_digit(State& s, char32_t c) {
    if (s.colon_first || s.digits == 4) return false;
    if (s.digits == 0 && ++s.groups > most_groups(s)) return false;
    s.double_colon_last = false;
    push_octet(s, c);
    // Without room for an address this is a group, whatever its digits.
    if (!octets_fit(s)) s.value = kNoOctet;
    return true;
  }

  static bool octet_digit(State& s, char32_t c) {
    push_octet(s, c);
    return s.value != kNoOctet;
  }

  static void push_octet(State& s, char32_t c) {
    const bool leading_zero = s.digits > 0 && s.value == 0;
    const auto value = s.value * 10 + static_cast<std::uint32_t>(c - '0');
    const bool fits = is_digit(c) && s.value != kNoOctet && !leading_zero && value <= 255;
    s.value = fits ? value : kNoOctet;
    s.digits += 1;
  }

  static bool dot(State& s) {
    if (s.digits == 0 || s.value == kNoOctet || s.octets == 4) return false;
    s.octets = s.octets == 0 ? 2 : s.octets + 1;
    s.digits = 0;
    s.value = 0;
    return true;
  }
};

class Regexes final : public Automaton {
 public:
  std::uint64_t start() const override { return State{}.pack(); }

  std::uint64_t step(std::uint64_t packed, char32_t c) const override {
    if (c < 0x20 || c > 0x7E) return kDead;
    const auto next = next_state(State::unpack(packed), static_cast<char>(c));
    return next ? next->pack() : kDead;
  }

  bool accepting(std::uint64_t packed) const override {
    const auto state = State::unpack(packed);
    return state.depth == 0 && between_atoms(state.mode);
  }

 private:
  enum Mode : std::uint8_t {
    kStart,       // nothing here that could be repeated
    kAtom,        // something that could be
    kRepeated,    // a quantifier, perhaps with a ? to come
    kParen,       // just now
    kQuestion,    // (?
    kEscape,      // a backslash
    kHex,         // of \x or \u, `least` digits to come
    kLeast,       // {, and `digits` digits of the least count
    kComma,       // {n, and `digits` digits of the most
    kClass,       // [
    kNegated,     // [^
    kMember,      // in a class, after the character `least`
    kRange,       // after that and a hyphen
    kRangeEnd,    // after something no range can begin with
    kLastHyphen,  // after that and a hyphen: ] follows
    kMemberEscape,
    kRangeEscape,
  };

  struct State {
    Mode mode = kStart;
    std::uint32_t depth = 0;
    std::uint32_t lookaheads = 0;  // which of the open groups are
    std::uint32_t digits = 0;
    std::uint32_t least = 0;
    std::uint32_t most = 0;

    std::uint64_t pack() const {
      return static_cast<std::uint64_t>(mode) | std::uint64_t{depth} << 5 |
             std::uint64_t{lookaheads} << 9 | std::uint64_t{digits} << 25 |
             std::uint64_t{least} << 28 | std::uint64_t{most} << 44;
    }
    static State unpack(std::uint64_t packed) {
      const auto bits = [&](int shift, std::uint32_t mask) {
        return static_cast<std::uint32_t>(packed >> shift) & mask;
      };
      return {static_cast<Mode>(bits(0, 0x1F)),
              bits(5, 0xF),
              bits(9, 0xFFFF),
              bits(25, 0x7),
              bits(28, 0xFFFF),
              bits(44, 0xFFFF)};
    }
    // The same groups, another mode.
    State in(Mode next, std::uint32_t value = 0) const {
      return {next, depth, lookaheads, 0, value, 0};
    }
  };

  static bool between_atoms(Mode mode) {
    return mode == kStart || mode == kAtom || mode == kRepeated || mode == kParen;
  }

  static std::optional<State> next_state(const State& state, char c) {
    switch (state.mode) {
      case kStart:
      case kAtom:
      case kRepeated:
      case kParen:
        return in_pattern(state, c);
      case kQuestion:
        return in_question(state, c);
      case kEscape:
        return in_escape(state, c);
      case kHex:
        if (!is_hex(static_cast<char32_t>(c))) return {};
        return state.least == 1 ? state.in(kAtom) : state.in(kHex, state.least - 1);
      case kLeast:
      case kComma:
        return in_braces(state, c);
      default:
        return in_class(state, c);
    }
  }

  static std::optional<State> in_pattern(const State& state, char c) {
    switch (c) {
      case '*':
      case '+':
      case '?':
        if (c == '?' && state.mode == kParen) return state.in(kQuestion);
        if (c == '?' && state.mode == kRepeated) return state.in(kStart);
        return state.mode == kAtom ? std::optional(state.in(kRepeated)) : std::nullopt;
      case '{':
        return state.mode == kAtom ? std::optional(state.in(kLeast)) : std::nullopt;
      case '(':
        return open(state);
      case ')':
        return close(state);
      case '[':
        return state.in(kClass);
      case '\\':
        return state.in(kEscape);
      case '^':
      case '$':
      case '|':
        return state.in(kStart);
      case ']':
      case '}':
        return {};
      default:
        return state.in(kAtom);
    }
  }

  static std::optional<State> open(State state) {
    if (state.depth == kMaxRegexDepth) return {};
    state = state.in(kParen);
    state.depth += 1;
    state.lookaheads <<= 1;
    return state;
  }

  static std::optional<State> close(State state) {
    if (state.depth == 0) return {};
    // A lookahead is not repeated.
    state = state.in((state.lookaheads & 1) != 0 ? kStart : kAtom);
    state.depth -= 1;
    state.lookaheads >>= 1;
    return state;
  }

  static std::optional<State> in_question(State state, char c) {
    if (c != ':' && c != '=' && c != '!') return {};
    state = state.in(kStart);
    if (c != ':') state.lookaheads |= 1;
    return state;
  }

  static bool contains(std::string_view set, char c) { return set.find(c) != set.npos; }

  // What stands for itself after a backslash.
  static bool is_syntax(char c) { return contains("^$\\.*+?()[]{}|/", c); }

  static std::optional<State> in_escape(const State& state, char c) {
    if (c == 'b' || c == 'B') return state.in(kStart);
    if (c == 'x' || c == 'u') return state.in(kHex, c == 'x' ? 2 : 4);
    if (contains("dDwWsStnrfv", c) || is_syntax(c)) return state.in(kAtom);
    return {};
  }

  static std::optional<State> in_braces(State state, char c) {
    constexpr std::uint32_t kMaxDigits = 4;
    const bool least = state.mode == kLeast;
    if (c == '}') {
      const bool done = least ? state.digits > 0 : state.digits == 0 || state.most >= state.least;
      return done ? std::optional(state.in(kRepeated)) : std::nullopt;
    }
    if (c == ',') {
      return least && state.digits > 0 ? std::optional(state.in(kComma, state.least))
                                       : std::nullopt;
    }
    if (!is_digit(static_cast<char32_t>(c)) || state.digits == kMaxDigits) return {};
    auto& value = least ? state.least : state.most;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
    state.digits += 1;
    auto highest = state.most;
    for (auto i = state.digits; i < kMaxDigits; ++i) highest = highest * 10 + 9;
    return least || highest >= state.least ? std::optional(state) : std::nullopt;
  }

  static std::optional<State> in_class(const State& state, char c) {
    const auto value = static_cast<std::uint32_t>(c);
    const bool first = state.mode == kClass || state.mode == kNegated;
    if (state.mode == kMemberEscape || state.mode == kRangeEscape) return class_escape(state, c);
    if (c == ']') return first ? std::nullopt : std::optional(state.in(kAtom));
    if (state.mode == kLastHyphen || c == '[') return {};
    if (state.mode == kRange) {
      if (c == '\\') {
        return state.least <= '}' ? std::optional(state.in(kRangeEscape, state.least))
                                  : std::nullopt;
      }
      return c != '-' && value >= state.least ? std::optional(state.in(kRangeEnd)) : std::nullopt;
    }
    if (c == '^' && state.mode == kClass) return state.in(kNegated);
    if (c == '\\') return state.in(kMemberEscape);
    if (c != '-') return state.in(kMember, value);
    if (first) return state.in(kRangeEnd);
    return state.mode == kMember ? state.in(kRange, state.least) : state.in(kLastHyphen);
  }

  static std::optional<State> class_escape(const State& state, char c) {
    const auto value = static_cast<std::uint32_t>(c);
    const bool itself = is_syntax(c) || c == '-';
    if (state.mode == kRangeEscape) {
      return itself && value >= state.least ? std::optional(state.in(kRangeEnd)) : std::nullopt;
    }
    if (itself) return state.in(kMember, value);
    return contains("dDwWsStnrfv", c) ? std::optional(state.in(kRangeEnd)) : std::nullopt;
  }
};

}  // namespace

std::shared_ptr<const Automaton> date_text() {
  static const auto automaton = std::make_shared<const DateTimes>(true, false);
  return automaton;
}

std::shared_ptr<const Automaton> time_text() {
  static const auto automaton = std::make_shared<const DateTimes>(false, true);
  return automaton;
}

std::shared_ptr<const Automaton> date_time_text() {
  static const auto automaton = std::make_shared<const DateTimes>(true, true);
  return automaton;
}

std::shared_ptr<const Automaton> hostname_text() {
  static const auto automaton = std::make_shared<const Hostnames>();
  return automaton;
}

std::shared_ptr<const Automaton> ipv6_text() {
  static const auto automaton = std::make_shared<const Ipv6>();
  return automaton;
}

std::shared_ptr<const Automaton> regex_text() {
  static const auto automaton = std::make_shared<const Regexes>();
  return automaton;
}

}  // namespace tessera::guided

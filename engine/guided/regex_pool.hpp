// regex_pool.hpp — regular languages over code points, closed under and, or, not.
//
// Languages are hash-consed terms: two terms with one id are the same term, and the smart
// constructors fold what is equal by simple laws, so that taking derivatives (Brzozowski 1964;
// Owens, Reppy, Turon 2009) meets few distinct terms. Counted repetition stays a count: the
// derivative of
// .{0,100000} is .{0,99999}, never 100,000 copies. Finite sets of strings and numbers by value are
// leaves of their own kind (Automaton), whose states are numbers.
//
// Not thread-safe; owned by one constraint.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/guided/fuel.hpp"
#include "engine/text/code_point_set.hpp"

namespace tessera::guided {

using RegexId = std::uint32_t;

// A deterministic automaton as a leaf of a regular expression: its states are numbers of its own
// choosing. Used where a language is far easier to step than to write (numbers by value).
class Automaton {
 public:
  static constexpr std::uint64_t kDead = ~std::uint64_t{0};

  virtual ~Automaton() = default;
  virtual std::uint64_t start() const = 0;
  // kDead if nothing that begins so is in the language (never a state from which no end is
  // reachable). All non-ASCII code points are dead.
  virtual std::uint64_t step(std::uint64_t state, char32_t code_point) const = 0;
  virtual bool accepting(std::uint64_t state) const = 0;
  // The characters that some state goes on with, or more; empty: perhaps any. Telling characters
  // apart costs a step for each of them.
  virtual std::string_view alphabet() const { return {}; }
  // No string that leads from `state` to an end is shorter. Searches for a shortest one go by it.
  virtual std::uint32_t least_length(std::uint64_t state) const { return accepting(state) ? 0 : 1; }
};

class RegexPool {
 public:
  // `fuel` outlives the pool; every derivative and every step of a search spends some.
  RegexPool(Fuel& fuel, const GuidedLimits& limits);
  ~RegexPool();
  RegexPool(const RegexPool&) = delete;
  RegexPool& operator=(const RegexPool&) = delete;

  static constexpr RegexId kNothing = 0;   // the empty language
  static constexpr RegexId kEmpty = 1;     // only the empty string
  static constexpr RegexId kAnything = 2;  // every string of Unicode scalar values
  static constexpr std::uint32_t kUnbounded = ~std::uint32_t{0};

  RegexId set(const CodePointSet& set);  // one code point of the set
  RegexId any_code_point();
  RegexId literal(std::string_view utf8);
  // Any of `utf8_strings`: 50,000 are no more trouble than one (a minimal acyclic automaton or a
  // sorted range; the derivative costs the logarithm).
  RegexId any_of_literals(std::span<const std::string_view> utf8_strings);
  RegexId automaton(std::shared_ptr<const Automaton> automaton);
  RegexId concat(std::span<const RegexId> parts);
  RegexId either(std::span<const RegexId> parts);
  RegexId both(std::span<const RegexId> parts);
  RegexId complement(RegexId of);
  RegexId repeat(RegexId of, std::uint32_t min, std::uint32_t max);  // max may be kUnbounded
  // Strings of `min` to `max` code points.
  RegexId length_between(std::uint64_t min, std::uint64_t max);

  bool nullable(RegexId of) const;
  RegexId derivative(RegexId of, char32_t code_point);
  // Whether the language has a string at all. Exact; spends fuel.
  bool alive(RegexId of);
  bool matches(RegexId of, std::string_view utf8);
  // A shortest string of the language (UTF-8), preferring plain ASCII letters and digits; nullopt
  // if there is none.
  std::optional<std::string> shortest(RegexId of);
  // The string of a language that is spelled out as one; nullopt if it is not (or has others).
  std::optional<std::string> only_string(RegexId of) const;
  // How many strings it has, counted up to `at_most`.
  std::uint64_t count(RegexId of, std::uint64_t at_most);

  // How far ahead masks look, in code points: the longest token. What is further away need not be
  // told apart by them (TextDfa::mask_state). 0: not known.
  void set_horizon(std::size_t code_points);
  std::uint32_t horizon() const;

  std::size_t bytes() const;  // what the tables take

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::guided

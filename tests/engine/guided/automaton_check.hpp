// automaton_check.hpp — what is asked of every Automaton, in the tests of those that make them.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// A pool that never runs dry in a test.
struct TestPool {
  GuidedLimits limits;
  Fuel fuel{1'000'000'000};
  RegexPool pool{fuel, limits};
};

inline constexpr std::string_view kNumberBytes = "-.0123456789eE+";

// Calls `visit` with every string over `alphabet` of at most `length` characters whose prefixes are
// all live in `language` or for which `may_begin` holds: a string that neither thinks possible is
// not worth extending.
inline void for_each_text(RegexPool& pool, RegexId language, std::string_view alphabet,
                          std::size_t length,
                          const std::function<bool(const std::string&)>& may_begin,
                          const std::function<void(const std::string&, RegexId)>& visit) {
  std::string text;
  const std::function<void(RegexId)> extend = [&](RegexId at) {
    visit(text, at);
    if (text.size() == length) return;
    for (const char c : alphabet) {
      const RegexId next = pool.derivative(at, static_cast<unsigned char>(c));
      text.push_back(c);
      if (next != RegexPool::kNothing || may_begin(text)) extend(next);
      text.pop_back();
    }
  };
  extend(language);
}

// From every state that up to `steps` characters reach an accepting one can be reached. Returns how
// many states were met; stops at `most`.
inline std::size_t expect_no_dead_ends(const Automaton& automaton, std::string_view alphabet,
                                       std::size_t most) {
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> before;
  std::deque<std::uint64_t> open{automaton.start()};
  std::unordered_set<std::uint64_t> seen{automaton.start()};
  std::deque<std::uint64_t> good;
  bool cut = false;
  while (!open.empty()) {
    const auto state = open.front();
    open.pop_front();
    if (automaton.accepting(state)) good.push_back(state);
    for (const char c : alphabet) {
      const auto next = automaton.step(state, static_cast<unsigned char>(c));
      if (next == Automaton::kDead) continue;
      before[next].push_back(state);
      if (seen.contains(next)) continue;
      if (seen.size() >= most) {
        cut = true;
        continue;
      }
      seen.insert(next);
      open.push_back(next);
    }
  }
  std::unordered_set<std::uint64_t> reaches(good.begin(), good.end());
  while (!good.empty()) {
    const auto state = good.front();
    good.pop_front();
    for (const auto earlier : before[state]) {
      if (reaches.insert(earlier).second) good.push_back(earlier);
    }
  }
  if (!cut) {
    EXPECT_EQ(reaches.size(), seen.size());
  }
  return seen.size();
}

}  // namespace tessera::guided

// regex_fixture.hpp — a pool with its own fuel, and short ways to ask about a pattern.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

class RegexFixture : public ::testing::Test {
 protected:
  RegexId search(std::string_view pattern) {
    const auto id = parse_ecma_search(pattern, pool, limits);
    if (!id) {
      ADD_FAILURE() << pattern << ": " << id.error().message;
      return RegexPool::kNothing;
    }
    return *id;
  }
  bool finds(std::string_view pattern, std::string_view text) {
    return pool.matches(search(pattern), text);
  }
  Error refusal(std::string_view pattern) {
    const auto id = parse_ecma_search(pattern, pool, limits);
    if (!id) return id.error();
    ADD_FAILURE() << pattern << " was not refused";
    return {};
  }
  RegexId both(RegexId a, RegexId b) {
    const RegexId parts[] = {a, b};
    return pool.both(parts);
  }
  RegexId either(RegexId a, RegexId b) {
    const RegexId parts[] = {a, b};
    return pool.either(parts);
  }
  RegexId concat(RegexId a, RegexId b) {
    const RegexId parts[] = {a, b};
    return pool.concat(parts);
  }
  RegexId range(char32_t first, char32_t last) {
    CodePointSet set;
    set.add(first, last + 1);
    return pool.set(set);
  }
  // What `work` took.
  template <class Work>
  std::uint64_t spent(const Work& work) {
    const std::uint64_t before = fuel.left();
    work();
    return before - fuel.left();
  }

  GuidedLimits limits;
  Fuel fuel{limits.compile_fuel};
  RegexPool pool{fuel, limits};
};

}  // namespace tessera::guided
